package nodeagent

import (
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/layout/rowtest"
	"palisade.dev/palisade/snapshot"
)

func bindTo(t *testing.T, b *bench, pod string, addr byte, i facts.Interface) {
	t.Helper()
	if _, err := b.facts.Bind(facts.Attachment{
		AttachmentID: facts.AttachmentID{Container: pod, IfName: "eth0"}, Pod: facts.Pod{UID: facts.PodUID(pod), Namespace: "shop", Name: pod},
		Addrs: []netip.Addr{netip.AddrFrom4([4]byte{10, 0, 0, addr})}, Host: i, Source: facts.FromCNI,
	}); err != nil {
		t.Fatal(err)
	}
}

func nothing([]datapath.Cell) (map[datapath.Cell]datapath.Traffic, error) { return nil, nil }

func TestBypassByCounters(t *testing.T) {
	type look struct {
		a, b, other, judged uint64
		err                 error
		found               bool
	}
	for name, looks := range map[string][]look{
		"silence":                    {{a: 5000, judged: 7}, {a: 5000, judged: 7}},
		"first look":                 {{a: 5000}},
		"noise":                      {{}, {a: 50, b: 49}},
		"pods talk past the hook":    {{a: 10, judged: 7}, {a: 60, b: 50, judged: 7, found: true}},
		"the hook sees them":         {{judged: 7}, {a: 900, judged: 8}},
		"other interfaces":           {{}, {other: 9000}},
		"it stays while they pause":  {{}, {a: 200, found: true}, {a: 200, found: true}},
		"mended":                     {{}, {a: 200, found: true}, {a: 300, judged: 1}},
		"an interface is another's":  {{a: 1000}, {a: 10}},
		"interfaces cannot be read":  {{}, {err: errors.New("ENOBUFS")}, {a: 900}, {a: 1900, found: true}},
		"a rule takes its count off": {{judged: 50}, {a: 900, judged: 20}, {a: 1800, judged: 20, found: true}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustApply(t, full(1, set(node, "a", "b")))
			bindTo(t, b, "a", 1, facts.Interface{Name: "veth-a", Index: 3})
			bindTo(t, b, "b", 2, facts.Interface{Name: "veth-b", Index: 4})
			var now look
			around := &bypass{cameIn: nothing, carried: func() (map[uint32]facts.Carried, error) {
				return map[uint32]facts.Carried{3: {Sent: now.a}, 4: {Sent: now.b}, 5: {Sent: now.other}}, now.err
			}}
			for i, l := range looks {
				now = l
				around.read(b.Agent)
				b.found(fromCounters, around.look(l.judged))
				c := enforcing(t, b)
				if c.GetHolds() == l.found {
					t.Fatalf("look %d: condition %v, want a finding: %t", i, c, l.found)
				}
				if l.found && (c.GetReason() != string(host.ReasonBypassed) || !strings.Contains(c.GetMessage(), "interface veth-a of pod shop/a")) {
					t.Errorf("look %d: condition %v", i, c)
				}
			}
		})
	}
}

func TestBypassWaitsForASnapshot(t *testing.T) {
	b := newBench(t)
	bindTo(t, b, "a", 1, facts.Interface{Name: "veth-a", Index: 3})
	n := uint64(0)
	around := &bypass{cameIn: nothing, carried: func() (map[uint32]facts.Carried, error) {
		n += 1000
		return map[uint32]facts.Carried{3: {Received: n, Sent: n, ReceivedBytes: 100 * n}}, nil
	}}
	for range 3 {
		around.read(b.Agent)
		if fs := around.look(0); len(fs) > 0 {
			t.Errorf("found %v though nothing is to be judged yet", fs)
		}
	}
}

// What passes the hook without any pod says nothing about pods.
func TestJudgedLeavesOutOthers(t *testing.T) {
	of := func(s bpf.RuleSlot, n uint64) datapath.Counter {
		return datapath.Counter{Attribution: datapath.Attribution{Decision: datapath.Decision{Builtin: s.Builtin()}}, Packets: n}
	}
	if n := packetsOfPods([]datapath.Counter{of(bpf.RuleNobody, 1), of(bpf.RuleDiscovery, 2), of(bpf.RuleOwnNode, 4), of(bpf.RuleFirst, 8)}); n != 12 {
		t.Errorf("judged %d packets, want 12", n)
	}
}

