package datapath

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

// Datapath is the kernel's half on one node. Its methods may be called from
// several goroutines.
type Datapath struct {
	config Config

	mu         sync.Mutex
	engine     engine
	maps       map[string]*ebpf.Map
	programs   *ebpf.Map // the array that the dispatcher calls through
	verdict    *ebpf.Program
	guard      *ebpf.Program
	links      map[string]link.Link
	judge      *Trial // asks about connections, on the tables in force
	deferred   bool   // another format still judges: take its place after the first Apply
	generation snapshot.Generation
	digest     snapshot.Digest
	adopted    bool
	stats      Stats
	pairs      map[pairID]*Pair
}

// ErrNotFull is wrapped by the first Apply after Open if it brings a part of a
// snapshot: what the kernel holds cannot be continued, only replaced.
var ErrNotFull = errors.New("the first update must be a full snapshot")

// Open loads the programs, or adopts those that an earlier agent left running, and
// attaches them to the network namespace of the calling thread. Until the first
// Apply, an adopted datapath goes on judging as it did, and a new one allows all.
func Open(c Config) (_ *Datapath, err error) {
	c = c.withDefaults()
	if err := Probe(); err != nil {
		return nil, err
	}
	if err := checkPinDir(c.PinDir); err != nil {
		return nil, err
	}
	d := &Datapath{config: c, maps: map[string]*ebpf.Map{}, links: map[string]link.Link{}, pairs: map[pairID]*Pair{}}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.loadVerdict(); err != nil {
		return nil, err
	}
	if err := d.adoptTables(); err != nil {
		return nil, err
	}
	return d, d.attach()
}

// checkPinDir makes the directory, and checks that it can hold pins.
func checkPinDir(dir string) error {
	parent := dir
	for {
		var fs unix.Statfs_t
		err := unix.Statfs(parent, &fs)
		if err == nil {
			if fs.Type != unix.BPF_FS_MAGIC {
				return fmt.Errorf("%w: %s is on no bpf file system: mount -t bpf bpf %s", ErrPinDir, dir, filepath.Dir(dir))
			}
			break
		}
		if !errors.Is(err, unix.ENOENT) || parent == filepath.Dir(parent) {
			return fmt.Errorf("%w: %s: %w", ErrPinDir, dir, err)
		}
		parent = filepath.Dir(parent)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	return nil
}

// loadVerdict loads the programs and their maps, pinned ones where there are some.
func (d *Datapath) loadVerdict() error {
	spec, err := bpf.Verdict.Spec()
	if err != nil {
		return err
	}
	if err := spec.Variables["events_per_second"].Set(d.config.EventsPerSecond); err != nil {
		return fmt.Errorf("events_per_second: %w", err)
	}
	rules := uint32(d.config.Layout.MaxRules)
	spec.Maps[bpf.MapCounters].MaxEntries = rules
	spec.Maps[bpf.MapLimits].MaxEntries = rules
	spec.Maps[bpf.MapPairs].MaxEntries = d.config.MaxPairs
	spec.Maps[bpf.MapEvents].MaxEntries = d.config.RingBytes

	dir := d.config.tablesDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	for _, name := range []string{bpf.MapSides, bpf.MapActive, bpf.MapCounters, bpf.MapLimits, bpf.MapPairs, bpf.MapEvents} {
		m, err := openMap(filepath.Join(dir, name), spec.Maps[name])
		if err != nil {
			return err
		}
		d.maps[name] = m
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: d.maps})
	if err != nil {
		return explain(err)
	}
	defer c.Close()
	d.verdict, d.guard = c.DetachProgram(bpf.ProgramVerdict), c.DetachProgram(bpf.ProgramGuard)
	return nil
}

// openMap opens a pinned map, or makes and pins it, for root only.
func openMap(path string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	m, err := ebpf.LoadPinnedMap(path, nil)
	if err == nil {
		if err := spec.Compatible(m); err != nil {
			return nil, errors.Join(fmt.Errorf("pinned map %s: %w: remove it with `palisade uninstall`", path, err), m.Close())
		}
		return m, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("pinned map %s: %w", path, err)
	}
	if m, err = ebpf.NewMap(spec); err != nil {
		return nil, fmt.Errorf("map %s: %w", spec.Name, explain(err))
	}
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: map %s: %w", ErrPinDir, path, err), m.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("map %s: %w", path, err), m.Close())
	}
	return m, nil
}

// adoptTables opens the sides, and learns from the active one what is in force.
func (d *Datapath) adoptTables() error {
	tables := newTables(d.maps[bpf.MapSides], d.maps[bpf.MapActive])
	d.engine = engine{layout: layout.New(d.config.Layout), tables: tables}
	if err := tables.adopt(); err != nil {
		return err
	}
	active, err := tables.Active()
	if err != nil || tables.Len(active) == 0 {
		return err
	}
	// A predecessor may have died between flip and drain.
	if err := tables.Drain(1 - active); err != nil {
		return err
	}
	lines, err := tables.Read(active)
	if err != nil {
		return err
	}
	if !sound(lines) {
		d.stats.Damaged++
		return nil
	}
	h, seal := lines[0].Header(), lines[sealLine].Seal()
	d.generation = snapshot.Generation{Epoch: h.Epoch, Term: h.Term, Counter: h.Counter}
	d.digest = snapshot.Digest(seal.Digest)
	d.adopted = true
	d.engine.layout.AdoptRules(layout.RulesOf(lines))
	return nil
}

// sound reports whether a side is whole: of this format, complete and as it was left.
func sound(lines []bpf.Line) bool {
	if len(lines) < bpf.HeaderLines {
		return false
	}
	seal := lines[sealLine].Seal()
	return seal.Format == bpf.Format && seal.Dirty == 0 && int(seal.Lines) == len(lines) && seal.Sum == layout.Sum(lines)
}

