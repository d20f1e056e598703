package datapath

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// Attribution is a word of an event with the row that it names.
type Attribution struct {
	Decision
	Row snapshot.RuleRow // of Decision.Rule; zero for built-in rules
}

// Judged is one direction of an event in both worlds.
type Judged struct {
	Enforced, Staged Attribution
}

// State says how the kernel's connection tracking sees an event's packet.
type State string

// The states.
const (
	StateNew         State = "new"
	StateEstablished State = "established"
	StateReply       State = "reply"
	StateUntracked   State = "untracked" // judged by its headers
)

// Event is a packet that was denied, or the first of a connection that a rule logs
// or that staged policies would decide otherwise.
type Event struct {
	Time       time.Time
	Generation snapshot.Generation
	Denied     bool
	Client     netip.AddrPort // who opened the connection; the port is 0 where there is none
	Server     netip.AddrPort // for ICMP the port is type<<8|code
	Protocol   uint8
	Egress     Judged
	Ingress    Judged
	Interface  uint32 // by which the packet came; 0: it started on this node
	Length     uint32
	Hook       uint8 // netfilter's number
	State      State
}

// Events reads what the kernel reports.
type Events struct {
	d      *Datapath
	reader *ringbuf.Reader
	clock  func() time.Duration
}

// ErrClosed is returned by Read after Close.
var ErrClosed = ringbuf.ErrClosed

// Events starts reading. One reader gets each event; several share them.
func (d *Datapath) Events() (*Events, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	m, ok := d.maps[bpf.MapEvents]
	if !ok {
		return nil, os.ErrClosed
	}
	r, err := ringbuf.NewReader(m)
	if err != nil {
		return nil, fmt.Errorf("events: %w", err)
	}
	return &Events{d: d, reader: r, clock: monotonic}, nil
}

// Close ends a Read that waits.
func (e *Events) Close() error { return e.reader.Close() }

// SetDeadline makes Read return os.ErrDeadlineExceeded after t.
func (e *Events) SetDeadline(t time.Time) { e.reader.SetDeadline(t) }

// Read waits for an event.
func (e *Events) Read() (Event, error) {
	record, err := e.reader.Read()
	if err != nil {
		return Event{}, err
	}
	raw, err := decodeEvent(record.RawSample)
	if err != nil {
		return Event{}, err
	}
	e.d.mu.Lock()
	defer e.d.mu.Unlock()
	return e.d.event(raw, e.clock()), nil
}

var errEventSize = errors.New("event of another size than this agent knows")

// decodeEvent reads the kernel's record, which may be padded.
func decodeEvent(b []byte) (bpf.Event, error) {
	var raw bpf.Event
	if len(b) < int(unsafe.Sizeof(raw)) {
		return raw, fmt.Errorf("%w: %d bytes", errEventSize, len(b))
	}
	_, err := binary.Decode(b, binary.NativeEndian, &raw)
	return raw, err
}

func (d *Datapath) event(raw bpf.Event, now time.Duration) Event {
	g := snapshot.Generation{Epoch: raw.Epoch, Term: raw.Term, Counter: raw.Counter}
	e := Event{
		Time:       time.Now().Add(time.Duration(raw.Time) - now),
		Generation: g,
		Denied:     (raw.Egress.Enforced|raw.Ingress.Enforced)&bpf.WordDeny != 0,
		Client:     netip.AddrPortFrom(addrOf(raw.Client, raw.Family), raw.ClientPort),
		Server:     netip.AddrPortFrom(addrOf(raw.Server, raw.Family), raw.ServerPort),
		Protocol:   raw.Protocol,
		Egress:     d.judged(raw.Egress, g),
		Ingress:    d.judged(raw.Ingress, g),
		Interface:  raw.Interface,
		Length:     raw.Length,
		Hook:       raw.Hook,
		State:      StateEstablished,
	}
	switch {
	case raw.Flags&bpf.EventUntracked != 0:
		e.State = StateUntracked
	case raw.Flags&bpf.EventNew != 0:
		e.State = StateNew
	case raw.Flags&bpf.EventReply != 0:
		e.State = StateReply
	}
	return e
}

func (d *Datapath) judged(a bpf.Answer, g snapshot.Generation) Judged {
	return Judged{Enforced: d.attributionAt(a.Enforced, g), Staged: d.attributionAt(a.Staged, g)}
}

func (d *Datapath) attribution(word uint32) Attribution {
	a := Attribution{Decision: d.engine.decision(word)}
	a.Row, _ = d.engine.layout.Rule(bpf.RuleSlot(word & bpf.WordRule))
	return a
}

func addrOf(k bpf.Key6, family uint8) netip.Addr {
	if family == bpf.FamilyIPv4 {
		var b [4]byte
		binary.BigEndian.PutUint32(b[:], uint32(k.Low))
		return netip.AddrFrom4(b)
	}
	var b [16]byte
	binary.BigEndian.PutUint64(b[:8], k.High)
	binary.BigEndian.PutUint64(b[8:], k.Low)
	return netip.AddrFrom16(b)
}

// monotonic is the clock that the kernel stamps events with.
func monotonic() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts); err != nil {
		return 0
	}
	return time.Duration(ts.Nano())
}
