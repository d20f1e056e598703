package nodeagent

import (
	"fmt"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
)

// bypassLeast is how many packets must pass by pods' interfaces between two looks
// for the hook's silence to mean something: ARP, neighbour discovery and frames of
// bridges come by there and have nothing to do with the hook.
const bypassLeast = 100

// bypass notices when pods talk and the hook sees none of it.
//
// The hook counts by rule and not by interface, so the sums are compared: the
// packets of all bound interfaces with those that any pod of this node had a part
// in. Traffic that goes around the hook stays unnoticed while other traffic of pods,
// be it the probes of kubelet, passes it.
type bypass struct {
	// packets counts what each interface of the host carried; see facts.Packets.
	packets func() (map[uint32]uint64, error)

	carried map[uint32]uint64 // at the last look; nil: there was none
	judged  uint64            // at the last look
	found   []host.Finding

	bound []facts.Attachment
	now   map[uint32]uint64 // read last; nil: nothing to compare
}

// read takes the interfaces' half of a look.
func (b *bypass) read(a *Agent) {
	b.now = nil
	if a.Ready() != nil {
		return // nothing is judged before the first snapshot
	}
	now, err := b.packets()
	if err != nil {
		a.o.Log.Error(err, "packets of pods' interfaces were not compared with those that were judged")
		return
	}
	b.now = now
	b.bound, _ = a.o.Facts.Attachments()
}

// look compares with the look before. A finding stays until the hook sees a packet.
func (b *bypass) look(judged uint64) []host.Finding {
	first, silent := b.carried == nil || b.now == nil, b.judged == judged
	most, sum := b.moved()
	b.carried, b.judged = b.now, judged
	switch {
	case first || !silent:
		b.found = nil
	case sum >= bypassLeast && len(b.found) == 0:
		b.found = []host.Finding{{
			Reason: host.ReasonBypassed, Severity: host.Bypass,
			What:  "the interfaces of pods carry packets and the hook sees none of them",
			Where: fmt.Sprintf("interface %s of pod %s, among others", most.Host.Name, most.Pod),
			Mend:  "look for what takes packets past netfilter: a network plugin that redirects in eBPF, a bridge without br_netfilter, a flowtable; or an agent that is not in the host's network namespace",
		}}
	}
	return b.found
}

// moved sums the packets since the last look, and says who had the most of them.
func (b *bypass) moved() (most facts.Attachment, sum uint64) {
	seen := map[uint32]bool{}
	var top uint64
	for _, at := range b.bound {
		was, known := b.carried[at.Host.Index]
		now := b.now[at.Host.Index]
		if !known || now < was || seen[at.Host.Index] {
			continue // it is new, or its number is another's now
		}
		seen[at.Host.Index] = true
		if d := now - was; d > top {
			most, top = at, d
		}
		sum += now - was
	}
	return most, sum
}

// packetsOfPods sums the packets that a pod of this node had a part in. It also changes
// when rules go and take their counts along, which happens to no silent hook twice.
func packetsOfPods(totals []datapath.Counter) (sum uint64) {
	for _, t := range totals {
		switch t.Builtin {
		case bpf.RuleNobody.Builtin(), bpf.RuleDiscovery.Builtin():
		default:
			sum += t.Packets
		}
	}
	return sum
}
