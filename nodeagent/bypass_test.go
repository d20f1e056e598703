package nodeagent

import (
	"errors"
	"net/netip"
	"os/exec"
	"strings"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
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
			around := &bypass{packets: func() (map[uint32]uint64, error) {
				return map[uint32]uint64{3: now.a, 4: now.b, 5: now.other}, now.err
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
	around := &bypass{packets: func() (map[uint32]uint64, error) { n += 1000; return map[uint32]uint64{3: n}, nil }}
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

// A bridge that hides its traffic from netfilter, and two pods that talk over it.
func TestBypassOverABridge(t *testing.T) {
	if _, err := exec.LookPath("ping"); err != nil {
		t.Skip("needs ping: real packets between two namespaces")
	}
	if !isolated(t) {
		return
	}
	sh(t, `mount -t tmpfs tmpfs /run; mkdir -p /run/netns
ip link add br0 type bridge nf_call_iptables 0; ip link set br0 up
for p in a:10.5.0.11 b:10.5.0.12; do
  n=${p%:*}; ip netns add $n
  ip link add v-$n type veth peer name eth0 netns $n
  ip link set v-$n master br0 up
  ip -n $n addr add ${p#*:}/24 dev eth0; ip -n $n link set eth0 up
done`)
	b := newBench(t)
	b.mustApply(t, full(1, set(node, "a", "b")))
	for i, name := range []string{"a", "b"} {
		link, err := facts.LinkIndex("v-" + name)
		if err != nil {
			t.Fatal(err)
		}
		bindTo(t, b, name, byte(i), link)
	}
	around := &bypass{packets: facts.Packets}
	around.read(b.Agent)
	around.look(0)
	sh(t, "ip netns exec a ping -q -c 60 -i 0.005 -w 10 10.5.0.12")
	around.read(b.Agent)
	if fs := around.look(0); len(fs) != 1 || fs[0].Reason != host.ReasonBypassed {
		t.Errorf("found %v", fs)
	}
}
