package nodeagent

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// Standalone enforces a snapshot on this host without a controller: the same
// path as an agent's, once, in the process of a command. Enforcement outlives it.
type Standalone struct {
	Node     string
	StateDir string
	Host     host.Host
	Open     func() (Datapath, error)
	Looker   Looker
	// Interfaces are host interfaces that manifests name for pods.
	Interfaces map[facts.PodUID]string
	// AllowMissing goes on although pods of this node are nowhere on this host;
	// their addresses are enforced, their senders not checked.
	AllowMissing bool
	// AllowBypass goes on although some traffic goes around the hooks.
	AllowBypass bool
	// MustPrevent are the policies that killing after the fact does not satisfy, as
	// records name them: KIND/NAMESPACE/NAME.
	MustPrevent map[string]bool
}

// ErrInForce says that the snapshot is in force all the same: what failed came after.
var ErrInForce = errors.New("the policy is in force")

// Plan is what Apply would do.
type Plan struct {
	Was, Becomes snapshot.Commit // Was is zero where nothing is in force from here
	Delta        snapshot.Delta
	Pods         []facts.Attachment
	Missing      []facts.Missing
	Findings     []host.Finding

	s   *Standalone
	was *snapshot.Set
	set *snapshot.Set
}

// Plan finds out what it takes to enforce set, and changes nothing. It refuses what cannot be enforced.
func (s *Standalone) Plan(set *snapshot.Set) (*Plan, error) {
	look := s.Host
	look.ReadOnly = true
	p := &Plan{s: s, set: set, Findings: look.Prepare()}
	if look.WithoutPackets {
		p.Findings = Look(look)
	}
	if fatal := host.Only(p.Findings, host.Fatal); len(fatal) > 0 {
		return nil, fmt.Errorf("%w: %s", ErrHost, host.Join(fatal))
	}
	meta, err := set.Meta()
	if err != nil {
		return nil, err
	}
	if meta.Node != s.Node {
		return nil, fmt.Errorf("snapshot of node %q on node %q", meta.Node, s.Node)
	}
	was := snapshot.NewSet()
	if key, err := readKey(s.StateDir); err == nil {
		files, err := store.NewSnapshots(s.StateDir).Load(publicKeys(key))
		if err == nil && len(files) > 0 {
			p.Was, was = files[0].Commit, files[0].Set
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	p.was, p.Delta = was, snapshot.Diff(was, set)
	p.Becomes = snapshot.Commit{Node: s.Node, Format: snapshot.Format, Generation: p.Was.Generation, Digest: set.Digest()}
	p.Becomes.Generation.Counter++
	return p, p.find()
}

func publicKeys(key ed25519.PrivateKey) snapshot.Keys {
	return snapshot.NewKeys(key.Public().(ed25519.PublicKey))
}

// find binds pods: to the interface that a manifest names, else to the one that
// is found by the pod's address.
func (p *Plan) find() error {
	h := newHolding()
	h.set = p.set
	var wanted []facts.Wanted
	for _, w := range h.pods() {
		name, ok := p.s.Interfaces[w.Pod.UID]
		switch {
		case len(w.Addrs) == 0: // not running
		case ok:
			link, err := facts.LinkIndex(name)
			if err != nil {
				return fmt.Errorf("pod %s: %w", w.Pod, err)
			}
			p.Pods = append(p.Pods, facts.Attachment{
				AttachmentID: facts.AttachmentID{Container: "manifest:" + string(w.Pod.UID), IfName: "eth0"},
				Pod:          w.Pod, Addrs: w.Addrs, Host: link, Source: facts.FromAnnotation,
			})
		default:
			wanted = append(wanted, w)
		}
	}
	found, missing, err := p.s.Looker.Find(wanted)
	if err != nil {
		return err
	}
	p.Pods, p.Missing = append(p.Pods, found...), missing
	if len(missing) > 0 && !p.s.AllowMissing {
		var lines []string
		for _, m := range missing {
			lines = append(lines, fmt.Sprintf("pod %s is said to be on this node, but %s", m.Pod, m.Reason))
		}
		return errors.New(strings.Join(lines, "\n"))
	}
	return nil
}

// Apply carries the plan out, entirely or not at all, and returns what is in force.
// What it did is taken back where it fails, unless the error is ErrInForce.
func (p *Plan) Apply(ctx context.Context) (commit snapshot.Commit, err error) {
	unlock, err := LockState(p.s.StateDir)
	if err != nil {
		return snapshot.Commit{}, err
	}
	defer unlock()
	var undo []func() error
	defer func() {
		if err == nil || errors.Is(err, ErrInForce) {
			return
		}
		for _, f := range slices.Backward(undo) {
			err = errors.Join(err, f())
		}
	}()
	undo = append(undo, p.s.Host.Remember())
	p.Findings = p.s.Host.Prepare()
	if around := host.Only(p.Findings, host.Bypass); len(around) > 0 && !p.s.AllowBypass {
		return snapshot.Commit{}, fmt.Errorf("%w: %s", ErrHost, host.Join(around))
	}
	key, drop, err := ensureKey(p.s.StateDir)
	if err != nil {
		return snapshot.Commit{}, err
	}
	undo = append(undo, drop)
	if _, err := os.Stat(p.s.Host.PinDir); errors.Is(err, fs.ErrNotExist) {
		undo = append(undo, func() error { return datapath.Remove(p.s.Host.PinDir) })
	}
	dp, err := p.s.Open()
	if err != nil {
		return snapshot.Commit{}, err
	}
	ofHost := p.Findings
	if err = p.lookAt(dp, ofHost); err == nil {
		err = p.enforce(ctx, dp, key)
	}
	if err == nil {
		if lacks := p.lookAt(dp, ofHost); lacks != nil { // the kernel refused programs
			err = fmt.Errorf("%w, but not whole: %w", ErrInForce, lacks)
		}
	}
	inForce := err == nil || errors.Is(err, ErrInForce)
	if cerr := dp.Close(); cerr != nil && err == nil {
		err = fmt.Errorf("%w, but: %w", ErrInForce, cerr)
	}
	if !inForce {
		return snapshot.Commit{}, err
	}
	return p.Becomes, err
}

// enforce brings the rows and the facts of the plan into force. The host's own facts
// change only after that, so that a refusal leaves them alone.
func (p *Plan) enforce(ctx context.Context, dp Datapath, key ed25519.PrivateKey) error {
	// An agent may have been here before, and its generations go on growing.
	if inForce, _ := dp.Generation(); inForce.Compare(p.Becomes.Generation) >= 0 {
		p.Becomes.Generation = inForce
		p.Becomes.Generation.Counter++
	}
	scratch, err := os.MkdirTemp("", "palisade-apply-")
	if err != nil {
		return fmt.Errorf("scratch directory: %w", err)
	}
	defer os.RemoveAll(scratch)
	planned, err := openFacts(scratch, logr.Discard())
	if err != nil {
		return err
	}
	defer planned.Close()
	if err := p.bind(planned); err != nil {
		return err
	}
	a := New(Options{
		Node: p.s.Node, Log: logr.Discard(), Kernel: dp, Facts: planned, Disk: store.NewSnapshots(p.s.StateDir),
		Now: time.Now, Keys: func() (snapshot.Keys, error) { return publicKeys(key), nil },
	})
	if err := a.Apply(ctx, &wire.Transfer{
		Delta: snapshot.Diff(snapshot.NewSet(), p.set), Commit: p.Becomes, Signature: snapshot.Sign(key, p.Becomes),
	}); err != nil {
		return err
	}
	if err := p.bindHost(); err != nil {
		return fmt.Errorf("%w, but which pod is behind which interface was not kept for the agent to come: %w", ErrInForce, err)
	}
	if err := keepDeparted(p.s.StateDir, dp.Departed(), p.was); err != nil {
		return fmt.Errorf("%w, but records of rules that left will not be named: %w", ErrInForce, err)
	}
	if _, err := dp.Cut(ctx); err != nil {
		return fmt.Errorf("%w, but connections that it denies were not ended (apply again): %w", ErrInForce, err)
	}
	return nil
}

func (p *Plan) bindHost() error {
	f, err := openFacts(p.s.StateDir, logr.Discard())
	if err != nil {
		return err
	}
	defer f.Close()
	return p.bind(f)
}

// bind makes the facts exactly those of the plan.
func (p *Plan) bind(f *facts.Store) error {
	keep := map[facts.AttachmentID]bool{}
	for _, a := range p.Pods {
		keep[a.AttachmentID] = true
	}
	if _, err := f.Keep(func(a facts.Attachment) bool { return keep[a.AttachmentID] }); err != nil {
		return err
	}
	_, err := f.Bind(p.Pods...)
	return err
}

const keyFile = "standalone.key"

// readKey reads the key with which this host signs for itself. It only shows that
// the file on disk is what palisade apply wrote.
func readKey(dir string) (ed25519.PrivateKey, error) {
	path := filepath.Join(dir, keyFile)
	seed, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("key %s: %d bytes, want %d: remove the file to get a new one", path, len(seed), ed25519.SeedSize)
	}
	return ed25519.NewKeyFromSeed(seed), nil
}

// ensureKey reads the key, or makes one; drop removes one that was made.
func ensureKey(dir string) (key ed25519.PrivateKey, drop func() error, err error) {
	if key, err := readKey(dir); !errors.Is(err, fs.ErrNotExist) {
		return key, func() error { return nil }, err
	}
	seed := make([]byte, ed25519.SeedSize)
	if _, err := rand.Read(seed); err != nil {
		return nil, nil, fmt.Errorf("key: %w", err)
	}
	path := filepath.Join(dir, keyFile)
	return ed25519.NewKeyFromSeed(seed), func() error { return os.Remove(path) }, store.Replace(path, seed)
}

// Forget removes what an agent or palisade apply keeps on disk.
func Forget(stateDir string) error {
	for _, name := range []string{"snapshot", "snapshot.candidate", "snapshot.journal", "facts.json", bootFile, departedFile, keysCopy, keyFile} {
		if err := os.Remove(filepath.Join(stateDir, name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("state directory: %w", err)
		}
	}
	return nil
}
