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
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
	"palisade.dev/palisade/test/vm/runtime"
)

var update = flag.Bool("update", false, "record what the backend cgroup does on this kernel")

// socketType is a type of rule of the section network, as test/vm/runtime has them.
type socketType struct {
	name, operation, address string
	rule                     snapshot.RuntimeRuleRow
}

const (
	connects, binds, listens, sends = 1, 2, 4, 8

	tcp, udp = 6, 17
)

func ports(protocol uint8, port uint16) []snapshot.RuntimePort {
	return []snapshot.RuntimePort{{Proto: protocol, Lo: port, Hi: port}}
}

// socketTypes are about ports that others listen at; ours is for those that listen here.
func socketTypes(tcp4, tcp6, udp4, ours uint16) []socketType {
	at := func(host string, port uint16) string { return net.JoinHostPort(host, strconv.Itoa(int(port))) }
	return []socketType{
		{"connect", "connect", at("127.0.0.1", tcp4), snapshot.RuntimeRuleRow{Operations: connects, Ports: ports(tcp, tcp4)}},
		{"cidr", "connect", at("::1", tcp6), snapshot.RuntimeRuleRow{
			Operations: connects, Blocks: []snapshot.RuntimeBlock{{CIDR: netip.MustParsePrefix("::1/128")}},
		}},
		{"send", "send", at("127.0.0.1", udp4), snapshot.RuntimeRuleRow{Operations: sends, Ports: ports(udp, udp4)}},
		{"bind", "bind", at("127.0.0.1", ours), snapshot.RuntimeRuleRow{Operations: binds, Ports: ports(tcp, ours)}},
		{"listen", "listen", at("127.0.0.1", ours), snapshot.RuntimeRuleRow{Operations: listens, Ports: ports(tcp, ours)}},
	}
}

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
	tcp4, tcp6, udp4 := listener(t, "tcp4", "127.0.0.1:0"), listener(t, "tcp6", "[::1]:0"), packets(t)
	free, err := net.Listen("tcp4", "127.0.0.1:0")
	must(t, err)
	ours := port(free.Addr())
	must(t, free.Close())
	seen := n.staged(t)
	// Where there are rules about executables, processes are told of.
	executables := snapshot.RuntimeRuleRow{Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Paths: []string{"/bin/denied"}}
	var found []runtime.Result
	for _, kind := range socketTypes(tcp4, tcp6, udp4, ours) {
		kind.rule.Section = snapshot.SectionNetwork
		tell := func(action, result string) {
			found = append(found, runtime.Result{
				Kernel: kernelVersion(t), Section: "network", Type: kind.name, Action: action, Backend: string(events.Cgroup), Result: result,
			})
		}
		b := newBox(t)
		try := func(rules ...snapshot.RuntimeRuleRow) string {
			n.apply([]*box{b}, rules...)
			out, err := b.run(t, "/bin/app", kind.operation, kind.address)
			switch {
			case err == nil && out == "done":
				return runtime.NotStopped
			case killed(err):
				return runtime.Killed
			case out == "EPERM":
				return runtime.Prevented
			}
			t.Errorf("%s: %q, %v", kind.name, out, err)
			return ""
		}
		if got := try(executables); got != runtime.NotStopped {
			t.Fatalf("%s without a rule: %s", kind.name, got)
		}
		for action, number := range map[string]uint8{runtime.Deny: snapshot.RuntimeDeny, runtime.Kill: snapshot.RuntimeKill} {
			rule := kind.rule
			rule.Action = number
			tell(action, try(rule))
		}
		isolation := snapshot.RuntimeRuleRow{Section: snapshot.SectionNetwork, Action: snapshot.RuntimeDeny, Isolation: true}
		left := []snapshot.RuntimeRuleRow{isolation}
		if kind.operation == "listen" { // it binds before
			left = []snapshot.RuntimeRuleRow{{Section: snapshot.SectionNetwork, Operations: binds, Ports: kind.rule.Ports}, isolation}
		}
		accept := kind.rule
		switch with, without := try(append([]snapshot.RuntimeRuleRow{accept}, left...)...), try(left...); {
		case with == runtime.NotStopped && without == runtime.Prevented:
			tell(runtime.Accept, runtime.Accepted)
		case with == runtime.NotStopped && without == runtime.NotStopped:
			tell(runtime.Accept, runtime.NotStopped)
		default:
			t.Errorf("%s: in an allow-list %s, left out of it %s", kind.name, with, without)
		}
		audit := kind.rule
		audit.Action, audit.Staged = snapshot.RuntimeDeny, true
		tell(runtime.Audit, seen.during(t, kind.rule.Operations, func() {
			if got := try(audit, executables); got != runtime.NotStopped {
				t.Errorf("%s: Audit: %s", kind.name, got)
			}
		}))
	}
	onRecord(t, found)
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
	if operation == "send" {
		kind = unix.SOCK_DGRAM
	}
	fd, err := unix.Socket(family, kind, 0)
	if err != nil {
		return err
	}
	switch operation {
	case "connect":
		return unix.Connect(fd, at)
	case "send":
		return unix.Sendto(fd, []byte("x"), 0, at)
	case "bind":
		return unix.Bind(fd, at)
	}
	return errors.Join(unix.Bind(fd, at), unix.Listen(fd, 1))
}
