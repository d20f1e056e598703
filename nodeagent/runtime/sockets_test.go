package runtime

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/runtime"
)

var update = flag.Bool("update", false, "record what the backend cgroup does on this kernel")

// socketType is a type of rule of the section network, as test/vm/runtime has them.
type socketType struct {
	name, operation, address string
	rule                     snapshot.RuntimeRuleRow
	spared                   attempt // of which the rule does not speak, if it has an operation
}

// attempt is an operation of a program of a box.
type attempt struct{ program, operation, address string }

// borrower is the program that rules name in from.
const borrower = "/bin/denied"

// program is who does what a type is about.
func (s socketType) program() string {
	if len(s.rule.From) > 0 {
		return s.rule.From[0]
	}
	return "/bin/app"
}

const (
	connects, binds, listens, sends = 1, 2, 4, 8

	tcp, udp = 6, 17
)

func ports(protocol uint8, port uint16) []snapshot.RuntimePort {
	return []snapshot.RuntimePort{{Proto: protocol, Lo: port, Hi: port}}
}

// servers are ports that others listen at. The last of them has the address peerAddress.
type servers struct {
	tcp4, tcp4Apart, tcp6, udp4, except, peer uint16
	ours                                      uint16 // for those that listen here
}

// Addresses of this machine: one that a block leaves out, and one that is an endpoint's.
const (
	exceptAddress = "127.0.0.2"
	peerAddress   = "127.0.0.3"
)

func listeners(t *testing.T) servers {
	t.Helper()
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	ours := port(free.Addr())
	must(t, free.Close())
	return servers{
		tcp4: listener(t, "tcp4", "127.0.0.1:0"), tcp4Apart: listener(t, "tcp4", "127.0.0.1:0"), tcp6: listener(t, "tcp6", "[::1]:0"), udp4: packets(t),
		except: listener(t, "tcp4", exceptAddress+":0"), peer: listener(t, "tcp4", peerAddress+":0"), ours: ours,
	}
}

// Rule sets of peers: see around.
var (
	peerPods  = snapshot.NewRulesetID([]byte("pods"))
	peerWorld = snapshot.NewRulesetID([]byte("world"))
)

// around says who the peers are: peerAddress is an endpoint's, and everything else the
// world's.
func around(b *rowtest.Builder) {
	b.Kind("peer", "pods")
	b.Kind("world", "world")
	b.Address(peerAddress, "peer", "")
	yes, no := b.Program(b.Deny("peer")), b.Program(b.Allow("peer"))
	for _, group := range []string{"pods", "world"} {
		b.Ruleset(group, true, []string{group}, func(in func(string) bool) snapshot.ProgramID {
			if in(group) {
				return yes
			}
			return no
		})
	}
}

