//go:build guest

package runtime

import (
	"bytes"
	"path/filepath"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
)

// sides are the node's tables, without an agent.
type sides struct {
	t      *testing.T
	active *ebpf.Map
	inner  [2]*ebpf.Map
}

// openSides opens the newest tables that are pinned.
func openSides(t *testing.T) *sides {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(datapath.DefaultPinDir, "*", bpf.MapSides))
	must(t, err)
	if len(found) != 1 {
		t.Fatalf("tables: %q, want one", found)
	}
	s := &sides{t: t}
	outer, err := ebpf.LoadPinnedMap(found[0], nil)
	must(t, err)
	defer outer.Close()
	s.active, err = ebpf.LoadPinnedMap(filepath.Join(filepath.Dir(found[0]), bpf.MapActive), nil)
	must(t, err)
	t.Cleanup(func() { s.active.Close() })
	for i := range s.inner {
		var id ebpf.MapID
		must(t, outer.Lookup(uint32(i), &id))
		s.inner[i], err = ebpf.NewMapFromID(id)
		must(t, err)
		t.Cleanup(func() { s.inner[i].Close() })
	}
	return s
}

// judging is the side in force.
func (s *sides) judging() uint64 {
	s.t.Helper()
	var word uint64
	must(s.t, s.active.Lookup(uint32(0), &word))
	return word & 1
}

// lines is everything in a side.
func (s *sides) lines(side uint64) []byte {
	s.t.Helper()
	out := make([]byte, s.inner[side].ValueSize())
	must(s.t, s.inner[side].Lookup(uint32(0), out))
	return out
}

// flips puts another generation into the side that does not judge, and then makes one and
// the other the one that judges, many times. No agent may run.
func (s *sides) flips(other []byte, times int) {
	s.t.Helper()
	now := s.judging()
	idle := 1 - now
	if bytes.Equal(other, s.lines(now)) || len(other) != int(s.inner[idle].ValueSize()) {
		s.t.Fatal("the generations are the same, or their tables are not of one size")
	}
	must(s.t, s.inner[idle].Put(uint32(0), other))
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for i := range times {
		<-tick.C
		must(s.t, s.active.Put(uint32(0), (idle+uint64(i))&1))
	}
	must(s.t, s.active.Put(uint32(0), now))
}