// TestBypassOfOnePod: what one pod sends past the hook is found beside what others, or
// the pod itself, send through it; what looks alike on a sound node is not.
func TestBypassOfOnePod(t *testing.T) {
	type traffic = datapath.Traffic
	frames := func(n, size uint64) traffic { return traffic{Packets: n, Bytes: n * (size + frameHeader)} }
	seen := func(n, size uint64) traffic { return traffic{Packets: n, Bytes: n * size} }
	// What is added before a look: in by what the interface counts, seen by the hook.
	type look struct {
		in, seen traffic
		other    traffic // of the other pod, which the hook sees
		found    bool
	}
	rest := look{}
	for name, looks := range map[string][]look{
		"around it":                {rest, {in: frames(50, 84)}, {in: frames(50, 84), found: true}},
		"beside another pod":       {rest, {in: frames(50, 84), other: seen(9000, 1500)}, {in: frames(50, 84), other: seen(9000, 1500), found: true}},
		"beside its own":           {rest, {in: frames(300, 1000), seen: seen(140, 1000)}, {in: frames(300, 1000), seen: seen(140, 1000), found: true}},
		"acknowledgements":         {rest, {in: frames(500, 40)}, {in: frames(500, 40), found: true}},
		"slowly":                   {rest, {in: frames(20, 84)}, {in: frames(20, 84)}, {in: frames(20, 84)}, {in: frames(20, 84)}, {in: frames(20, 84)}, {in: frames(20, 84), found: true}},
		"until it is mended":       {rest, {in: frames(60, 84)}, {in: frames(60, 84), found: true}, {found: true}, {in: frames(60, 84), seen: seen(60, 84)}},
		"through it":               {rest, {in: frames(5000, 84), seen: seen(5000, 84)}, {in: frames(5000, 84), seen: seen(5000, 84)}},
		"once":                     {rest, {in: frames(900, 84)}, rest, {in: frames(900, 84), seen: seen(900, 84)}, {in: frames(900, 84)}},
		"fragments":                {rest, {in: frames(45*60, 1480), seen: seen(60, 65536)}, {in: frames(45*60, 1480), seen: seen(60, 65536)}},
		"merged segments":          {rest, {in: frames(4400, 1500), seen: seen(100, 1448*44+52)}, {in: frames(4400, 1500), seen: seen(100, 1448*44+52)}},
		"ARP":                      {rest, {in: frames(4000, 28)}, {in: frames(4000, 28)}},
		"a trickle of others":      {rest, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}, {in: frames(8, 300)}},
		"with ARP beside":          {rest, {in: add(frames(4000, 28), frames(100, 84)), seen: seen(100, 84)}, {in: add(frames(4000, 28), frames(100, 84)), seen: seen(100, 84)}},
		"more than came by itself": {rest, {in: frames(60, 84), seen: seen(90, 84)}, {in: frames(60, 84), seen: seen(90, 84)}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.mustApply(t, full(1, set(node, "a", "b")))
			bindTo(t, b, "a", 1, facts.Interface{Name: "veth-a", Index: 3})
			bindTo(t, b, "b", 2, facts.Interface{Name: "veth-b", Index: 4})
			carried, came := map[uint32]facts.Carried{}, map[datapath.Cell]traffic{3: {}, 4: {}}
			around := &bypass{
				carried: func() (map[uint32]facts.Carried, error) { return maps.Clone(carried), nil },
				cameIn:  func([]datapath.Cell) (map[datapath.Cell]traffic, error) { return maps.Clone(came), nil },
			}
			var judged uint64
			for i, l := range looks {
				carried[3] = facts.Carried{Received: carried[3].Received + l.in.Packets, ReceivedBytes: carried[3].ReceivedBytes + l.in.Bytes}
				carried[4] = facts.Carried{Received: carried[4].Received + l.other.Packets, ReceivedBytes: carried[4].ReceivedBytes + l.other.Bytes + l.other.Packets*frameHeader}
				came[3], came[4] = add(came[3], l.seen), add(came[4], l.other)
				judged++
				around.read(b.Agent)
				b.found(fromCounters, around.look(judged))
				c := enforcing(t, b)
				if c.GetHolds() == l.found {
					t.Fatalf("look %d: condition %v, want a finding: %t", i, c, l.found)
				}
				if l.found && (c.GetReason() != string(host.ReasonBypassed) || !strings.Contains(c.GetMessage(), "interface veth-a of pod shop/a") || strings.Contains(c.GetMessage(), "veth-b")) {
					t.Errorf("look %d: condition %v", i, c)
				}
			}
		})
	}
}

func add(a, b datapath.Traffic) datapath.Traffic {
	return datapath.Traffic{Packets: a.Packets + b.Packets, Bytes: a.Bytes + b.Bytes}
}

