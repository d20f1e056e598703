package datapath

import (
	"crypto/rand"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
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

	mu       sync.Mutex
	engine   engine
	maps     map[string]*ebpf.Map // counters, limits, pairs, events, interfaces
	array    *ebpf.Map            // what the dispatchers call
	programs *programs
	links    map[string]link.Link
	// networkLacks is why the network programs are not there; nil if they are.
	networkLacks error
	judge        *Trial // asks about connections, on the tables in force
	deferred     bool   // these tables are empty: their programs take their place after the first Apply
	generation   snapshot.Generation
	digest       snapshot.Digest
	adopted      bool
	stats        Stats
	pairs        map[pairID]*Pair
}

// ErrNotFull is wrapped by the first Apply after Open if it brings a part of a
// snapshot: what the kernel holds cannot be continued, only replaced.
var ErrNotFull = errors.New("the first update must be a full snapshot")

// Open loads the programs, or adopts those that an earlier agent left running, and
// attaches them to the network namespace of the calling thread. Until the first
// Apply, an adopted datapath goes on judging as it did, and a new one allows all.
func Open(c Config) (_ *Datapath, err error) {
	c = c.withDefaults()
	if c.Layout.RuntimeSeed == ([32]byte{}) {
		rand.Read(c.Layout.RuntimeSeed[:]) // never fails
	}
	d := &Datapath{config: c, maps: map[string]*ebpf.Map{}, links: map[string]link.Link{}, pairs: map[pairID]*Pair{}}
	if err := d.usable(Probe()); err != nil {
		return nil, err
	}
	if err := checkPinDir(c.PinDir); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			d.Close()
		}
	}()
	if err := d.openState(); err != nil {
		return nil, err
	}
	if err := d.openArray(); err != nil {
		return nil, err
	}
	if err := d.adopt(); err != nil {
		return nil, err
	}
	return d, d.attach()
}

// CheckPinDir makes a directory for pins, and checks that it can hold them.
func CheckPinDir(dir string) error { return checkPinDir(dir) }

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

// programs are what the dispatchers call, loaded for tables of one capacity.
type programs struct {
	verdict   *ebpf.Program // nil, as guard, where the kernel cannot have them
	guard     *ebpf.Program
	companion CompanionPrograms // nil if there is none
}

func (p *programs) Close() error {
	if p == nil {
		return nil
	}
	errs := []error{p.verdict.Close(), p.guard.Close()}
	if p.companion != nil {
		errs = append(errs, p.companion.Close())
	}
	return errors.Join(errs...)
}

func (d *Datapath) verdictSpec() (*ebpf.CollectionSpec, error) {
	spec, err := bpf.Verdict.Spec()
	if err != nil {
		return nil, err
	}
	if err := spec.Variables[bpf.VariableEventsPerSecond].Set(d.config.EventsPerSecond); err != nil {
		return nil, fmt.Errorf("variable %s: %w", bpf.VariableEventsPerSecond, err)
	}
	rules := uint32(d.config.Layout.MaxRules)
	spec.Maps[bpf.MapCounters].MaxEntries = rules
	spec.Maps[bpf.MapLimits].MaxEntries = rules
	spec.Maps[bpf.MapPairs].MaxEntries = d.config.MaxPairs
	spec.Maps[bpf.MapEvents].MaxEntries = d.config.RingBytes
	return spec, nil
}

// openState opens the maps that outlive tables, or makes them.
func (d *Datapath) openState() error {
	spec, err := d.verdictSpec()
	if err != nil {
		return err
	}
	dir := d.config.stateDir()
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	for _, name := range []string{bpf.MapCounters, bpf.MapLimits, bpf.MapPairs, bpf.MapEvents, bpf.MapIfaces} {
		if d.maps[name], err = openMap(dir, spec.Maps[name]); err != nil {
			return err
		}
	}
	return nil
}

// openMap opens a pinned map, or makes and pins it.
func openMap(dir string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	path := filepath.Join(dir, spec.Name)
	m, err := ebpf.LoadPinnedMap(path, nil)
	if errors.Is(err, os.ErrNotExist) {
		return newMap(spec, dir)
	}
	if err != nil {
		return nil, fmt.Errorf("pinned map %s: %w", path, err)
	}
	if err := spec.Compatible(m); err != nil {
		return nil, errors.Join(fmt.Errorf("pinned map %s: %w: remove it with `palisade uninstall`", path, err), m.Close())
	}
	return m, nil
}

func (d *Datapath) openArray() error {
	spec, err := bpf.Dispatch.Spec()
	if err != nil {
		return err
	}
	d.array, err = openMap(d.config.PinDir, spec.Maps[bpf.MapPrograms])
	return err
}

// load loads the programs for tables.
func (d *Datapath) load(t *Tables) (*programs, error) {
	p := &programs{}
	if d.networkLacks == nil {
		if err := d.loadNetwork(t, p); err != nil {
			return nil, err
		}
	}
	var err error
	if p.companion, err = d.loadCompanion(t); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (d *Datapath) loadNetwork(t *Tables, p *programs) error {
	spec, err := d.verdictSpec()
	if err != nil {
		return err
	}
	if err := fitSpec(spec, t.Capacity()); err != nil {
		return err
	}
	replace := maps.Clone(d.maps)
	replace[bpf.MapSides], replace[bpf.MapActive] = t.sides, t.active
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		return explain(err)
	}
	defer c.Close()
	p.verdict, p.guard = c.DetachProgram(bpf.ProgramVerdict), c.DetachProgram(bpf.ProgramGuard)
	return nil
}

