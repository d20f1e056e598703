package cni

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/containernetworking/cni/pkg/skel"
	"github.com/go-logr/logr"
	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"go.uber.org/goleak"

	"palisade.dev/palisade/nodeagent/facts"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// pod is a network namespace with a veth pair to the one of the test.
type pod struct {
	netns string
	host  facts.Interface
}

func newPod(t *testing.T, addrs ...string) pod {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root: makes network namespaces")
	}
	name := fmt.Sprintf("pal-%08x", time.Now().UnixNano()&0xffffffff)
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
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name[:12] + "h"}, PeerName: "eth0", PeerNamespace: netlink.NsFd(ns)}
	if err := netlink.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { netlink.LinkDel(veth) })
	h, err := netlink.NewHandleAt(ns)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	eth0, err := h.LinkByName("eth0")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		addr, err := netlink.ParseAddr(a)
		if err != nil {
			t.Fatal(err)
		}
		if err := h.AddrAdd(eth0, addr); err != nil {
			t.Fatal(err)
		}
	}
	l, err := netlink.LinkByName(veth.Name)
	if err != nil {
		t.Fatal(err)
	}
	return pod{"/run/netns/" + name, facts.Interface{Name: veth.Name, Index: uint32(l.Attrs().Index)}}
}

// agent serves the socket and realises facts as they come, unless stuck.
func agent(t *testing.T, stuck bool) (string, *facts.Store) {
	t.Helper()
	dir := t.TempDir()
	st, err := facts.Open(filepath.Join(dir, "facts.json"), facts.Epoch{Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	socket := filepath.Join(dir, "cni.sock")
	l, err := Listen(socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	s := &Server{Facts: st, Log: logr.Discard(), Ready: func() error { return nil }, Known: func(context.Context, facts.Pod) {}}
	go func() { done <- s.Serve(ctx, l) }()
	go func() {
		defer func() { done <- nil }()
		for {
			select {
			case <-ctx.Done():
				return
			case <-st.Changed():
				_, rev := st.Bindings()
				if stuck {
					st.Realised(rev, errors.New("kernel said no"))
				} else {
					st.Realised(rev, nil)
				}
			}
		}
	}()
	t.Cleanup(func() {
		cancel()
		if err := errors.Join(<-done, <-done); err != nil {
			t.Error(err)
		}
	})
	return socket, st
}

type call struct {
	version, socket, timeout, prev, args string
	failOpen                             bool
	netns                                string
}

// invoke runs one CNI command as a runtime would, by standard input and output.
func invoke(t *testing.T, command string, c call) (stdout string, err error) {
	t.Helper()
	conf := map[string]any{"cniVersion": c.version, "name": "k", "type": PluginType, "socket": c.socket, "timeout": c.timeout, "failOpen": c.failOpen}
	if c.prev != "" {
		conf["prevResult"] = json.RawMessage(c.prev)
	}
	in, err := json.Marshal(conf)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "PALISADE_CNI_TEST=1", "CNI_COMMAND="+command, "CNI_CONTAINERID=c1", "CNI_IFNAME=eth0",
		"CNI_PATH=/none", "CNI_NETNS="+c.netns, "CNI_ARGS="+c.args)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.Output()
	return string(out), err
}

func init() {
	if os.Getenv("PALISADE_CNI_TEST") == "1" {
		skel.PluginMainFuncs(Plugin(), Versions, "test")
		os.Exit(0)
	}
}

const k8sArgs = "IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=db-0;K8S_POD_INFRA_CONTAINER_ID=c1;K8S_POD_UID=6f1c2f2e-8f0a-4f53-9a4f-111111111111"

var results = map[string]string{
	"0.4.0": `{"cniVersion":"0.4.0","interfaces":[{"name":"cni0"},{"name":"v"},{"name":"eth0","sandbox":"/x"}],"ips":[{"version":"4","interface":2,"address":"10.1.0.5/24"},{"version":"6","interface":2,"address":"fd00::5/64"}],"dns":{}}`,
	"1.0.0": `{"cniVersion":"1.0.0","interfaces":[{"name":"cni0"},{"name":"v"},{"name":"eth0","sandbox":"/x"}],"ips":[{"interface":2,"address":"10.1.0.5/24"},{"interface":2,"address":"fd00::5/64"}],"dns":{}}`,
	"1.1.0": `{"cniVersion":"1.1.0","interfaces":[{"name":"cni0"},{"name":"v"},{"name":"eth0","sandbox":"/x"}],"ips":[{"interface":2,"address":"10.1.0.5/24"},{"interface":2,"address":"fd00::5/64"}],"dns":{}}`,
}

func TestPluginAddCheckDel(t *testing.T) {
	for v, prev := range results {
		t.Run(v, func(t *testing.T) {
			p := newPod(t, "10.1.0.5/24", "fd00::5/64")
			socket, st := agent(t, false)
			c := call{version: v, socket: socket, timeout: "5s", prev: prev, args: k8sArgs, netns: p.netns}
			out, err := invoke(t, "ADD", c)
			if err != nil {
				t.Fatalf("ADD: %v: %s", err, out)
			}
			var got, want map[string]any
			if json.Unmarshal([]byte(out), &got) != nil || json.Unmarshal([]byte(prev), &want) != nil || !sameResult(got, want) {
				t.Errorf("result changed on its way:\n got %s\nwant %s", out, prev)
			}
			bs, _ := st.Bindings()
			pod := facts.Pod{UID: "6f1c2f2e-8f0a-4f53-9a4f-111111111111", Namespace: "shop", Name: "db-0"}
			wantB := []facts.Binding{
				{Addr: netip.MustParseAddr("10.1.0.5"), Pod: pod, Ifindex: p.host.Index},
				{Addr: netip.MustParseAddr("fd00::5"), Pod: pod, Ifindex: p.host.Index},
			}
			if fmt.Sprint(bs) != fmt.Sprint(wantB) {
				t.Errorf("bindings = %v, want %v", bs, wantB)
			}
			if out, err := invoke(t, "CHECK", c); err != nil {
				t.Errorf("CHECK: %v: %s", err, out)
			}
			for range 2 {
				if out, err := invoke(t, "DEL", c); err != nil {
					t.Errorf("DEL: %v: %s", err, out)
				}
			}
			if bs, _ := st.Bindings(); len(bs) != 0 {
				t.Errorf("after DEL: bindings = %v", bs)
			}
			if out, err := invoke(t, "CHECK", c); err == nil {
				t.Errorf("CHECK after DEL passed: %s", out)
			}
		})
	}
}

func TestPluginWithoutAgent(t *testing.T) {
	p := newPod(t, "10.1.0.5/24")
	absent := filepath.Join(t.TempDir(), "none.sock")
	c := call{version: "1.0.0", socket: absent, timeout: "300ms", prev: results["1.0.0"], args: k8sArgs, netns: p.netns}

	out, err := invoke(t, "ADD", c)
	if err == nil || !strings.Contains(out, "the Palisade agent does not answer") || !strings.Contains(out, absent) {
		t.Errorf("ADD without agent: err %v, %s", err, out)
	}
	if out, err := invoke(t, "DEL", c); err != nil {
		t.Errorf("DEL without agent must pass: %v: %s", err, out)
	}
	c.failOpen = true
	if out, err := invoke(t, "ADD", c); err != nil || !strings.Contains(out, "10.1.0.5/24") {
		t.Errorf("ADD without agent, failOpen: err %v, %s", err, out)
	}
}

// failOpen is about an agent that is away, never about one that refuses.
func TestPluginRefused(t *testing.T) {
	p := newPod(t, "10.1.0.5/24")
	socket, _ := agent(t, true)
	c := call{version: "1.0.0", socket: socket, timeout: "500ms", prev: results["1.0.0"], args: k8sArgs, netns: p.netns, failOpen: true}
	out, err := invoke(t, "ADD", c)
	if err == nil || !strings.Contains(out, "kernel said no") {
		t.Errorf("ADD with a stuck kernel: err %v, %s", err, out)
	}
	c.args = "K8S_POD_NAME=db-0"
	if out, err = invoke(t, "ADD", c); err == nil || !strings.Contains(out, "K8S_POD_UID") {
		t.Errorf("ADD without UID: err %v, %s", err, out)
	}
	c.prev = ""
	if out, err = invoke(t, "ADD", c); err == nil || !strings.Contains(out, "must be chained") {
		t.Errorf("ADD without prevResult: err %v, %s", err, out)
	}
}

func TestServerRefusesOtherProtocol(t *testing.T) {
	socket, _ := agent(t, false)
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := dial(ctx, socket)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, `{"version":2,"op":"STATUS","timeout":1000000}`+"\n"); err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(conn)
	if err != nil || !strings.Contains(string(b), "protocol 2") {
		t.Errorf("answer %q, %v", b, err)
	}
}

// sameResult leaves out dns: the library prints an empty one in some versions only.
func sameResult(a, b map[string]any) bool {
	delete(a, "dns")
	delete(b, "dns")
	return fmt.Sprint(a) == fmt.Sprint(b)
}

// Without a snapshot pods wait, but for those of the controller's namespace.
func TestExempt(t *testing.T) {
	st, err := facts.Open(filepath.Join(t.TempDir(), "facts.json"), facts.Epoch{Boot: "b"})
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Facts: st, Log: logr.Discard(), Exempt: "palisade-system",
		Ready: func() error { return errors.New("no snapshot yet") },
		Known: func(context.Context, facts.Pod) { t.Error("waits for a snapshot that cannot come") },
	}
	r := Request{
		Version: protocolVersion, Op: OpAdd, Timeout: time.Second, Attachment: facts.AttachmentID{Container: "c", IfName: "eth0"},
		Pod: facts.Pod{UID: "u", Namespace: "shop", Name: "db"}, Addrs: []netip.Addr{netip.MustParseAddr("10.0.0.1")}, Host: facts.Interface{Name: "v", Index: 3},
	}
	if err := s.do(context.Background(), r); err == nil || !strings.Contains(err.Error(), "no snapshot yet") {
		t.Errorf("other namespace: %v", err)
	}
	r.Pod.Namespace = "palisade-system"
	if err := s.do(context.Background(), r); err != nil {
		t.Errorf("own namespace: %v", err)
	}
	if bs, _ := st.Bindings(); len(bs) != 1 {
		t.Errorf("bindings = %v; the pod must be bound when the snapshot comes", bs)
	}
}