// socketTypes are what rules of the section network may be about.
func socketTypes(s servers) []socketType {
	at := func(host string, port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
	app := func(operation, address string) attempt { return attempt{"/bin/app", operation, address} }
	low := s.tcp4 - 1 // of a range that the other port is not in
	if s.tcp4Apart == low {
		low = s.tcp4
	}
	here, apart := at("127.0.0.1", s.tcp4), at("127.0.0.1", s.tcp4Apart)
	return []socketType{
		{"connect", "connect", here, snapshot.RuntimeRuleRow{Operations: connects, Ports: ports(tcp, s.tcp4)}, app("connect", apart)},
		{"connect-udp", "connect-udp", at("127.0.0.1", s.udp4), snapshot.RuntimeRuleRow{Operations: connects, Ports: ports(udp, s.udp4)}, app("send", at("127.0.0.1", s.udp4))},
		{"cidr", "connect", at("::1", s.tcp6), snapshot.RuntimeRuleRow{
			Operations: connects, Blocks: []snapshot.RuntimeBlock{{CIDR: netip.MustParsePrefix("::1/128")}},
		}, app("connect", here)},
		{"ip-block", "connect", here, snapshot.RuntimeRuleRow{Operations: connects, Blocks: []snapshot.RuntimeBlock{{
			CIDR: netip.MustParsePrefix("127.0.0.0/8"), Except: []netip.Prefix{netip.MustParsePrefix(exceptAddress + "/32")},
		}}}, app("connect", at(exceptAddress, s.except))},
		{"port-range", "connect", here, snapshot.RuntimeRuleRow{
			Operations: connects, Ports: []snapshot.RuntimePort{{Proto: tcp, Lo: low, Hi: low + 1}},
		}, app("connect", apart)},
		{"peer-pods", "connect", at(peerAddress, s.peer), snapshot.RuntimeRuleRow{Operations: connects, Peers: peerPods}, app("connect", here)},
		{"peer-entity", "connect", here, snapshot.RuntimeRuleRow{Operations: connects, Peers: peerWorld}, app("connect", at(peerAddress, s.peer))},
		{"from", "connect", here, snapshot.RuntimeRuleRow{Operations: connects, From: []string{borrower}}, app("connect", here)},
		{"send", "send", at("127.0.0.1", s.udp4), snapshot.RuntimeRuleRow{Operations: sends, Ports: ports(udp, s.udp4)}, app("connect-udp", at("127.0.0.1", s.udp4))},
		{"bind", "bind", at("127.0.0.1", s.ours), snapshot.RuntimeRuleRow{Operations: binds, Ports: ports(tcp, s.ours)}, app("connect", here)},
		{"listen", "listen", at("127.0.0.1", s.ours), snapshot.RuntimeRuleRow{Operations: listens, Ports: ports(tcp, s.ours)}, attempt{}},
	}
}

// socketTrial is where types of rules are tried, and what came of it.
type socketTrial struct {
	t     *testing.T
	n     *node
	seen  *stagedRecords
	found []runtime.Result
}

// Where there are rules about executables, processes are told of.
var executables = snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/other"}}

// TestSockets: what each type of rule of the section network comes to by the hooks of
// cgroups. What was found on this kernel before is on record, which docs/runtime.md shows.
func TestSockets(t *testing.T) {
	n := newNode(t, func(c *Config) { c.Best = events.Signal })
	if b := n.r.Backends()[Network]; b.Means != events.Cgroup {
		t.Skipf("this kernel has no hooks of cgroups for sockets: %s", b.Detail)
	}
	if m := n.r.Backends()[Network].Message(Network); !strings.HasPrefix(m, "cannot judge Listen, SCTP, Bind over ICMP, Send over ICMP, from where it names scripts in every case; ") {
		t.Errorf("what the node says of itself: %q", m)
	}
	n.around = around
	s := socketTrial{t: t, n: n, seen: n.staged(t)}
	types := socketTypes(listeners(t))
	for _, kind := range types {
		kind.rule.Section = snapshot.SectionNetwork
		s.actions(kind)
		s.list(kind)
	}
	s.exception(types[0])
	onRecord(t, s.found)
}

func (s *socketTrial) tell(kind, action, result string) {
	s.found = append(s.found, runtime.Result{
		Kernel: kernelVersion(s.t), Section: "network", Type: kind, Action: action, Backend: string(events.Cgroup), Result: result,
	})
}

// try does something under rules.
func (s *socketTrial) try(a attempt, rules ...snapshot.RuntimeRuleRow) string {
	s.t.Helper()
	b := newBox(s.t)
	s.n.apply([]*box{b}, rules...)
	out, err := b.run(s.t, a.program, a.operation, a.address)
	switch {
	case err == nil && out == "done":
		return runtime.NotStopped
	case killed(err):
		return runtime.Killed
	case out == "EPERM":
		return runtime.Prevented
	}
	s.t.Errorf("%v: %q, %v", a, out, err)
	return ""
}

// actions tries Deny, Kill and Audit, and what such rules spare.
func (s *socketTrial) actions(kind socketType) {
	s.t.Helper()
	about := attempt{kind.program(), kind.operation, kind.address}
	if got := s.try(about, executables); got != runtime.NotStopped {
		s.t.Fatalf("%s without a rule: %s", kind.name, got)
	}
	for action, number := range map[string]uint8{runtime.Deny: snapshot.RuntimeDeny, runtime.Kill: snapshot.RuntimeKill} {
		rule := kind.rule
		rule.Action = number
		s.tell(kind.name, action, s.try(about, rule))
		if kind.spared.operation == "" {
			continue
		}
		if got := s.try(kind.spared, rule); got != runtime.NotStopped {
			s.t.Errorf("%s: %s of what the rule does not speak of: %s", kind.name, action, got)
		}
	}
	audit := kind.rule
	audit.Action, audit.Staged = snapshot.RuntimeDeny, true
	s.tell(kind.name, runtime.Audit, s.seen.during(s.t, kind.rule.Operations, func() {
		if got := s.try(about, audit, executables); got != runtime.NotStopped {
			s.t.Errorf("%s: Audit: %s", kind.name, got)
		}
	}))
}

var isolation = snapshot.RuntimeRuleRow{Section: snapshot.SectionNetwork, Action: snapshot.RuntimeDeny, Isolation: true}

// list tries an allow-list with the type's rule, and without it.
func (s *socketTrial) list(kind socketType) {
	s.t.Helper()
	about := attempt{kind.program(), kind.operation, kind.address}
	left := []snapshot.RuntimeRuleRow{isolation}
	if kind.operation == "listen" { // it binds before
		left = []snapshot.RuntimeRuleRow{{Section: snapshot.SectionNetwork, Operations: binds, Ports: kind.rule.Ports}, isolation}
	}
	list := append([]snapshot.RuntimeRuleRow{kind.rule}, left...)
	switch with, without := s.try(about, list...), s.try(about, left...); {
	case with == runtime.NotStopped && without == runtime.Prevented:
		s.tell(kind.name, runtime.Accept, runtime.Accepted)
	case with == runtime.NotStopped && without == runtime.NotStopped:
		s.tell(kind.name, runtime.Accept, runtime.NotStopped)
	default:
		s.t.Errorf("%s: in an allow-list %s, left out of it %s", kind.name, with, without)
	}
	if kind.spared.operation == "" {
		return
	}
	if got := s.try(kind.spared, list...); got != runtime.Prevented {
		s.t.Errorf("%s: what an allow-list does not speak of: %s", kind.name, got)
	}
}

// exception tries what sections have besides rules: their default, and exceptions.
func (s *socketTrial) exception(kind socketType) {
	s.t.Helper()
	about := attempt{kind.program(), kind.operation, kind.address}
	s.tell("default", runtime.Deny, s.try(about, isolation))
	staged := isolation
	staged.Staged = true
	s.tell("default", runtime.Audit, s.seen.during(s.t, kind.rule.Operations, func() {
		if got := s.try(about, staged, executables); got != runtime.NotStopped {
			s.t.Errorf("default in Audit: %s", got)
		}
	}))
	// An exception is a rule that accepts ahead of those that deny.
	excepted, denied := kind.rule, snapshot.RuntimeRuleRow{Section: snapshot.SectionNetwork, Action: snapshot.RuntimeDeny, Operations: connects}
	excepted.Section = snapshot.SectionNetwork
	with, spared := s.try(about, excepted, denied), s.try(kind.spared, excepted, denied)
	if with != runtime.NotStopped || spared != runtime.Prevented {
		s.t.Errorf("with an exception %s, and what it does not speak of %s", with, spared)
		return
	}
	s.tell("exception", runtime.Accept, runtime.Accepted)
}

// stagedRecords are the operations of which a record says that they would have been denied.
type stagedRecords struct {
	mu         sync.Mutex
	operations uint32
	ended      int // processes
}

func (n *node) staged(t *testing.T) *stagedRecords {
	t.Helper()
	s := &stagedRecords{}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- n.r.Read(ctx, func(bpf.Key6) bool { return true }, func(rec Record) {
			s.mu.Lock()
			defer s.mu.Unlock()
			switch {
			case rec.Kind == bpf.RuntimeEventExit:
				s.ended++
			case rec.Staged().Deny && !rec.Enforced().Deny:
				s.operations |= rec.Query.Operations
			}
		})
	}()
	t.Cleanup(func() { stop(); must(t, <-done) })
	return s
}