// adopt continues with the tables that judge now, or makes new ones, and loads this
// agent's programs for them.
func (d *Datapath) adopt() (err error) {
	used, err := d.mapsInUse()
	if err != nil {
		return err
	}
	tables, err := d.findTables(used)
	if err != nil {
		return err
	}
	found := tables != nil
	if !found {
		if tables, err = d.freshTables(minCapacity); err != nil {
			return err
		}
	}
	d.engine = engine{layout: layout.New(d.config.Layout), tables: tables, grow: d.grow}
	if d.programs, err = d.load(tables); err != nil {
		return err
	}
	// Empty tables would judge everything as damaged. Until they are filled, what
	// judged goes on: programs of tables that this agent cannot read, or nobody.
	d.deferred = !found
	if found {
		if err := d.adoptTables(); err != nil {
			return err
		}
	}
	if d.deferred {
		return nil
	}
	return d.takePlace(d.programs)
}

// mapsInUse lists the maps of the program that judges now; nil if none does.
func (d *Datapath) mapsInUse() (map[ebpf.MapID]bool, error) {
	p, err := d.programAt(bpf.SlotVerdict)
	if err != nil {
		return nil, err
	}
	if p != nil {
		defer p.Close()
		return mapsOf(p)
	}
	if d.config.Companion == nil {
		return nil, nil
	}
	return d.config.Companion.InUse()
}

func mapsOf(p *ebpf.Program) (map[ebpf.MapID]bool, error) {
	info, err := p.Info()
	if err != nil {
		return nil, fmt.Errorf("program %s: %w", p, err)
	}
	ids, _ := info.MapIDs()
	used := make(map[ebpf.MapID]bool, len(ids))
	for _, id := range ids {
		used[id] = true
	}
	return used, nil
}

// findTables opens the pinned tables that the judging program uses, if they are of
// this format. Others are left of a start or a growth that did not come to its end.
func (d *Datapath) findTables(used map[ebpf.MapID]bool) (*Tables, error) {
	dirs, err := filepath.Glob(d.config.pin(fmt.Sprintf("tables-%d-*", bpf.Format)))
	if err != nil {
		return nil, err
	}
	for _, dir := range dirs {
		t, err := openTables(dir)
		if err != nil {
			continue
		}
		info, err := t.sides.Info()
		if err != nil {
			return nil, errors.Join(fmt.Errorf("map %s: %w", bpf.MapSides, err), t.Close())
		}
		if id, _ := info.ID(); used[id] {
			return t, nil
		}
		if err := t.Close(); err != nil {
			return nil, err
		}
	}
	return nil, nil
}

// freshTables makes empty tables in a directory of their own.
func (d *Datapath) freshTables(capacity int) (*Tables, error) {
	dir := d.config.tablesDir(capacity)
	if err := os.RemoveAll(dir); err != nil {
		return nil, fmt.Errorf("remove pins: %w", err)
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrPinDir, err)
	}
	return newTables(capacity, dir)
}

// grow makes bigger tables and loads programs for them.
func (d *Datapath) grow(capacity int) (*Tables, func() error, error) {
	t, err := d.freshTables(capacity)
	if err != nil {
		return nil, nil, err
	}
	next, err := d.load(t)
	if err != nil {
		return nil, nil, errors.Join(err, t.Close())
	}
	return t, func() error {
		if err := d.takePlace(next); err != nil {
			return errors.Join(err, next.Close())
		}
		old, judge := d.programs, d.judge
		d.programs, d.judge, d.deferred = next, nil, false
		return errors.Join(old.Close(), judge.Close())
	}, nil
}

// adoptTables learns from the side that judges what is in force.
func (d *Datapath) adoptTables() error {
	tables := d.engine.tables
	active, err := tables.Active()
	if err != nil {
		return err
	}
	// A predecessor may have died between flip and drain.
	if err := tables.Drain(1 - active); err != nil {
		return err
	}
	lines := tables.Lines(active)
	if !sound(lines) {
		d.stats.Damaged++
		return nil
	}
	d.learn(lines)
	d.adopted = true
	return nil
}

// learn takes from a sound side what is in force, and the numbers of rules.
func (d *Datapath) learn(lines []bpf.Line) {
	h, seal := lines[0].Header(), lines[sealLine].Seal()
	d.generation = snapshot.Generation{Epoch: h.Epoch, Term: h.Term, Counter: h.Counter}
	d.digest = snapshot.Digest(seal.Digest)
	d.engine.layout.AdoptRules(layout.RulesOf(lines[:seal.Lines]))
	d.engine.layout.AdoptRuntimeSecret(layout.RuntimeSecretOf(lines[:seal.Lines]))
}

// sound reports whether a side is whole: of this format, complete and as it was left.
func sound(lines []bpf.Line) bool {
	seal := lines[sealLine].Seal()
	return seal.Format == bpf.Format && seal.Dirty == 0 && seal.Lines >= bpf.HeaderLines && int(seal.Lines) <= len(lines) &&
		seal.Sum == layout.Sum(lines[:seal.Lines])
}
