package host

import (
	"context"
	"slices"
	"time"
)

// Watch prepares the host every so often until ctx ends and tells report when
// the findings change. The first report is made at once.
func (h Host) Watch(ctx context.Context, every time.Duration, report func([]Finding)) {
	last := h.Prepare()
	report(last)
	t := time.NewTicker(every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			if now := h.Prepare(); !slices.Equal(now, last) {
				last = now
				report(now)
			}
		}
	}
}