// during does something in a process that ends, and says whether it was observed: what it
// did was told before its end was.
func (s *stagedRecords) during(t *testing.T, operation uint32, do func()) string {
	t.Helper()
	s.mu.Lock()
	s.operations = 0
	before := s.ended
	s.mu.Unlock()
	do()
	result := runtime.NotObserved
	poll.Holds(t, "a record of the end of the process", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.operations&operation != 0 {
			result = runtime.Observed
		}
		return s.ended > before
	})
	return result
}

func kernelVersion(t *testing.T) string {
	t.Helper()
	var u unix.Utsname
	must(t, unix.Uname(&u))
	parts := strings.SplitN(unix.ByteSliceToString(u.Release[:]), ".", 3)
	return parts[0] + "." + parts[1]
}

// onRecord holds what was found against what is on record for this kernel, if anything is.
func onRecord(t *testing.T, found []runtime.Result) {
	t.Helper()
	slices.SortStableFunc(found, func(a, b runtime.Result) int { return strings.Compare(a.Type+a.Action, b.Type+b.Action) })
	var b strings.Builder
	for _, r := range found {
		line, err := r.Line()
		must(t, err)
		fmt.Println(line)
		b.WriteString(strings.TrimPrefix(line, runtime.ResultMark) + "\n")
	}
	path := filepath.Join("testdata", "runtime-results-"+kernelVersion(t)+"-cgroup.jsonl")
	if *update {
		must(t, os.MkdirAll("testdata", 0o755))
		must(t, os.WriteFile(path, []byte(b.String()), 0o644))
	}
	want, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		t.Logf("nothing on record for this kernel: go test ./nodeagent/runtime -run TestSockets -update")
		return
	}
	must(t, err)
	if b.String() != string(want) {
		t.Errorf("found:\n%son record:\n%s", b.String(), want)
	}
}