// attach puts the dispatchers in their places, unless they are there already.
func (d *Datapath) attach() error {
	spec, err := bpf.Dispatch.Spec()
	if err != nil {
		return err
	}
	path := d.config.pin(bpf.MapPrograms)
	if d.programs, err = openMap(path, spec.Maps[bpf.MapPrograms]); err != nil {
		return err
	}
	running, err := d.running()
	if err != nil {
		return err
	}
	// Programs of other tables judge: they stay until these tables are filled.
	d.deferred = running && !d.adopted
	if !d.deferred {
		if err := d.takePlace(); err != nil {
			return err
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{bpf.MapPrograms: d.programs}})
	if err != nil {
		return explain(err)
	}
	defer c.Close()
	for _, a := range attachments {
		if _, ok := d.links[a.name]; ok {
			continue
		}
		l, err := openLink(d.config.pin(a.name), a, c.Programs[a.program])
		if err != nil {
			return err
		}
		d.links[a.name] = l
	}
	return nil
}

// running reports whether the program array has programs already.
func (d *Datapath) running() (bool, error) {
	var id uint32
	err := d.programs.Lookup(bpf.SlotVerdict, &id)
	if errors.Is(err, ebpf.ErrKeyNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("program array: %w", err)
	}
	return true, nil
}

// takePlace makes the dispatchers call the programs of this process.
func (d *Datapath) takePlace() error {
	for slot, p := range map[uint32]*ebpf.Program{bpf.SlotVerdict: d.verdict, bpf.SlotGuard: d.guard} {
		if err := d.programs.Put(slot, p); err != nil {
			return fmt.Errorf("program array: %w", err)
		}
	}
	return nil
}

// openLink opens a pinned link, or attaches and pins.
func openLink(path string, a attachment, p *ebpf.Program) (link.Link, error) {
	l, err := link.LoadPinnedLink(path, nil)
	if err == nil {
		return l, nil
	}
	if !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("pinned link %s: %w", path, err)
	}
	l, err = attachAt(a, p)
	switch {
	case errors.Is(err, unix.EBUSY):
		return nil, fmt.Errorf("attach %s: another BPF program is at netfilter hook %d, priority %d: see `bpftool link`, and `palisade uninstall` if it is an older Palisade", a.name, a.hook, a.priority)
	case err != nil:
		return nil, fmt.Errorf("attach %s: %w", a.name, explain(err))
	}
	if err := pinLink(l, path); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// attachAt takes a place; unix.EBUSY if it is taken.
func attachAt(a attachment, p *ebpf.Program) (link.Link, error) {
	return link.AttachNetfilter(link.NetfilterOptions{
		Program: p, ProtocolFamily: link.NetfilterProtocolFamily(a.family), Hook: link.NetfilterInetHook(a.hook),
		Priority: a.priority, NetfilterFlags: netfilterDefrag,
	})
}

// pinLink keeps a link beyond this process, for root only.
func pinLink(l link.Link, path string) error {
	if err := l.Pin(path); err != nil {
		return fmt.Errorf("%w: link %s: %w", ErrPinDir, path, err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return fmt.Errorf("link %s: %w", path, err)
	}
	return nil
}

// Close lets go of the kernel, which goes on enforcing.
func (d *Datapath) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var errs []error
	for name, l := range d.links {
		errs = append(errs, l.Close())
		delete(d.links, name)
	}
	if d.judge != nil {
		errs = append(errs, d.judge.Close())
		d.judge = nil
	}
	if d.engine.tables != nil {
		errs = append(errs, d.engine.tables.Close())
	}
	for name, m := range d.maps {
		errs = append(errs, m.Close())
		delete(d.maps, name)
	}
	errs = append(errs, d.programs.Close(), d.verdict.Close(), d.guard.Close())
	return errors.Join(errs...)
}

// Uninstall closes the datapath and takes it out of the kernel: traffic is open.
func (d *Datapath) Uninstall() error {
	return errors.Join(Remove(d.config.PinDir), d.Close())
}

// Remove detaches what is pinned in a directory and removes it, whether or not an
// agent runs. Links go first, so that nothing judges by halves.
func Remove(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	known := map[string]bool{bpf.MapPrograms: true}
	for _, a := range attachments {
		known[a.name] = true
		if err := detach(filepath.Join(dir, a.name)); err != nil {
			return fmt.Errorf("detach %s: %w", a.name, err)
		}
	}
	for _, e := range entries {
		if known[e.Name()] || strings.HasPrefix(e.Name(), "tables-") {
			if err := os.RemoveAll(filepath.Join(dir, e.Name())); err != nil {
				return fmt.Errorf("remove pins: %w", err)
			}
		}
	}
	if err := os.Remove(dir); err != nil && !errors.Is(err, unix.ENOTEMPTY) {
		return fmt.Errorf("remove pins: %w", err)
	}
	return nil
}

// detach removes a pinned link. The pin goes before the last descriptor: closing
// that one waits until the program is off its hook, removing a file does not.
func detach(path string) error {
	l, err := link.LoadPinnedLink(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(os.Remove(path), l.Close())
}

// removeOtherTables drops the maps of other formats and sizes, which nothing uses.
func (d *Datapath) removeOtherTables() error {
	dirs, err := filepath.Glob(d.config.pin("tables-*"))
	if err != nil {
		return err
	}
	for _, dir := range dirs {
		if dir == d.config.tablesDir() {
			continue
		}
		if err := os.RemoveAll(dir); err != nil {
			return fmt.Errorf("remove pins: %w", err)
		}
	}
	return nil
}
