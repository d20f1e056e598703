package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/flows"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
)

// ErrNothingHeld says that no snapshot is kept on this host.
var ErrNothingHeld = errors.New("nothing is enforced on this host: no snapshot of an agent or of palisade apply")

// ReadKernel hands on what the kernel reports where no agent runs: after palisade
// apply. A record can be read once. Without follow it ends when there are no more.
func ReadKernel(ctx context.Context, c datapath.Config, stateDir string, follow bool, each func(flows.Flow) error) error {
	h, f, err := heldLocally(stateDir)
	if err != nil {
		return err
	}
	defer f.Close()
	d, err := openReader(c, h, f)
	if err != nil {
		return err
	}
	defer d.Close()
	if left, err := readDeparted(stateDir); err == nil { // damaged: those rules stay nameless
		d.Recall(left)
	}
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

func openReader(c datapath.Config, h *holding, f *facts.Store) (*datapath.Datapath, error) {
	bindings, _ := f.Bindings()
	return datapath.OpenReader(c, judgesAlone(datapath.Probe()), layout.Update{
		Generation: h.commit.Generation, Digest: h.commit.Digest, Full: true,
		Delta: snapshot.Diff(snapshot.NewSet(), h.set), Facts: toLayout(h.names, bindings),
	})
}

// judgesAlone finds programs that judge without those for packets, by what the probe of the
// kernel said. Where it can judge packets nothing is in force until it does: an agent that
// starts brings the others into place first.
func judgesAlone(lacks error) datapath.CompanionInUse {
	if errors.Is(lacks, datapath.ErrKernel) {
		return runtime.InUse
	}
	return nil
}

// InForce is what a host enforces, as its kernel and its disk say.
type InForce struct {
	Node       string
	Generation snapshot.Generation // of the kernel; zero: nothing is in force
	Digest     snapshot.Digest
	Known      bool // the disk holds the same
	Pods       []facts.Attachment
}

// ReadHost says what this host enforces, whoever brought it into force.
func ReadHost(c datapath.Config, stateDir string) (InForce, error) {
	h, f, err := heldLocally(stateDir)
	if err != nil {
		return InForce{}, err
	}
	defer f.Close()
	d, err := openReader(c, h, f)
	if errors.Is(err, os.ErrNotExist) {
		return InForce{Node: h.commit.Node}, nil
	}
	if err != nil {
		return InForce{}, err
	}
	defer d.Close()
	out := InForce{Node: h.commit.Node}
	out.Generation, out.Digest = d.Generation()
	out.Known = out.Digest == h.commit.Digest
	out.Pods, _ = f.Attachments()
	return out, nil
}

// heldLocally is what an agent or palisade apply brought into force last.
func heldLocally(stateDir string) (*holding, *facts.Store, error) {
	trusted, err := localKeys(stateDir)
	if err != nil {
		return nil, nil, err
	}
	files, err := store.NewSnapshots(stateDir).Load(trusted)
	if len(files) == 0 {
		return nil, nil, errors.Join(ErrNothingHeld, err)
	}
	h := newHolding()
	h.set, h.names, h.commit = files[0].Set, namesOf(files[0].Set), files[0].Commit
	f, err := openFacts(stateDir, logr.Discard())
	return h, f, err
}

// localKeys are the keys that this host trusts: a controller's, and its own.
func localKeys(stateDir string) (snapshot.Keys, error) {
	trusted := snapshot.Keys{}
	b, err := os.ReadFile(filepath.Join(stateDir, keysCopy))
	if err == nil {
		err = trusted.UnmarshalText(b)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("keys: %w", err)
	}
	own, err := readKey(stateDir)
	if err == nil {
		maps.Copy(trusted, publicKeys(own))
	} else if !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return trusted, nil
}

// keysCopy is the agent's copy of the controller's public keys.
const keysCopy = "signing-keys"
