package facts

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// Wanted is a pod of this node with the addresses that the cluster says it has.
type Wanted struct {
	Pod   Pod
	Addrs []netip.Addr
}

// Missing is a wanted pod that could not be bound, and why.
type Missing struct {
	Pod    Pod
	Reason string
	// Bypass: its packets do not come by an interface of the host, so that the
	// hooks may not see them.
	Bypass bool
}

// Finder looks for the interfaces of pods that nobody reported.
//
// A pod is known by the cgroup of its processes: the path holds its UID. Where
// no process of a wanted pod is to be seen (standalone: pods that are only
// network namespaces), the namespace that holds the pod's address is taken, if it
// is the only one; whoever runs in another namespace can give itself any address.
type Finder struct {
	Proc  string   // "/proc" with the host's pids
	Named []string // folders of named network namespaces: "/run/netns"
	// ByAddress allows the second way.
	ByAddress bool
}

// space is one network namespace other than the host's.
type space struct {
	path string // a file that refers to it
	uid  PodUID // the pod whose processes are in it, if any
}

// Find looks for all wanted pods. It changes nothing.
func (f Finder) Find(wanted []Wanted) (found []Attachment, missing []Missing, err error) {
	spaces, err := f.spaces()
	if err != nil {
		return nil, nil, err
	}
	ends := map[uint64][]end{}
	look := func(ino uint64) []end {
		if es, ok := ends[ino]; ok {
			return es
		}
		es, err := lookInto(spaces[ino].path)
		if err != nil {
			es = nil // the namespace is on its way out; its pod stays missing until the next look
		}
		ends[ino] = es
		return es
	}
	for _, w := range wanted {
		if len(w.Addrs) == 0 {
			missing = append(missing, Missing{Pod: w.Pod, Reason: "the cluster does not know an address of it yet"})
			continue
		}
		as, reason, bypass := f.findOne(w, spaces, look)
		found = append(found, as...)
		if reason != "" {
			missing = append(missing, Missing{w.Pod, reason, bypass})
		}
	}
	return found, missing, nil
}

func (f Finder) findOne(w Wanted, spaces map[uint64]space, look func(uint64) []end) (as []Attachment, reason string, bypass bool) {
	var own []uint64
	for ino, sp := range spaces {
		if sp.uid == w.Pod.UID && w.Pod.UID != "" {
			own = append(own, ino)
		}
	}
	if len(own) == 0 {
		if !f.ByAddress {
			return nil, "no process of it was found (is the agent in the host's pid namespace?)", false
		}
		for ino, sp := range spaces {
			if sp.uid == "" && holdsAny(look(ino), w.Addrs) {
				own = append(own, ino)
			}
		}
		if len(own) == 0 {
			return nil, fmt.Sprintf("no network namespace on this host has its address %s", w.Addrs[0]), false
		}
	}
	if len(own) > 1 {
		// A pod may make namespaces inside of itself; they have no end on the host.
		own = slices.DeleteFunc(own, func(ino uint64) bool { return !holdsAny(onHost(look(ino)), w.Addrs) })
	}
	slices.Sort(own)
	if len(own) != 1 {
		return nil, fmt.Sprintf("%d network namespaces claim to be it", len(own)), false
	}
	return attach(w, own[0], look(own[0]))
}

func onHost(es []end) []end {
	return slices.DeleteFunc(slices.Clone(es), func(e end) bool { return e.host.Index == 0 })
}

func holdsAny(es []end, addrs []netip.Addr) bool {
	return slices.ContainsFunc(es, func(e end) bool {
		return slices.ContainsFunc(addrs, func(a netip.Addr) bool { return slices.Contains(e.addrs, a) })
	})
}

// attach makes attachments of the ends that hold the pod's addresses. Addresses
// that the cluster does not know to be the pod's are left alone: a pod may give
// itself any.
func attach(w Wanted, ino uint64, es []end) (as []Attachment, reason string, bypass bool) {
	var left []string
	taken := map[netip.Addr]bool{}
	for _, e := range es {
		a := Attachment{
			AttachmentID: AttachmentID{Container: fmt.Sprintf("netns:%d", ino), IfName: e.name},
			Pod:          w.Pod, Host: e.host, Source: FromDiscovery,
		}
		for _, addr := range w.Addrs {
			if slices.Contains(e.addrs, addr) && !taken[addr] {
				if e.host.Index == 0 {
					return nil, fmt.Sprintf("its interface %s is %s: the hook does not see it by a host interface", e.name, e.kind), true
				}
				taken[addr] = true
				a.Addrs = append(a.Addrs, addr)
			}
		}
		if len(a.Addrs) > 0 {
			as = append(as, a)
		}
	}
	for _, addr := range w.Addrs {
		if !taken[addr] {
			left = append(left, addr.String())
		}
	}
	if len(left) > 0 {
		reason = "its network namespace does not have " + strings.Join(left, ", ")
	}
	return as, reason, false
}

// podInCgroup finds the UID in a cgroup path: cgroupfs writes pod<uid>, systemd
// writes it with underscores. A static pod's is a hash without dashes.
var podInCgroup = regexp.MustCompile(`pod([0-9a-f]{8}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{4}[-_][0-9a-f]{12}|[0-9a-f]{32})(?:\.slice)?(?:/|$)`)