// A counter that begins anew, or an interface whose number another one has now, says
// nothing; nor does what the hook counts after it was read first.
func TestBypassWindowBeginsAnew(t *testing.T) {
	of := func(n uint64) datapath.Traffic { return datapath.Traffic{Packets: n, Bytes: 100 * n} }
	for name, looks := range map[string][][3]uint64{ // carried, before, after
		"the interface's":  {{900, 0, 0}, {10, 0, 0}, {500, 490, 490}, {900, 890, 890}},
		"the map's":        {{900, 900, 900}, {1000, 0, 0}, {1100, 100, 100}, {1200, 200, 200}},
		"between readings": {{100, 40, 100}, {200, 140, 200}, {200, 200, 200}, {300, 240, 300}},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWindow(nil)
			for i, l := range looks {
				carried := datapath.Traffic{Packets: l[0], Bytes: l[0] * (100 + frameHeader)}
				w.look(carried, of(l[1]), of(l[2]))
				if w.strikes > 0 {
					t.Errorf("look %d: %d strikes", i, w.strikes)
				}
			}
		})
	}
}

// Two bridges of which one hides its traffic from netfilter, and two pods on each: the
// pods on that one are named, whatever the others send; those on the other are not.
func TestBypassOverABridge(t *testing.T) {
	if _, err := exec.LookPath("ping"); err != nil {
		t.Skip("needs ping: real packets between two namespaces")
	}
	if !isolated(t) {
		return
	}
	sh(t, `mount -t tmpfs tmpfs /run; mount -t bpf bpf `+pinMount+`; mkdir -p /run/netns
echo 0 >/proc/sys/net/bridge/bridge-nf-call-iptables
ip link add shown type bridge nf_call_iptables 1; ip link set shown up
ip link add hidden type bridge nf_call_iptables 0; ip link set hidden up
for p in a:shown:10.0.0.1 b:shown:10.0.0.2 c:hidden:10.0.0.3 d:hidden:10.0.0.4; do
  IFS=: read -r n bridge addr <<-E
	$p
	E
  ip netns add $n
  ip link add v-$n type veth peer name eth0 netns $n
  ip link set v-$n master $bridge up
  ip -n $n addr add $addr/24 dev eth0; ip -n $n link set eth0 up
done`)
	rows := rowtest.New(node, "10.0.0.0/24")
	open := func(func(string) bool) snapshot.ProgramID { return rows.Program(rows.Allow("open")) }
	rows.Subject("pod", rows.Ruleset("in", false, nil, open), rows.Ruleset("out", true, nil, open))
	for i, name := range []string{"a", "b", "c", "d"} {
		rows.Local(name, "pod")
		rows.Address(fmt.Sprintf("10.0.0.%d", i+1), "pod", name)
	}
	dp, err := OpenDatapath(datapath.Config{PinDir: pinMount + "/palisade"}, logr.Discard())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := dp.Uninstall(); err != nil {
			t.Error(err)
		}
	}()
	b := newBench(t)
	b.o.Kernel = dp
	for i, name := range []string{"a", "b", "c", "d"} {
		link, err := facts.LinkIndex("v-" + name)
		if err != nil {
			t.Fatal(err)
		}
		bindTo(t, b, name, byte(i+1), link)
	}
	b.mustApply(t, full(1, rows.Set()))

	around := &bypass{carried: facts.Interfaces, cameIn: dp.CameIn}
	look := func() []host.Finding {
		t.Helper()
		around.read(b.Agent)
		_, totals, err := dp.Count()
		if err != nil {
			t.Fatal(err)
		}
		return around.look(packetsOfPods(totals))
	}
	// Small packets, and ones that come in fragments.
	const shown = "ip netns exec a ping -q -c 60 -i 0.002 -w 10 10.0.0.2; ip netns exec a ping -q -c 60 -i 0.002 -s 9000 -w 10 10.0.0.2"
	look()
	for range 2 * windowStrikes {
		sh(t, shown)
		if fs := look(); len(fs) != 0 {
			t.Fatalf("everything passes the hook, yet: %s", host.Join(fs))
		}
	}
	var fs []host.Finding
	for range windowStrikes {
		sh(t, shown+"; ip netns exec c ping -q -c 60 -i 0.002 -w 10 10.0.0.4")
		fs = look()
	}
	if len(fs) != 2 || fs[0].Reason != host.ReasonBypassed || fs[0].Where != "interface v-c of pod shop/c" || fs[1].Where != "interface v-d of pod shop/d" {
		t.Errorf("found %s", host.Join(fs))
	}
}