func port(a net.Addr) uint16 { return netip.MustParseAddrPort(a.String()).Port() }

// listener accepts connections until the test ends.
func listener(t *testing.T, network, address string) uint16 {
	t.Helper()
	l, err := net.Listen(network, address)
	must(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_ = c.Close() // the test is at the other end
		}
	}()
	t.Cleanup(func() { must(t, l.Close()); <-done })
	return port(l.Addr())
}

// packets receives datagrams until the test ends.
func packets(t *testing.T) uint16 {
	t.Helper()
	c, err := net.ListenPacket("udp4", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { must(t, c.Close()) })
	return port(c.LocalAddr())
}

// network does an operation of the section network.
func network(operation, address string) error {
	to, err := netip.ParseAddrPort(address)
	if err != nil {
		return err
	}
	family, kind, at := unix.AF_INET, unix.SOCK_STREAM, unix.Sockaddr(&unix.SockaddrInet4{Port: int(to.Port())})
	if to.Addr().Is6() {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	} else {
		at.(*unix.SockaddrInet4).Addr = to.Addr().As4()
	}
	if operation == "send" || operation == "connect-udp" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return err
	}
	switch operation {
	case "connect", "connect-udp":
		return unix.Connect(fd, at)
	case "send":
		return unix.Sendto(fd, []byte("x"), 0, at)
	case "bind":
		return unix.Bind(fd, at)
	}
	return errors.Join(unix.Bind(fd, at), unix.Listen(fd, 1))
}
