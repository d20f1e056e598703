package datapath

import (
	"fmt"
	"path/filepath"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
)

// Config of a datapath. Zero values mean the defaults.
type Config struct {
	// PinDir is a directory of a bpf file system for links, programs and maps; it
	// is made, for root only.
	PinDir string
	Layout layout.Options
	// EventsPerSecond bounds the events of one rule.
	EventsPerSecond uint32
	// RingBytes is the room for events that are not yet read: a power of two.
	RingBytes uint32
	// MaxPairs is how many pairs of subject and peer are remembered between two
	// readings; the least used are forgotten first.
	MaxPairs uint32
	// Companion judges what is no packet, by the same tables; nil if nobody does.
	Companion Companion
}

// Defaults of Config.
const (
	DefaultPinDir          = "/sys/fs/bpf/palisade"
	DefaultEventsPerSecond = 50
	DefaultRingBytes       = 1 << 20
	DefaultMaxPairs        = 8192
)

func (c Config) withDefaults() Config {
	if c.PinDir == "" {
		c.PinDir = DefaultPinDir
	}
	if c.EventsPerSecond == 0 {
		c.EventsPerSecond = DefaultEventsPerSecond
	}
	if c.RingBytes == 0 {
		c.RingBytes = DefaultRingBytes
	}
	if c.MaxPairs == 0 {
		c.MaxPairs = DefaultMaxPairs
	}
	if c.Layout.MaxRules == 0 {
		c.Layout.MaxRules = layout.DefaultMaxRules
	}
	return c
}

// stateDir is where the maps are pinned that outlive tables: counters, events.
// Maps of other sizes have another directory.
func (c Config) stateDir() string {
	return filepath.Join(c.PinDir, fmt.Sprintf("state-%d-%d-%d-%d", bpf.Format, c.Layout.MaxRules, c.RingBytes, c.MaxPairs))
}

// tablesDir is where tables of a capacity are pinned.
func (c Config) tablesDir(capacity int) string {
	return filepath.Join(c.PinDir, fmt.Sprintf("tables-%d-%d", bpf.Format, capacity))
}

func (c Config) pin(name string) string { return filepath.Join(c.PinDir, name) }

// family and hook are netfilter's numbers.
type attachment struct {
	name     string
	program  string
	family   uint32
	hook     uint32
	priority int32
}

// The places of the programs. The guard runs after defragmentation (-400) and
// before anything looks at the packet (raw: -300, conntrack: -200), where a bridged
// packet still has its port. The verdict runs after destination translation, and
// before source translation on the way out (100), after it on the way in.
var attachments = []attachment{
	{"guard-4", bpf.ProgramCallGuard, familyIPv4, hookPreRouting, -310},
	{"guard-6", bpf.ProgramCallGuard, familyIPv6, hookPreRouting, -310},
	{"out-4", bpf.ProgramCallVerdict, familyIPv4, hookPostRouting, 99},
	{"out-6", bpf.ProgramCallVerdict, familyIPv6, hookPostRouting, 99},
	{"in-4", bpf.ProgramCallVerdict, familyIPv4, hookLocalIn, 101},
	{"in-6", bpf.ProgramCallVerdict, familyIPv6, hookLocalIn, 101},
}

const (
	familyIPv4 = 2
	familyIPv6 = 10

	hookPreRouting  = 0
	hookLocalIn     = 1
	hookPostRouting = 4

	// netfilterDefrag asks the kernel to reassemble fragments before the hook.
	netfilterDefrag = 1
)
