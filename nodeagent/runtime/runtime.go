package runtime

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/link"
	"github.com/go-logr/logr"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
)

// UnknownPods says what becomes of a pod that the snapshot does not know.
type UnknownPods string

// The choices. With Deny such a pod executes nothing until the snapshot knows it.
const (
	UnknownAllow UnknownPods = "allow"
	UnknownDeny  UnknownPods = "deny"
)

// ErrUnknownPods says what may be chosen.
var ErrUnknownPods = errors.New("unknown pods: want allow or deny")

// UnmarshalText reads a choice.
func (u *UnknownPods) UnmarshalText(b []byte) error {
	switch UnknownPods(b) {
	case UnknownAllow, UnknownDeny:
		*u = UnknownPods(b)
		return nil
	}
	return fmt.Errorf("%q: %w", b, ErrUnknownPods)
}

// Config of a Runtime. Zero values mean the defaults.
type Config struct {
	// PinDir is a directory of a bpf file system; it is made, for root only.
	PinDir string
	// Proc is the host's /proc.
	Proc string
	// Bundles are where container runtimes keep the bundles of running containers.
	Bundles []string
	Unknown UnknownPods
	// Record is which sections' operations are reported although nothing is denied.
	Record          []Section
	EventsPerSecond uint32
	// Redact is what of arguments is left out of records, beside what always is.
	Redact []string
	Log    logr.Logger
	// Best is the means to begin with when looking for what the kernel offers.
	Best events.Backend
}

const defaultEventsPerSecond = 50

func (c Config) withDefaults() Config {
	if c.Proc == "" {
		c.Proc = "/proc"
	}
	if c.Bundles == nil {
		c.Bundles = defaultBundles
	}
	if c.Unknown == "" {
		c.Unknown = UnknownAllow
	}
	if c.Best == "" {
		c.Best = best[0]
	}
	if c.EventsPerSecond == 0 {
		c.EventsPerSecond = defaultEventsPerSecond
	}
	return c
}

// stateVersion is that of the maps that outlive programs. Maps of another one are left.
const stateVersion = 1

func (c Config) stateDir() string {
	return filepath.Join(c.PinDir, fmt.Sprintf("state-%d", stateVersion))
}

// Runtime is the kernel's half on one node. Its methods may be called from several
// goroutines.
type Runtime struct {
	config    Config
	backends  map[Section]Backend
	hierarchy hierarchy
	present   []place
	kinds     map[string]kind // of present places, by hook
	unnamed   naming
	metrics   metrics

	crowded atomic.Bool // there was no room for a pod's cgroup

	mu     sync.Mutex
	maps   map[string]*ebpf.Map
	arrays map[string]*ebpf.Map // by hook
	links  map[string]link.Link
	used   *programs
}

// stateMaps outlive programs: what is known of cgroups and processes, and what is told.
var stateMaps = []string{bpf.MapContainers, bpf.MapUnbound, bpf.MapUnplaced, bpf.MapProcesses, bpf.MapScripts, bpf.MapAgent, bpf.MapSettings, bpf.MapRuntimeEvents}

// Open finds out what the kernel can do, and opens or makes the pinned maps. Nothing is
// judged until programs take their place.
func Open(c Config) (_ *Runtime, err error) {
	c = c.withDefaults()
	r := &Runtime{config: c, metrics: newMetrics(), kinds: map[string]kind{}, maps: map[string]*ebpf.Map{}, arrays: map[string]*ebpf.Map{}, links: map[string]link.Link{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, r.Close())
		}
	}()
	r.backends = Probe(c.Best)
	if r.hierarchy, err = findHierarchy(c.Proc); err != nil {
		return nil, err
	}
	present, absent, err := wanted(r.backends)
	if err != nil {
		return nil, fmt.Errorf("hooks of this kernel: %w", err)
	}
	r.present = places(present, r.backends)
	for _, h := range absent {
		r.lacks(h.sections[0], h.lacking())
	}
	if err := os.MkdirAll(c.stateDir(), 0o700); err != nil {
		return nil, fmt.Errorf("no place for pins: %w", err)
	}
	spec, err := r.spec()
	if err != nil {
		return nil, err
	}
	for _, at := range r.present {
		s, ok := spec.Programs[at.program()]
		if !ok {
			return nil, fmt.Errorf("object %s has no program %s", bpf.Hooks.Name, at.program())
		}
		r.kinds[at.name] = at.kind(s)
	}
	for _, name := range stateMaps {
		if r.maps[name], err = openMap(c.stateDir(), spec.Maps[name]); err != nil {
			return nil, err
		}
	}
	return r, r.set()
}

