package nodeagent

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/nodeagent/stream"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Kernel is what the agent needs of package datapath to bring snapshots into force.
type Kernel interface {
	// Apply takes an update entirely or not at all.
	Apply(context.Context, layout.Update) error
	// Generation is what the kernel enforces; the zero one if nothing.
	Generation() (snapshot.Generation, snapshot.Digest)
}

// Options are what an Agent is made of.
type Options struct {
	Node   string
	Log    logr.Logger
	Kernel Kernel
	Facts  *facts.Store
	Disk   *store.Snapshots
	// Keys returns the keys that may sign snapshots. It is asked every time:
	// they are rotated.
	Keys func() (snapshot.Keys, error)
	Now  func() time.Time
}

// Agent brings snapshots and facts into force, one at a time.
type Agent struct {
	o       Options
	holding *holding

	applying sync.Mutex // serialises everything that leads to Kernel.Apply
	// orphaned: what the kernel enforces was signed by a key that is not trusted
	// any more. Its generation belongs to another order then, that of a controller
	// that was installed before this one, and does not make others replays.
	orphaned bool
	status   *status
	counted  *counted
	observed observed
	cut      chan struct{} // holds one token while connections may have to be cut
}

// New makes an agent that has applied nothing yet; see Recover.
func New(o Options) *Agent {
	return &Agent{o: o, holding: newHolding(), status: newStatus(o.Now), counted: newCounted(), cut: make(chan struct{}, 1)}
}

// errNoSnapshot is why facts cannot be realised before the first snapshot.
var errNoSnapshot = errors.New("this node has no snapshot yet: the controller has sent none, and none that is good is on disk")

// Recover brings the newest good snapshot on disk into force, before anybody is
// asked for a newer one. What is damaged is left out and told; the kernel keeps
// what it has where nothing good is left. It reports whether a snapshot is held.
func (a *Agent) Recover(ctx context.Context) (bool, error) {
	a.applying.Lock()
	defer a.applying.Unlock()
	keys, err := a.o.Keys()
	if err != nil {
		return false, fmt.Errorf("keys that sign snapshots: %w", err)
	}
	files, problem := a.o.Disk.Load(keys)
	a.orphaned = len(files) == 0 && errors.Is(problem, snapshot.ErrUnknownKey)
	inForce, _ := a.o.Kernel.Generation()
	for _, f := range files {
		err := a.recover(ctx, f, inForce)
		if err == nil {
			a.status.recovered()
			return true, problem
		}
		problem = errors.Join(problem, fmt.Errorf("snapshot %s on disk: %w", f.Commit.Generation, err))
	}
	return false, problem
}

func (a *Agent) recover(ctx context.Context, f *snapshot.File, inForce snapshot.Generation) error {
	if f.Commit.Node != a.o.Node {
		return fmt.Errorf("it is of node %q, this is %q", f.Commit.Node, a.o.Node)
	}
	if f.Commit.Generation.Compare(inForce) < 0 {
		return fmt.Errorf("older than %s, which the kernel enforces", inForce)
	}
	s := a.holding.prepare(snapshot.Diff(snapshot.NewSet(), f.Set), true)
	if err := a.realise(ctx, s, f.Commit, true, snapshot.Diff(snapshot.NewSet(), f.Set)); err != nil {
		return err
	}
	a.holding.keep(s, f.Commit, f.Signature)
	// Whatever of the two files it was, it is the current one now.
	if err := errors.Join(a.o.Disk.Propose(f, nil), a.o.Disk.Accept()); err != nil {
		return err
	}
	a.o.Log.Info("in force again from disk", "generation", f.Commit.Generation.String(), "digest", f.Commit.Digest.String(), "entries", f.Set.Len())
	return nil
}

