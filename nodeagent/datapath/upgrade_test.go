package datapath

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
)

// The programs of the release before this one. They had no counter of interfaces.
const olderVerdict = "testdata/verdict-older.o"

// downgrade leaves the kernel as the release before leaves it: its programs judge, by
// the tables that are there, and what it did not know is not pinned.
func (l *lab) downgrade() {
	l.t.Helper()
	spec, err := ebpf.LoadCollectionSpec(olderVerdict)
	if err != nil {
		l.t.Fatal(err)
	}
	tables := l.dp.engine.tables
	if err := fitSpec(spec, tables.Capacity()); err != nil {
		l.t.Fatal(err)
	}
	replace := maps.Clone(l.dp.maps)
	maps.DeleteFunc(replace, func(name string, _ *ebpf.Map) bool { return spec.Maps[name] == nil })
	if len(replace) == len(l.dp.maps) {
		l.t.Fatal("the older programs know every map of these: take those of the release before")
	}
	replace[bpf.MapSides], replace[bpf.MapActive] = tables.sides, tables.active
	for name, m := range replace {
		spec.Maps[name].MaxEntries = m.MaxEntries()
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: replace})
	if err != nil {
		l.t.Fatal(err)
	}
	defer c.Close()
	old := &programs{verdict: c.Programs[bpf.ProgramVerdict], guard: c.Programs[bpf.ProgramGuard]}
	if err := l.dp.takePlace(old); err != nil {
		l.t.Fatal(err)
	}
	for name := range l.dp.maps {
		if replace[name] == nil {
			if err := os.Remove(filepath.Join(l.config.withDefaults().stateDir(), name)); err != nil {
				l.t.Fatal(err)
			}
		}
	}
	if err := l.dp.Close(); err != nil {
		l.t.Fatal(err)
	}
}

// TestUpgrade: this agent takes over from the one of the release before. Packets that
// are sent without a pause meanwhile are judged, each as before.
func TestUpgrade(t *testing.T) {
	l := newLab(t)
	a, b, c := l.pods["a"], l.pods["b"], l.pods["c"]
	l.apply(newState().protect("b", false, "c").build())
	l.downgrade()
	both(t, func(t *testing.T, at func(*host) netip.Addr) {
		canUDP(t, "control: a to b", a, at(b), 4999, 8, false)
	})

	from, quit := listen(t, b, 5000)
	stop := make(chan struct{})
	var senders sync.WaitGroup
	sent := map[netip.Addr]uint64{}
	for _, h := range []*host{a, c} {
		conn := h.udp(0)
		senders.Go(func() {
			n := flood(conn, netip.AddrPortFrom(b.v4, 5000), stop)
			from.Lock()
			defer from.Unlock()
			sent[h.v4] = n
		})
	}
	l.reopen()
	expect(t, "adopted", l.dp.Adopted(), true)
	l.apply(newState().protect("b", false, "c").build())
	cell := CellOf(c.port)
	expect(t, "interfaces are counted now", eventually(func() bool {
		in, err := l.dp.CameIn([]Cell{cell})
		return err == nil && in[cell].Packets > 10
	}), true)
	close(stop)
	senders.Wait()
	expect(t, "everything from c came", eventually(func() bool {
		from.Lock()
		defer from.Unlock()
		return from.got[c.v4] == sent[c.v4]
	}), true)
	quit()
	if n := from.got[a.v4]; n > 0 || sent[a.v4] == 0 || sent[c.v4] == 0 {
		t.Errorf("of %d datagrams from a %d came, of %d from c %d", sent[a.v4], n, sent[c.v4], from.got[c.v4])
	}
}

// received counts datagrams by sender.
type received struct {
	sync.Mutex
	got map[netip.Addr]uint64
}

// listen counts what comes to a port until quit.
func listen(t *testing.T, h *host, port int) (r *received, quit func()) {
	t.Helper()
	conn := h.udp(port)
	if err := conn.SetReadBuffer(1 << 22); err != nil {
		t.Fatal(err)
	}
	r = &received{got: map[netip.Addr]uint64{}}
	var done sync.WaitGroup
	done.Go(func() {
		b := make([]byte, 16)
		for {
			_, from, err := conn.ReadFromUDPAddrPort(b)
			if err != nil {
				return
			}
			r.Lock()
			r.got[from.Addr().Unmap()]++
			r.Unlock()
		}
	})
	return r, func() { conn.Close(); done.Wait() }
}

// flood sends a datagram every millisecond, and returns how many.
func flood(conn *net.UDPConn, to netip.AddrPort, stop chan struct{}) (n uint64) {
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return n
		case <-tick.C:
		}
		if _, err := conn.WriteToUDPAddrPort(binary.BigEndian.AppendUint64(nil, n), to); err == nil {
			n++
		} else if errors.Is(err, net.ErrClosed) {
			return n
		}
	}
}

// eventually reports whether something comes true in the time that it must.
func eventually(ok func() bool) bool {
	for deadline := time.Now().Add(trust); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if ok() {
			return true
		}
	}
	return false
}
