package nodeagent

import (
	"fmt"
	"slices"
	"strings"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
)

// What has to be amiss before an interface is reported. Frames are counted by the
// interface as they come, and by the hook after reassembly of fragments, in the
// segments that the sender or the driver left whole: numbers of packets differ by
// much on a sound node, bytes of the network layer by almost nothing. What only the
// interface counts there is no IP at all, and little: ARP is 28 bytes a frame, the
// smallest TCP packet 40.
const (
	// windowLeast is how many frames make a window worth a comparison.
	windowLeast = 50
	// windowLooks is after how many looks a window that did not get that far is opened
	// anew: a trickle of such frames must not add up over hours.
	windowLooks = 6
	// windowStrikes is in how many windows in a row the hook must have missed the
	// traffic. One may hold what is on its way between the two counters, or what was
	// dropped while a port of a bridge came up.
	windowStrikes = 2
	// frameHeader is what a frame has before the network layer.
	frameHeader = 14
	// noIP is above the size of a frame that is none of IP's.
	noIP = 36
)

// window holds what pods sent, by the count of their interfaces, against what the
// hook saw come in by them, until enough passed to compare.
type window struct {
	pods    []facts.Attachment // those that share the hook's counter; almost always one
	open    bool
	carried datapath.Traffic // at its opening
	seen    datapath.Traffic // before that
	looks   int
	strikes int
	finding *host.Finding // nil: nothing is amiss
}

func newWindow(pods []facts.Attachment) *window { return &window{pods: pods} }

// of reports whether the window is about these interfaces.
func (w *window) of(pods []facts.Attachment) bool {
	return slices.EqualFunc(w.pods, pods, func(a, b facts.Attachment) bool {
		return a.Host.Index == b.Host.Index && a.AttachmentID == b.AttachmentID
	})
}

// look compares once enough came in. before was read before carried, after after it.
func (w *window) look(carried, before, after datapath.Traffic) {
	w.looks++
	in, ok := since(carried, w.carried)
	seen, sane := since(after, w.seen)
	switch {
	case !w.open || !ok || !sane: // the first, or the interface or the map is another
	case in.Packets >= windowLeast:
		w.judge(in, seen)
	case w.looks < windowLooks:
		return
	}
	w.open, w.carried, w.seen, w.looks = true, carried, before, 0
}

// since is what was added; not ok where a counter began anew.
func since(now, was datapath.Traffic) (d datapath.Traffic, ok bool) {
	return datapath.Traffic{Packets: now.Packets - was.Packets, Bytes: now.Bytes - was.Bytes}, now.Packets >= was.Packets && now.Bytes >= was.Bytes
}

func (w *window) judge(in, seen datapath.Traffic) {
	if !missed(in, seen) {
		w.strikes, w.finding = 0, nil
		return
	}
	if w.strikes++; w.strikes < windowStrikes || w.finding != nil {
		return
	}
	w.finding = &host.Finding{
		Reason: host.ReasonBypassed, Severity: host.Bypass,
		What:  fmt.Sprintf("a pod's packets go around the hook: of %d packets with %d bytes it saw %d with %d", in.Packets, in.Bytes, seen.Packets, seen.Bytes),
		Where: w.where(), Mend: mendBypass,
	}
}

// missed reports whether the hook saw less than half of the bytes, and what it did not
// see is more than frames that are not IP's.
func missed(in, seen datapath.Traffic) bool {
	bytes := in.Bytes - min(in.Bytes, frameHeader*in.Packets)
	unseen := bytes - min(bytes, seen.Bytes)
	frames := in.Packets - min(in.Packets, seen.Packets)
	return 2*unseen > bytes && unseen > noIP*frames
}

func (w *window) where() string {
	names := make([]string, len(w.pods))
	for i, at := range w.pods {
		names[i] = fmt.Sprintf("interface %s of pod %s", at.Host.Name, at.Pod)
	}
	return strings.Join(names, ", or ")
}