// Held says what the kernel enforces, if the agent knows it row by row and it is
// this controller's. Where the disk was damaged, or what is held was signed by a
// key that is not trusted any more, the controller must send everything.
func (a *Agent) Held() (stream.Held, bool) {
	c, ok := a.holding.current()
	if keys, err := a.o.Keys(); err == nil && ok {
		_, ok = keys[a.holding.signer()]
	}
	return stream.Held{Generation: c.Generation, Digest: c.Digest}, ok
}

// Apply brings a transfer into force, or refuses it and leaves everything as it was.
func (a *Agent) Apply(ctx context.Context, t *wire.Transfer) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	err := a.apply(ctx, t)
	a.status.applied(t.Commit.Generation, err)
	return err
}

func (a *Agent) apply(ctx context.Context, t *wire.Transfer) error {
	if err := a.verify(t); err != nil {
		return err
	}
	full := t.Base == nil
	s := a.holding.prepare(t.Delta, full)
	if err := a.commit(ctx, s, t, full); err != nil {
		a.holding.revert(s)
		return errors.Join(err, a.o.Disk.Drop())
	}
	a.holding.keep(s, t.Commit, t.Signature)
	a.orphaned = false
	a.needCut()
	return nil
}

// verify refuses what must not be applied, whatever its content.
func (a *Agent) verify(t *wire.Transfer) error {
	c := t.Commit
	keys, err := a.o.Keys()
	if err != nil {
		return stream.Refuse(wire.ReasonSignature, "keys that sign snapshots: %w", err)
	}
	if c.Format != snapshot.Format {
		return stream.Refuse(wire.ReasonFormat, "format %d, this agent reads %d: %w", c.Format, snapshot.Format, snapshot.ErrFormat)
	}
	if err := snapshot.Verify(keys, c, t.Signature); err != nil {
		return stream.Refuse(wire.ReasonSignature, "generation %s: %w", c.Generation, err)
	}
	held, ok := a.holding.current()
	inForce, digest := a.o.Kernel.Generation()
	order := c.Generation.Compare(inForce)
	_, trusted := keys[a.holding.signer()]
	if orphaned := a.orphaned || (ok && !trusted); !orphaned && (order < 0 || (order == 0 && c.Digest != digest)) {
		return stream.Refuse(wire.ReasonReplay, "generation %s is not newer than %s, which is in force", c.Generation, inForce)
	}
	if t.Base != nil && (!ok || *t.Base != held.Digest) {
		return stream.Refuse(wire.ReasonBase, "the delta starts from %s, held is %s", t.Base, held.Digest)
	}
	return nil
}

// commit has the new state on disk, then in the kernel, then as the current file.
func (a *Agent) commit(ctx context.Context, s step, t *wire.Transfer, full bool) error {
	if err := t.Commit.Check(s.set); err != nil {
		return stream.Refuse(wire.ReasonDamaged, "%w", err)
	}
	f := &snapshot.File{Commit: t.Commit, Signature: t.Signature, Set: s.set}
	var by *store.Change
	if !full {
		by = &store.Change{From: *t.Base, Delta: t.Delta}
	}
	if err := a.o.Disk.Propose(f, by); err != nil {
		return stream.Refuse(wire.ReasonInternal, "%w", err)
	}
	if err := a.realise(ctx, s, t.Commit, full, t.Delta); err != nil {
		return err
	}
	if err := a.o.Disk.Accept(); err != nil {
		// The kernel enforces it and the candidate is on disk: after a restart it
		// is found there. Refusing now would tell the controller an untruth.
		a.o.Log.Error(err, "the snapshot in force stays a candidate on disk")
	}
	return nil
}

