package nodeagent

import (
	"fmt"
	"slices"
	"strings"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
)

// bypass notices when pods talk and the hook does not see it, in two ways.
//
// What a pod sends is held against what the hook saw come in by the pod's interface
// (see window): that finds one pod, and one direction of its traffic, beside any
// other traffic. What the pod receives cannot be: bridges flood, and the hook sees
// the destination's address, not the port by which a frame leaves. So the sums over
// both directions are compared too (see silence), which finds out when the hook sees
// nothing at all.
type bypass struct {
	// carried counts what each interface of the host carried; see facts.Interfaces.
	carried func() (map[uint32]facts.Carried, error)
	// cameIn counts what the hook saw come in; see datapath.CameIn.
	cameIn func([]datapath.Cell) (map[datapath.Cell]datapath.Traffic, error)

	silence silence
	windows map[datapath.Cell]*window

	now *reading // nil: nothing to compare
}

// reading is one look at both sides. The hook is read before and after the
// interfaces: between a reading's before and a later one's after lies all that the
// interfaces carried between the two.
type reading struct {
	bound         []facts.Attachment
	carried       map[uint32]facts.Carried
	before, after map[datapath.Cell]datapath.Traffic
}

// read looks at both sides.
func (b *bypass) read(a *Agent) {
	b.now = nil
	if a.Ready() != nil {
		return // nothing is judged before the first snapshot
	}
	r, err := b.reading(a)
	if err != nil {
		a.o.Log.Error(err, "packets of pods' interfaces were not compared with those that were judged")
		return
	}
	b.now = r
}

func (b *bypass) reading(a *Agent) (*reading, error) {
	r := &reading{}
	r.bound, _ = a.o.Facts.Attachments()
	var cells []datapath.Cell
	for cell := range byCell(r.bound) {
		cells = append(cells, cell)
	}
	var err error
	if r.before, err = b.cameIn(cells); err != nil {
		return nil, err
	}
	if r.carried, err = b.carried(); err != nil {
		return nil, err
	}
	r.after, err = b.cameIn(cells)
	return r, err
}

// byCell groups attachments whose interfaces are counted together, one for each
// interface.
func byCell(bound []facts.Attachment) map[datapath.Cell][]facts.Attachment {
	out := map[datapath.Cell][]facts.Attachment{}
	for _, at := range bound {
		cell := datapath.CellOf(at.Host.Index)
		if !slices.ContainsFunc(out[cell], func(o facts.Attachment) bool { return o.Host.Index == at.Host.Index }) {
			out[cell] = append(out[cell], at)
		}
	}
	return out
}

// look compares with the looks before. judged counts the packets of pods that the
// hook has ever judged.
func (b *bypass) look(judged uint64) []host.Finding {
	out := b.around()
	return append(out, b.silence.look(b.now, judged)...)
}

// around lists the interfaces whose pods send past the hook.
func (b *bypass) around() (out []host.Finding) {
	if b.now == nil {
		b.windows = nil
		return nil
	}
	was := b.windows
	b.windows = map[datapath.Cell]*window{}
	cells := byCell(b.now.bound)
	for cell, pods := range cells {
		w := was[cell]
		if w == nil || !w.of(pods) {
			w = newWindow(pods)
		}
		w.look(b.now.sum(pods), b.now.before[cell], b.now.after[cell])
		b.windows[cell] = w
		if w.finding != nil {
			out = append(out, *w.finding)
		}
	}
	slices.SortFunc(out, func(x, y host.Finding) int { return strings.Compare(x.Where, y.Where) })
	return out
}

// sum adds up what interfaces received.
func (r *reading) sum(pods []facts.Attachment) (t datapath.Traffic) {
	for _, at := range pods {
		c := r.carried[at.Host.Index]
		t.Packets += c.Received
		t.Bytes += c.ReceivedBytes
	}
	return t
}

// bypassLeast is how many packets must pass by pods' interfaces between two looks
// for the hook's silence to mean something: ARP, neighbour discovery and frames of
// bridges come by there and have nothing to do with the hook.
const bypassLeast = 100

// silence compares the packets of all bound interfaces with those that any pod of
// this node had a part in.
type silence struct {
	carried map[uint32]facts.Carried // at the last look; nil: there was none
	judged  uint64                   // at the last look
	found   []host.Finding
}

// look compares with the look before. A finding stays until the hook sees a packet.
func (s *silence) look(now *reading, judged uint64) []host.Finding {
	first, silent := s.carried == nil || now == nil, s.judged == judged
	most, sum := s.moved(now)
	s.carried, s.judged = nil, judged
	if now != nil {
		s.carried = now.carried
	}
	switch {
	case first || !silent:
		s.found = nil
	case sum >= bypassLeast && len(s.found) == 0:
		s.found = []host.Finding{{
			Reason: host.ReasonBypassed, Severity: host.Bypass,
			What:  "the interfaces of pods carry packets and the hook sees none of them",
			Where: fmt.Sprintf("interface %s of pod %s, among others", most.Host.Name, most.Pod),
			Mend:  mendBypass,
		}}
	}
	return s.found
}

const mendBypass = "look for what takes packets past netfilter: a network plugin that redirects in eBPF, a bridge without br_netfilter, a flowtable; or an agent that is not in the host's network namespace"

// moved sums the packets since the last look, and says who had the most of them.
func (s *silence) moved(now *reading) (most facts.Attachment, sum uint64) {
	if now == nil {
		return most, 0
	}
	var top uint64
	for _, pods := range byCell(now.bound) {
		for _, at := range pods {
			was, known := s.carried[at.Host.Index]
			is := now.carried[at.Host.Index]
			if !known || is.Received+is.Sent < was.Received+was.Sent {
				continue // it is new, or its number is another's now
			}
			d := is.Received + is.Sent - was.Received - was.Sent
			if d > top || d == top && most.Host.Name > at.Host.Name {
				most, top = at, d
			}
			sum += d
		}
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
