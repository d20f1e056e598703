package layout

import (
	"net/netip"

	"palisade.dev/palisade/snapshot"
)

// Binding is a fact: which pod has an address, and behind which interface of the
// host. It goes before what the snapshot says about the address.
type Binding struct {
	Addr    netip.Addr
	UID     string // the pod's metadata.uid
	Ifindex uint32 // the host's end; 0 where it is not known: senders are not checked then
}

// Update is one step: a change of the snapshot, of the facts, or of both.
type Update struct {
	// Generation and Digest name the snapshot that the delta leads to. An
	// update of facts alone repeats the ones in force.
	Generation snapshot.Generation
	Digest     snapshot.Digest
	// Full says that Delta holds a whole snapshot that replaces all rows.
	Full  bool
	Delta snapshot.Delta
	// Facts are all bindings of the node, in any order. nil leaves the facts as
	// they are; an empty list removes them.
	Facts []Binding
}

// Unbound says what happens to the addresses of the node's pod ranges that
// nobody is known to have.
type Unbound uint8

// The settings for unbound addresses.
const (
	// UnboundAuto denies while a pod that is placed here has no address yet and
	// would be isolated in that direction, denies ingress while a pod is here that
	// the snapshot does not know, and allows otherwise.
	UnboundAuto Unbound = iota
	UnboundDeny
	UnboundAllow
)

func (u Unbound) String() string { return [...]string{"auto", "deny", "allow"}[u] }

// UnmarshalText reads what String prints.
func (u *Unbound) UnmarshalText(text []byte) error {
	for v := UnboundAuto; v <= UnboundAllow; v++ {
		if v.String() == string(text) {
			*u = v
			return nil
		}
	}
	return errUnbound
}
