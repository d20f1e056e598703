// Package facts keeps what only the node knows and no generation holds: which
// pod got which address behind which interface of the host.
//
// The CNI plugin reports pods as they start; Finder finds those that were there
// before. A fact never waits for a compile: it is applied on its own.
package facts

import (
	"cmp"
	"net/netip"
	"slices"
)

// PodUID is a pod's metadata.uid as kubelet and the container runtime know it.
type PodUID string

// Pod names a pod.
type Pod struct {
	UID       PodUID `json:"uid"`
	Namespace string `json:"namespace"`
	Name      string `json:"name"`
}

// String is NAMESPACE/NAME.
func (p Pod) String() string { return p.Namespace + "/" + p.Name }

// Source says how an attachment was learned.
type Source string

// The sources. What CNI reports replaces what was found otherwise.
const (
	FromCNI        Source = "cni"        // reported by palisade-cni when the pod started
	FromDiscovery  Source = "discovery"  // found in the pod's network namespace
	FromAnnotation Source = "annotation" // stated by a manifest
)

// Interface is a network interface of the host.
type Interface struct {
	Name  string `json:"name"`
	Index uint32 `json:"index"`
}

// AttachmentID names an attachment: CNI's key for it.
type AttachmentID struct {
	Container string `json:"container"` // the sandbox's id
	IfName    string `json:"ifname"`    // the interface's name inside of the pod
}

func compareIDs(a, b AttachmentID) int {
	return cmp.Or(cmp.Compare(a.Container, b.Container), cmp.Compare(a.IfName, b.IfName))
}

// Attachment is one interface of one pod with its addresses.
type Attachment struct {
	AttachmentID
	Pod    Pod          `json:"pod"`
	Addrs  []netip.Addr `json:"addrs"`
	Host   Interface    `json:"host"` // the host's end
	Source Source       `json:"source"`
}

func (a Attachment) equal(b Attachment) bool {
	return a.AttachmentID == b.AttachmentID && a.Pod == b.Pod && a.Host == b.Host &&
		a.Source == b.Source && slices.Equal(a.Addrs, b.Addrs)
}

// Binding is who has one address, as the datapath needs it.
type Binding struct {
	Addr    netip.Addr
	Pod     Pod
	Ifindex uint32
}
