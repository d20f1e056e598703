package nodeagent

import (
	"context"
	"errors"
	"sync"
)

// parts are things that run side by side, and end together.
type parts struct {
	ctx  context.Context
	stop context.CancelCauseFunc // ends all of them; for a reason, if it is an error
	all  sync.WaitGroup
}

func newParts(ctx context.Context) *parts {
	p := &parts{}
	p.ctx, p.stop = context.WithCancelCause(ctx)
	return p
}

// start runs f. Where it cannot go on, the others are told to stop.
func (p *parts) start(f func(context.Context) error) {
	p.all.Go(func() {
		if err := f(p.ctx); err != nil && p.ctx.Err() == nil {
			p.stop(err)
		}
	})
}

// loop runs f, which ends with its context only.
func (p *parts) loop(f func(context.Context)) {
	p.start(func(ctx context.Context) error { f(ctx); return nil })
}

// wait waits for the end of all, and returns why it came.
func (p *parts) wait() error {
	<-p.ctx.Done()
	p.all.Wait()
	if err := context.Cause(p.ctx); !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}
