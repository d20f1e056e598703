package controllers_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers"
	"palisade.dev/palisade/controllers/internal/fakeagent"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/test/poll"
)

// TestStandbyTakesOver: a standby holds the same bytes, and when the leader goes
// it serves on without sending anything anew; generations keep growing.
func TestStandbyTakesOver(t *testing.T) {
	w := newWorld(t)
	n1 := w.node("n1")
	w.pod("db", n1, "10.2.0.1", app("db"))
	first := w.start(elected)
	p := w.isolate("db", "db", "web")
	w.create(p)
	a := first.agent(n1)
	stop := w.run(a)
	w.expect(p, "Ready=True/Realized")
	standby := w.start(elected)
	sameDigest := func() error {
		x, _ := first.Store.Digest(modelNode(n1))
		y, ok := standby.Store.Digest(modelNode(n1))
		if !ok || x != y {
			return fmt.Errorf("leader %s, standby %s", x, y)
		}
		return nil
	}
	poll.Until(w, "the standby holding the same bytes", sameDigest)
	w.pod("web", n1, "10.2.0.2", app("web"))
	poll.Until(w, "the standby following a change", func() error {
		// A pod is made before it has an address: two changes.
		if !holdsAddress(t, first.synced(a), "10.2.0.2") {
			return fmt.Errorf("the agent does not hold the address")
		}
		return sameDigest()
	})
	first.synced(a)
	stop()
	before, _ := a.State()
	sent := len(a.Transfers())
	first.stop()

	a.Address = standby.address
	w.run(a)
	standby.synced(a)
	if got := len(a.Transfers()); got != sent {
		t.Errorf("the new leader sent what the node holds: %+v", a.Transfers()[sent:])
	}
	w.pod("late", n1, "10.2.0.3", app("web"))
	poll.Until(w, "a change by the new leader", func() error {
		if after, _ := a.State(); after.Compare(before) <= 0 || after.Term <= before.Term || after.Counter <= before.Counter {
			return fmt.Errorf("generation %s after %s", after, before)
		}
		return nil
	})
	if last := a.Transfers()[sent]; last.Full {
		t.Error("the new leader starts with a full snapshot")
	}
	w.expect(p, "Ready=True/Realized")
}

func holdsAddress(t *testing.T, set *snapshot.Set, addr string) bool {
	t.Helper()
	rows, err := set.Rows()
	if err != nil {
		t.Fatal(err)
	}
	return slices.ContainsFunc(rows, func(row snapshot.Row) bool {
		r, ok := row.(snapshot.AddressRow)
		return ok && r.Addr == netip.MustParseAddr(addr)
	})
}

// TestTwoProcessesServeTheSameDigest (P2): one controller lives through a
// cluster's history, another one sees only where it ended; each serves its own
// agents, and both serve the same bytes.
func TestTwoProcessesServeTheSameDigest(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "controller")
	if out, err := exec.Command("go", "build", "-o", bin, "../cmd/controller").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	w := newWorld(t)
	other := newWorld(t)
	nodes := []string{w.node("n1"), w.node("n2"), w.node("n3")}
	first := w.process(bin)
	w.history(nodes, first)
	second := other.process(bin)
	for _, node := range nodes {
		poll.Until(w, "both processes agreeing about "+node, func() error {
			x, y := first.agent(node), second.agent(node)
			xGen, xSet := x.State()
			yGen, ySet := y.State()
			if xSet.Len() == 0 || xSet.Digest() != ySet.Digest() {
				return fmt.Errorf("agents hold %s (%s, %d rows) and %s (%s, %d rows)", xSet.Digest(), xGen, xSet.Len(), ySet.Digest(), yGen, ySet.Len())
			}
			want := xSet.Digest().String()
			if a, b := first.snapshots().Nodes[node], second.snapshots().Nodes[node]; a != want || b != want {
				return fmt.Errorf("processes hold %s and %s, agents %s", a, b, want)
			}
			return nil
		})
	}
	if g, _ := first.agent(nodes[0]).State(); g.Counter < 10 {
		t.Errorf("the first process saw no history: generation %s", g)
	}
}

