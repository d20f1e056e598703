package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"

	"github.com/go-logr/logr"
)

// ErrNothingApplied says that no snapshot of palisade apply is in force here.
var ErrNothingApplied = errors.New("nothing is enforced here by palisade apply, and no agent runs")

// ReadKernel hands on what the kernel reports where no agent runs: after palisade
// apply. A record can be read once. Without follow it ends when there are no more.
func ReadKernel(ctx context.Context, c datapath.Config, stateDir string, follow bool, each func(flows.Flow) error) error {
	h, f, err := heldLocally(stateDir)
	if err != nil {
		return err
	}
	defer f.Close()
	bindings, _ := f.Bindings()
	d, err := datapath.OpenReader(c, layout.Update{
		Generation: h.commit.Generation, Digest: h.commit.Digest, Full: true,
		Delta: snapshot.Diff(snapshot.NewSet(), h.set), Facts: toLayout(h.set, bindings),
	})
	if err != nil {
		return err
	}
	defer d.Close()
	events, err := d.Events()
	if err != nil {
		return err
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	defer stop()
	names := newNamer(h, f.Bindings)
	for {
		if !follow {
			events.SetDeadline(time.Now().Add(drainWait))
		}
		e, err := events.Read()
		switch {
		case errors.Is(err, datapath.ErrClosed), errors.Is(err, os.ErrDeadlineExceeded):
			return nil
		case err != nil:
			return fmt.Errorf("events: %w", err)
		}
		flow := names.flow(e)
		flow.Node = h.commit.Node
		if err := each(flow); err != nil {
			return err
		}
	}
}

// drainWait is how long a silent kernel is taken to have no more records.
const drainWait = 50 * time.Millisecond

// heldLocally is what palisade apply brought into force last.
func heldLocally(stateDir string) (*holding, *facts.Store, error) {
	key, err := readKey(stateDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil, ErrNothingApplied
	}
	if err != nil {
		return nil, nil, err
	}
	files, err := store.NewSnapshots(stateDir).Load(publicKeys(key))
	if len(files) == 0 {
		return nil, nil, errors.Join(ErrNothingApplied, err)
	}
	h := newHolding()
	h.set, h.commit = files[0].Set, files[0].Commit
	f, err := openFacts(stateDir, logr.Discard())
	return h, f, err
}
