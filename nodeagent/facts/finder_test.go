package facts

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
)

// podSpace makes a network namespace with a veth end on the host.
func podSpace(t *testing.T, addrs ...string) (name string, host Interface) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	name = fmt.Sprintf("pal-%08x", time.Now().UnixNano()&0xffffffff)
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	home, err := netns.Get()
	if err != nil {
		t.Fatal(err)
	}
	defer home.Close()
	ns, err := netns.NewNamed(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netns.DeleteNamed(name) })
	defer ns.Close()
	if err := netns.Set(home); err != nil {
		t.Fatal(err)
	}
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name + "h"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(veth) })
	addAddrs(t, ns, "eth0", addrs...)
	l, err := netlink.LinkByName(veth.Name)
	if err != nil {
		t.Fatal(err)
	}
	return name, Interface{veth.Name, uint32(l.Attrs().Index)}
}

func addAddrs(t *testing.T, ns netns.NsHandle, link string, addrs ...string) {
	t.Helper()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	l, err := h.LinkByName(link)
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.AddrAdd(l, addr); err != nil {
			t.Fatal(err)
		}
	}
}

func finderFor(t *testing.T, names ...string) Finder {
	t.Helper()
	dir := t.TempDir()
	for _, n := range names {
		if err := os.Symlink("/run/netns/"+n, filepath.Join(dir, n)); err != nil {
			t.Fatal(err)
		}
	}
	return Finder{Proc: t.TempDir(), Named: []string{dir}, ByAddress: true}
}

// process fakes a /proc entry of a process of a pod inside of a namespace.
func (f Finder) process(t *testing.T, pid, uid, space string) {
	t.Helper()
	dir := filepath.Join(f.Proc, pid, "ns")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/run/netns/"+space, filepath.Join(dir, "net")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(f.Proc, pid, "cgroup"), []byte("0::/kubepods/pod"+uid+"/c\n"), 0o644); err != nil {
		t.Fatal(err)
	}
}

func wanted(uid string, addrs ...string) Wanted {
	w := Wanted{Pod: Pod{UID: PodUID(uid), Namespace: "n", Name: uid}}
	for _, a := range addrs {
		w.Addrs = append(w.Addrs, netip.MustParseAddr(a))
	}
	return w
}

func TestFindByAddress(t *testing.T) {
	a, ha := podSpace(t, "10.1.0.1/24", "fd00::1/64")
	b, _ := podSpace(t, "10.1.0.2/24")
	f := finderFor(t, a, b)

	found, missing, err := f.Find([]Wanted{wanted("a", "10.1.0.1", "fd00::1"), wanted("c", "10.1.0.3"), wanted("d")})
	if err != nil {
		t.Fatal(err)
	}
	if len(found) != 1 || found[0].Host != ha || found[0].Pod.UID != "a" || len(found[0].Addrs) != 2 {
		t.Errorf("found = %+v, want a behind %v", found, ha)
	}
	if len(missing) != 2 || !strings.Contains(missing[0].Reason, "10.1.0.3") || !strings.Contains(missing[1].Reason, "does not know an address") {
		t.Errorf("missing = %+v", missing)
	}
}

// Two namespaces with one address: by the address alone nobody can say whose it
// is; the pod's own process can.
func TestFindClaimedAddress(t *testing.T) {
	const uid = "6f1c2f2e-8f0a-4f53-9a4f-0123456789ab"
	a, ha := podSpace(t, "10.1.0.1/24")
	thief, _ := podSpace(t, "10.1.0.1/24")
	f := finderFor(t, a, thief)
	found, missing, err := f.Find([]Wanted{wanted(uid, "10.1.0.1")})
	if err != nil || len(found) != 0 || len(missing) != 1 || !strings.Contains(missing[0].Reason, "2 network namespaces") {
		t.Errorf("found %+v, missing %+v, err %v", found, missing, err)
	}
	f.process(t, "7", uid, a)
	found, missing, err = f.Find([]Wanted{wanted(uid, "10.1.0.1")})
	if err != nil || len(found) != 1 || found[0].Host != ha || len(missing) != 0 {
		t.Errorf("with its process: found %+v, missing %+v, err %v", found, missing, err)
	}
}

// A pod that gives itself an address that the cluster does not know to be its
// own does not get it bound.
func TestFindBindsOnlyKnownAddresses(t *testing.T) {
	const uid = "6f1c2f2e-8f0a-4f53-9a4f-0123456789ab"
	a, _ := podSpace(t, "10.1.0.1/24", "10.1.0.99/24")
	f := finderFor(t)
	f.process(t, "7", uid, a)
	found, _, err := f.Find([]Wanted{wanted(uid, "10.1.0.1")})
	if err != nil || len(found) != 1 || fmt.Sprint(found[0].Addrs) != "[10.1.0.1]" {
		t.Errorf("found %+v, err %v", found, err)
	}
}

func TestFindWithoutHostEnd(t *testing.T) {
	name, _ := podSpace(t)
	ns, err := netns.GetFromName(name)
	if err != nil {
		t.Fatal(err)
	}
	defer ns.Close()
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.LinkAdd(&netlink.Bridge{LinkAttrs: netlink.LinkAttrs{Name: "net1"}}); err != nil {
		t.Fatal(err)
	}
	addAddrs(t, ns, "net1", "10.1.0.5/24")
	_, missing, err := finderFor(t, name).Find([]Wanted{wanted("a", "10.1.0.5")})
	if err != nil || len(missing) != 1 || !strings.Contains(missing[0].Reason, "net1 is bridge") {
		t.Errorf("missing = %+v, err %v", missing, err)
	}
}

func TestLive(t *testing.T) {
	_, host := podSpace(t)
	if !Live(Attachment{Host: host}) {
		t.Errorf("%v is there", host)
	}
	if Live(Attachment{Host: Interface{"other", host.Index}}) || Live(Attachment{Host: Interface{host.Name, 1 << 30}}) {
		t.Error("an interface with another name or number passes as live")
	}
}