// history makes, changes and removes objects in a random order, and ends with
// some of each kind. Now and then it lets the process that lives through it
// catch up: else everything would be one change.
func (w *world) history(nodes []string, witness *process) {
	w.Helper()
	names := []string{"a", "b", "c", "d", "e"}
	pods, policies := map[string]*corev1.Pod{}, map[string]*v1alpha1.NetworkPolicy{}
	upstream := map[string]*networkingv1.NetworkPolicy{}
	pick := func() string { return names[rand.N(len(names))] }
	for i := range 60 {
		name := pick()
		if i%5 == 0 {
			before := witness.snapshots().Counter
			w.pod(fmt.Sprintf("tick-%d", i), nodes[0], fmt.Sprintf("10.3.1.%d", i+1), nil)
			poll.Until(w, "a generation", func() error {
				if now := witness.snapshots().Counter; now <= before {
					return fmt.Errorf("still at %d", now)
				}
				return nil
			})
		}
		switch rand.N(5) {
		case 0, 1:
			if p := pods[name]; p != nil {
				w.delete(p)
				delete(pods, name)
			} else {
				pods[name] = w.pod(name, nodes[rand.N(len(nodes))], fmt.Sprintf("10.3.0.%d", i+1), app(pick()))
			}
		case 2:
			if p := policies[name]; p == nil {
				policies[name] = w.isolate(name, pick(), pick())
				w.create(policies[name])
			} else {
				w.update(p, func() { p.Spec.Ingress = w.isolate("", "", pick(), "x").Spec.Ingress })
			}
		case 3:
			if p := policies[name]; p != nil {
				w.delete(p)
				delete(policies, name)
			}
		case 4:
			if p := upstream[name]; p != nil {
				w.delete(p)
				delete(upstream, name)
				continue
			}
			port := intstr.FromInt32(int32(8000 + i))
			upstream[name] = &networkingv1.NetworkPolicy{
				ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: "up-" + name},
				Spec: networkingv1.NetworkPolicySpec{
					PodSelector: metav1.LabelSelector{MatchLabels: app(pick())},
					Ingress:     []networkingv1.NetworkPolicyIngressRule{{Ports: []networkingv1.NetworkPolicyPort{{Port: &port}}}},
				},
			}
			w.create(upstream[name])
		}
	}
}

// process is a controller that runs as a process of its own.
type process struct {
	w       *world
	stream  string
	metrics string
	agents  map[string]*fakeagent.Agent
}

func (w *world) process(bin string) *process {
	w.Helper()
	p := &process{w: w, stream: freeAddress(w.T), metrics: freeAddress(w.T), agents: map[string]*fakeagent.Agent{}}
	cmd := exec.Command(bin, "--kubeconfig", w.kubeconfig(), "--namespace", w.system, "--webhooks=false",
		"--stream-address", p.stream, "--metrics-address", p.metrics, "--health-address", "0")
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if !testing.Verbose() {
		cmd.Stdout, cmd.Stderr = nil, nil
	}
	if err := cmd.Start(); err != nil {
		w.Fatal(err)
	}
	w.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		if err := cmd.Wait(); err != nil {
			w.Errorf("controller ended: %v", err)
		}
	})
	poll.Until(w, "a process that leads", func() error {
		if !p.snapshots().Leader {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	return p
}

func (p *process) agent(node string) *fakeagent.Agent {
	p.w.Helper()
	if a := p.agents[node]; a != nil {
		return a
	}
	a := (&controller{w: p.w, address: p.stream}).agent(node)
	p.agents[node] = a
	p.w.run(a)
	return a
}

func (p *process) snapshots() (out controllers.Snapshots) {
	r, err := http.Get("http://" + p.metrics + "/snapshots")
	if err != nil {
		return out
	}
	defer r.Body.Close()
	_ = json.NewDecoder(r.Body).Decode(&out)
	return out
}

// kubeconfig writes an administrator's kubeconfig for another process.
func (w *world) kubeconfig() string {
	w.Helper()
	c := clientcmdapi.NewConfig()
	c.Clusters["test"] = &clientcmdapi.Cluster{Server: apiServer.Host, CertificateAuthorityData: apiServer.CAData}
	c.AuthInfos["admin"] = &clientcmdapi.AuthInfo{ClientCertificateData: apiServer.CertData, ClientKeyData: apiServer.KeyData}
	c.Contexts["test"] = &clientcmdapi.Context{Cluster: "test", AuthInfo: "admin"}
	c.CurrentContext = "test"
	path := filepath.Join(w.TempDir(), "kubeconfig")
	if err := clientcmd.WriteToFile(*c, path); err != nil {
		w.Fatal(err)
	}
	return path
}