// uidOf returns the pod of a /proc/PID/cgroup file. The outermost match counts:
// a pod can name the cgroups inside of its own as it likes.
func uidOf(cgroup string) PodUID {
	for line := range strings.Lines(cgroup) {
		if m := podInCgroup.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
			return PodUID(strings.ReplaceAll(m[1], "_", "-"))
		}
	}
	return ""
}

func (f Finder) spaces() (map[uint64]space, error) {
	host, err := netnsInode("/proc/thread-self/ns/net")
	if err != nil {
		return nil, err
	}
	spaces := map[uint64]space{}
	procs, err := filepath.Glob(filepath.Join(f.Proc, "[0-9]*"))
	if err != nil {
		return nil, fmt.Errorf("processes in %s: %w", f.Proc, err)
	}
	for _, p := range procs {
		path := filepath.Join(p, "ns/net")
		ino, err := netnsInode(path)
		if err != nil || ino == host {
			continue // the process ended, is a kernel thread, or uses the host's network
		}
		cg, err := os.ReadFile(filepath.Join(p, "cgroup"))
		if err != nil {
			continue
		}
		if uid := uidOf(string(cg)); uid != "" || spaces[ino].path == "" {
			spaces[ino] = space{path, uid}
		}
	}
	for _, dir := range f.Named {
		names, err := filepath.Glob(filepath.Join(dir, "*"))
		if err != nil {
			return nil, fmt.Errorf("network namespaces in %s: %w", dir, err)
		}
		for _, n := range names {
			if ino, err := netnsInode(n); err == nil && ino != host && spaces[ino].path == "" {
				spaces[ino] = space{path: n}
			}
		}
	}
	return spaces, nil
}

// end is an interface inside of a network namespace, with the host's end of it.
type end struct {
	name  string
	kind  string
	addrs []netip.Addr
	host  Interface // zero: not a veth, or its other end is not in the host's namespace
}

func lookInto(path string) ([]end, error) {
	ns, err := netns.GetFromPath(path)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		return nil, fmt.Errorf("network namespace %s: %w", path, err)
	}
	defer h.Close()
	links, err := h.LinkList()
	if err != nil {
		return nil, fmt.Errorf("links of %s: %w", path, err)
	}
	var es []end
	for _, l := range links {
		if l.Attrs().Flags&net.FlagLoopback != 0 {
			continue
		}
		e := end{name: l.Attrs().Name, kind: l.Type()}
		addrs, err := h.AddrList(l, netlink.FAMILY_ALL)
		if err != nil {
			return nil, fmt.Errorf("addresses of %s: %w", path, err)
		}
		for _, a := range addrs {
			if ip, ok := netip.AddrFromSlice(a.IP); ok {
				e.addrs = append(e.addrs, ip.Unmap())
			}
		}
		if l.Type() == "veth" {
			e.host = hostEnd(ns, l)
		}
		es = append(es, e)
	}
	return es, nil
}

// hostEnd returns the other end of a pod's veth, zero if it is not in the host's
// namespace. Equal numbers are not enough: every namespace counts its interfaces
// from one, so the host's end must also say that its peer is in this namespace.
func hostEnd(ns netns.NsHandle, l netlink.Link) Interface {
	peer, err := netlink.LinkByIndex(l.Attrs().ParentIndex)
	if err != nil || peer.Type() != "veth" || peer.Attrs().ParentIndex != l.Attrs().Index {
		return Interface{}
	}
	id, err := netlink.GetNetNsIdByFd(int(ns))
	if err != nil || id != peer.Attrs().NetNsID {
		return Interface{}
	}
	return Interface{Name: peer.Attrs().Name, Index: uint32(peer.Attrs().Index)}
}

// ErrNoHostEnd says that a pod's interface has no end on the host.
var ErrNoHostEnd = errors.New("no veth end on the host: its packets may go around the host's netfilter hooks")

// InPod returns the host's end of an interface inside of the network namespace
// at path, as the CNI plugin asks for it.
func InPod(path, ifname string) (Interface, error) {
	es, err := lookInto(path)
	if err != nil {
		return Interface{}, err
	}
	for _, e := range es {
		if e.name != ifname {
			continue
		}
		if e.host.Index == 0 {
			return Interface{}, fmt.Errorf("interface %s of %s is %s: %w", ifname, path, e.kind, ErrNoHostEnd)
		}
		return e.host, nil
	}
	return Interface{}, fmt.Errorf("network namespace %s has no interface %s", path, ifname)
}

// LinkIndex returns the number of the host's interface called name.
func LinkIndex(name string) (Interface, error) {
	l, err := netlink.LinkByName(name)
	if err != nil {
		return Interface{}, fmt.Errorf("interface %s: %w", name, err)
	}
	return Interface{Name: name, Index: uint32(l.Attrs().Index)}, nil
}

// Live reports whether an attachment's host interface is still there under the
// same name and number. What has none is live until CNI says otherwise.
func Live(a Attachment) bool {
	if a.Host.Index == 0 {
		return true
	}
	l, err := netlink.LinkByIndex(int(a.Host.Index))
	return err == nil && l.Attrs().Name == a.Host.Name
}