func (a *Agent) realise(ctx context.Context, s step, c snapshot.Commit, full bool, d snapshot.Delta) error {
	bindings, rev := a.o.Facts.Bindings()
	u := layout.Update{Generation: c.Generation, Digest: c.Digest, Full: full, Delta: d, Facts: toLayout(s.names, bindings)}
	if err := a.tell(ctx, u, s.set); err != nil {
		if g, d := a.o.Kernel.Generation(); g != c.Generation || d != c.Digest {
			return refusalOf(err)
		}
		// It failed behind the flip: the new generation judges, and the side that
		// is not in use is mended by the next update. To refuse would be untrue.
		a.o.Log.Error(err, "the idle side of the kernel's tables is behind", "generation", c.Generation.String())
	}
	a.o.Facts.Realised(rev, nil)
	return nil
}

// tell applies an update that leads to set. Where the kernel's half cannot continue
// what it has, it gets all rows: the agent holds them, nobody need send them again.
func (a *Agent) tell(ctx context.Context, u layout.Update, set *snapshot.Set) error {
	err := a.o.Kernel.Apply(ctx, u)
	if u.Full || !errors.Is(err, datapath.ErrNotFull) {
		return err
	}
	u.Full, u.Delta = true, snapshot.Diff(snapshot.NewSet(), set)
	return a.o.Kernel.Apply(ctx, u)
}

// refusalOf names the reason for which the kernel did not take an update.
func refusalOf(err error) error {
	reason := wire.ReasonKernel
	switch {
	case errors.Is(err, layout.ErrCapacity):
		reason = wire.ReasonCapacity
	case errors.Is(err, layout.ErrIncomplete):
		reason = wire.ReasonDamaged
	}
	return &stream.Refusal{Reason: reason, Err: err}
}

// applyFacts brings the facts into force as they are now. Without a snapshot
// there is nothing to do: the first one takes the facts along.
func (a *Agent) applyFacts(ctx context.Context) error {
	a.applying.Lock()
	defer a.applying.Unlock()
	bindings, rev := a.o.Facts.Bindings()
	c, ok := a.holding.current()
	if !ok {
		a.o.Facts.Realised(rev, errNoSnapshot)
		return nil
	}
	u := layout.Update{Generation: c.Generation, Digest: c.Digest, Facts: toLayout(a.holding.names, bindings)}
	err := a.tell(ctx, u, a.holding.set)
	if err != nil {
		a.o.Log.Error(err, "addresses of pods were not applied", "revision", rev)
	}
	a.o.Facts.Realised(rev, err)
	a.status.factsApplied(err)
	return err
}

// toLayout is never nil: nil would leave the facts as they were.
func toLayout(n names, bs []facts.Binding) []layout.Binding {
	out := make([]layout.Binding, 0, len(bs))
	for _, b := range bs {
		out = append(out, layout.Binding{Addr: b.Addr, UID: n.uid(b.Pod), Ifindex: b.Ifindex})
	}
	return out
}

// factsRetry is the pause before facts that were not taken are tried again.
const factsRetry = time.Second

// FollowFacts applies facts as they change, until ctx ends.
func (a *Agent) FollowFacts(ctx context.Context) {
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.o.Facts.Changed():
		case <-again:
		}
		again = nil
		if err := a.applyFacts(ctx); err != nil {
			again = time.After(factsRetry)
		}
	}
}

// Keys reads the public keys that sign snapshots from files, and keeps a copy:
// after a reboot the snapshot on disk must be verified before the files' source, a
// ConfigMap, can be had.
type Keys struct {
	Files []string // the best place first; they may be missing
	Copy  string
}

// Load returns the keys of the first file that has some, else those of the copy.
func (k Keys) Load() (snapshot.Keys, error) {
	var errs []error
	for _, path := range append(slices.Clone(k.Files), k.Copy) {
		var keys snapshot.Keys
		b, err := os.ReadFile(path)
		if err == nil {
			err = keys.UnmarshalText(b)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("keys %s: %w", path, err))
			continue
		}
		if was, err := os.ReadFile(k.Copy); err != nil || string(was) != string(b) {
			return keys, store.Replace(k.Copy, b)
		}
		return keys, nil
	}
	return nil, errors.Join(errs...)
}