// lacks notes operations that are not judged for want of a hook.
func (r *Runtime) lacks(s Section, operations uint32) {
	b := r.backends[s]
	b.Unjudged |= operations
	r.backends[s] = b
}

// set writes the settings.
func (r *Runtime) set() error {
	if err := r.maps[bpf.MapSettings].Put(uint32(0), r.config.settings()); err != nil {
		return fmt.Errorf("settings: %w", err)
	}
	return nil
}

// settings is the word of bits that programs read.
func (c *Config) settings() uint64 {
	word := bpf.RecordExec | bpf.RecordExit
	for _, s := range c.Record {
		word |= 1 << s
	}
	if c.Unknown == UnknownDeny {
		word |= bpf.DenyUnknown
	}
	return word
}

// spec is the specification of all programs with this node's constants.
func (r *Runtime) spec() (*ebpf.CollectionSpec, error) {
	spec, err := bpf.Hooks.Spec()
	if err != nil {
		return nil, err
	}
	var backends [sections]uint8
	for s, b := range r.backends {
		backends[s] = number(b.Means)
	}
	for name, value := range map[string]any{
		bpf.VariableHierarchyID: r.hierarchy.id, bpf.VariableHierarchyController: r.hierarchy.controller,
		bpf.VariableEventsPerSecond: r.config.EventsPerSecond, bpf.VariableBackends: backends,
	} {
		if err := spec.Variables[name].Set(value); err != nil {
			return nil, fmt.Errorf("variable %s: %w", name, err)
		}
	}
	return spec, nil
}

// openMap opens a pinned map, or makes and pins it for root only.
func openMap(dir string, spec *ebpf.MapSpec) (*ebpf.Map, error) {
	path := filepath.Join(dir, spec.Name)
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
		return nil, fmt.Errorf("map %s: %w", spec.Name, err)
	}
	if err := m.Pin(path); err != nil {
		return nil, errors.Join(fmt.Errorf("map %s: %w", path, err), m.Close())
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return nil, errors.Join(fmt.Errorf("map %s: %w", path, err), m.Close())
	}
	return m, nil
}

// Backends says by which means the kernel decides about each section.
func (r *Runtime) Backends() map[Section]Backend {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := maps.Clone(r.backends)
	if r.crowded.Load() {
		for s, b := range out {
			out[s] = b.without(s, r.tooMany())
		}
	}
	return out
}

// Prevents reports whether what a section denies does not happen at all.
func (r *Runtime) Prevents(s Section) bool { return r.Backends()[s].Means.Prevents() }

// Unknown says what becomes of pods that the snapshot does not know.
func (r *Runtime) Unknown() UnknownPods { return r.config.Unknown }

// EventsPerSecond is how many records a rule makes that does not say.
func (r *Runtime) EventsPerSecond() uint32 { return r.config.EventsPerSecond }

// Redactor leaves secrets out of arguments.
func (r *Runtime) Redactor() *events.Redactor { return events.NewRedactor(r.config.Redact) }

// Close lets go of the kernel, which goes on.
func (r *Runtime) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	var errs []error
	for name, l := range r.links {
		errs = append(errs, l.Close())
		delete(r.links, name)
	}
	for _, all := range []map[string]*ebpf.Map{r.maps, r.arrays} {
		for name, m := range all {
			errs = append(errs, m.Close())
			delete(all, name)
		}
	}
	return errors.Join(errs...)
}
