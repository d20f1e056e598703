package facts

import (
	"fmt"

	"github.com/vishvananda/netlink"
)

// Carried is what an interface of the host says that it received and sent. What it
// received, the pod behind it has sent.
type Carried struct {
	Received, Sent uint64 // frames
	ReceivedBytes  uint64 // with the headers of the link layer
}

// Interfaces counts what each interface of this network namespace carried, by its
// number.
func Interfaces() (map[uint32]Carried, error) {
	links, err := netlink.LinkList()
	if err != nil {
		return nil, fmt.Errorf("interfaces: %w", err)
	}
	out := make(map[uint32]Carried, len(links))
	for _, l := range links {
		a := l.Attrs()
		if s := a.Statistics; s != nil {
			out[uint32(a.Index)] = Carried{Received: s.RxPackets, Sent: s.TxPackets, ReceivedBytes: s.RxBytes}
		}
	}
	return out, nil
}
