package controllers_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/rest"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/controllers/internal/fakeagent"
	"palisade.dev/palisade/controllers/trust"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/kubetest"
	"palisade.dev/palisade/test/poll"
)

// world is one test's part of the API server: a namespace for Palisade itself,
// one for workloads, and nodes, all with names of their own.
type world struct {
	*testing.T
	client    client.Client
	system    string
	namespace string
	suffix    string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	c, err := client.New(apiServer, client.Options{Scheme: controllers.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	suffix := fmt.Sprintf("%05x", rand.N(1<<20))
	w := &world{T: t, client: c, suffix: suffix, system: "palisade-" + suffix, namespace: "shop-" + suffix}
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.system}})
	w.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}})
	w.install("../config/controller/serviceaccount.yaml", "../config/controller/rbac.yaml", "../config/controller/service.yaml", "../config/nodeagent/serviceaccount.yaml")
	return w
}

// install applies manifests with names of this world instead of palisade-system's.
func (w *world) install(paths ...string) {
	w.Helper()
	for _, path := range paths {
		text, err := os.ReadFile(filepath.FromSlash(path))
		if err != nil {
			w.Fatal(err)
		}
		decoder := yaml.NewYAMLOrJSONDecoder(strings.NewReader(strings.ReplaceAll(string(text), "palisade-system", w.system)), 4096)
		for {
			u := &unstructured.Unstructured{}
			if decoder.Decode(u) != nil {
				break
			}
			// Objects outside the namespace are shared by name.
			if u.GetNamespace() != w.system {
				u.SetName(u.GetName() + "-" + w.suffix)
				if role, ok := u.Object["roleRef"].(map[string]any); ok {
					role["name"] = role["name"].(string) + "-" + w.suffix
				}
			}
			w.create(u)
		}
	}
}

func (w *world) create(o client.Object) {
	w.Helper()
	if err := w.client.Create(context.Background(), o); err != nil {
		w.Fatalf("create %T %s: %v", o, o.GetName(), err)
	}
	w.Cleanup(func() { _ = w.client.Delete(context.Background(), o) })
}

func (w *world) update(o client.Object, change func()) {
	w.Helper()
	poll.Until(w, "an update of "+o.GetName(), func() error {
		if err := w.client.Get(context.Background(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		change()
		return w.client.Update(context.Background(), o)
	})
}

func (w *world) delete(o client.Object) {
	w.Helper()
	if err := w.client.Delete(context.Background(), o, client.GracePeriodSeconds(0)); err != nil {
		w.Fatal(err)
	}
}

// node makes a Ready node and returns its name.
func (w *world) node(name string) string {
	w.Helper()
	name += "-" + w.suffix
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}
	w.create(n)
	w.setReady(name, corev1.ConditionTrue)
	return name
}

func (w *world) setReady(node string, ready corev1.ConditionStatus) {
	w.Helper()
	n := &corev1.Node{}
	poll.Until(w, "readiness of "+node, func() error {
		if err := w.client.Get(context.Background(), types.NamespacedName{Name: node}, n); err != nil {
			return err
		}
		n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: ready}}
		return w.client.Status().Update(context.Background(), n)
	})
}

// pod makes a pod that runs on a node, with an address unless that is empty.
func (w *world) pod(name, node, address string, labels map[string]string) *corev1.Pod {
	w.Helper()
	p := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name, Labels: labels},
		Spec:       corev1.PodSpec{NodeName: node, Containers: []corev1.Container{{Name: "c", Image: "none"}}},
	}
	w.create(p)
	if address != "" {
		p.Status = corev1.PodStatus{Phase: corev1.PodRunning, PodIP: address, PodIPs: []corev1.PodIP{{IP: address}}}
		if err := w.client.Status().Update(context.Background(), p); err != nil {
			w.Fatal(err)
		}
	}
	return p
}

func app(name string) map[string]string { return map[string]string{"app": name} }

// isolate returns a policy that isolates pods by label and accepts from others.
func (w *world) isolate(name, subject string, from ...string) *v1alpha1.NetworkPolicy {
	p := &v1alpha1.NetworkPolicy{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: name},
		Spec: v1alpha1.NetworkPolicySpec{
			Mode: v1alpha1.ModeEnforce, Isolate: v1alpha1.IsolateIngress,
			Subject: v1alpha1.NetworkPolicySubject{Pods: &v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": v1alpha1.LabelValue(subject)}}},
		},
	}
	for _, f := range from {
		p.Spec.Ingress = append(p.Spec.Ingress, v1alpha1.NetworkPolicyIngressRule{
			Name: v1alpha1.RuleName("from-" + f), Action: v1alpha1.ActionAccept,
			From: []v1alpha1.Peer{{Pods: &v1alpha1.PodPeer{PodSelector: v1alpha1.LabelSelector{MatchLabels: map[string]v1alpha1.LabelValue{"app": v1alpha1.LabelValue(f)}}}}},
		})
	}
	return p
}

// shifted is a clock that tests set forward. Its tickers are impatient.
type shifted struct {
	clock.RealClock
	by chan time.Duration // holds one value
}

func newClock() *shifted {
	c := &shifted{by: make(chan time.Duration, 1)}
	c.by <- 0
	return c
}

func (c *shifted) Now() time.Time {
	by := <-c.by
	c.by <- by
	return c.RealClock.Now().Add(by)
}

func (c *shifted) Since(t time.Time) time.Duration { return c.Now().Sub(t) }

func (c *shifted) forward(d time.Duration) { c.by <- <-c.by + d }

func (c *shifted) NewTicker(d time.Duration) clock.Ticker {
	return c.RealClock.NewTicker(min(d, 100*time.Millisecond))
}

// controller is one running controller.
type controller struct {
	*controllers.System
	w       *world
	address string
	stop    func()
}

type option func(*controllers.Options)

func withLimits(l compile.Options) option { return func(o *controllers.Options) { o.Limits = l } }
func withClock(c clock.WithTicker) option { return func(o *controllers.Options) { o.Clock = c } }
func elected(o *controllers.Options)      { o.Lease = controllers.LeaseName }

// start runs a controller with the rights that its ServiceAccount has.
func (w *world) start(options ...option) *controller {
	w.Helper()
	config := rest.CopyConfig(apiServer)
	config.QPS, config.Burst = 500, 500
	config.Impersonate = rest.ImpersonationConfig{
		UserName: "system:serviceaccount:" + w.system + ":palisade-controller",
		Groups:   []string{"system:serviceaccounts", "system:serviceaccounts:" + w.system, "system:authenticated"},
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		w.Fatal(err)
	}
	o := controllers.Options{Namespace: w.system, Listener: listener, Version: "test", Clock: clock.RealClock{}}
	for _, change := range options {
		change(&o)
	}
	// Whoever leads gives the Lease back at its end: nobody waits for it to expire, and it
	// must not expire because the machine is busy.
	lease, renew, retry := time.Minute, 50*time.Second, 200*time.Millisecond
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: controllers.Scheme(), Cache: gather.CacheOptions(w.system), Logger: w.log(),
		Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		LeaderElection: o.Lease != "", LeaderElectionID: controllers.LeaseName, LeaderElectionNamespace: w.system,
		LeaderElectionReleaseOnCancel: true, LeaseDuration: &lease, RenewDeadline: &renew, RetryPeriod: &retry,
	})
	if err != nil {
		w.Fatal(err)
	}
	system, err := controllers.Setup(mgr, o)
	if err != nil {
		w.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	stopped := false
	c := &controller{System: system, w: w, address: listener.Addr().String()}
	c.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			w.Errorf("controller ended: %v", err)
		}
		_ = listener.Close()
	}
	w.Cleanup(c.stop)
	poll.Until(w, "a controller that has compiled what exists", func() error { return system.Readyz(nil) })
	return c
}

// log writes to the test's log while the test runs, and nowhere afterwards.
func (w *world) log() logr.Logger {
	over := make(chan struct{})
	w.Cleanup(func() { close(over) })
	return funcr.New(func(prefix, args string) {
		select {
		case <-over:
		default:
			if testing.Verbose() {
				fmt.Fprintln(os.Stderr, w.Name(), prefix, args)
			}
		}
	}, funcr.Options{})
}

// agent enrols an agent for a node with a token as kubelet would give it.
func (c *controller) agent(node string) *fakeagent.Agent {
	c.w.Helper()
	token := c.w.token(node, "palisade-nodeagent")
	a := &fakeagent.Agent{Node: node, Address: c.address}
	poll.Until(c.w, "trust being published", func() error {
		cm := &corev1.ConfigMap{}
		if err := c.w.client.Get(context.Background(), types.NamespacedName{Namespace: c.w.system, Name: trust.Name}, cm); err != nil {
			return err
		}
		a.Roots = trustPool(cm.Data[trust.AuthorityKey])
		return a.Keys.UnmarshalText([]byte(cm.Data[trust.SigningKeysKey]))
	})
	poll.Until(c.w, "enrolment of "+node, func() error { return a.Enroll(context.Background(), token) })
	return a
}

// token returns a token that is bound to a pod of an account on a node.
func (w *world) token(node, account string) string {
	w.Helper()
	name := fmt.Sprintf("agent-%05x", rand.N(1<<20))
	w.create(&corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: w.system, Name: name},
		Spec: corev1.PodSpec{
			NodeName: node, ServiceAccountName: account, HostNetwork: true,
			Containers: []corev1.Container{{Name: "c", Image: "none"}},
		},
	})
	pod := &corev1.Pod{}
	if err := w.client.Get(context.Background(), types.NamespacedName{Namespace: w.system, Name: name}, pod); err != nil {
		w.Fatal(err)
	}
	sa := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: w.system, Name: account}}
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{
		Audiences:      []string{wire.Audience},
		BoundObjectRef: &authenticationv1.BoundObjectReference{Kind: "Pod", APIVersion: "v1", Name: name, UID: pod.UID},
	}}
	if err := w.client.SubResource("token").Create(context.Background(), sa, request); err != nil {
		w.Fatal(err)
	}
	return request.Status.Token
}

// run runs an agent until the returned function is called.
func (w *world) run(a *fakeagent.Agent) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		for ctx.Err() == nil {
			_ = a.Run(ctx)
			select {
			case <-ctx.Done():
			case <-time.After(50 * time.Millisecond):
			}
		}
	}()
	stop = func() { cancel(); <-done }
	w.Cleanup(stop)
	return stop
}

// expect waits until a policy has conditions, given as TYPE=STATUS/REASON.
func (w *world) expect(o client.Object, want ...string) {
	w.Helper()
	poll.Until(w, fmt.Sprintf("%s %v", o.GetName(), want), func() error {
		if err := w.client.Get(context.Background(), client.ObjectKeyFromObject(o), o); err != nil {
			return err
		}
		list, observed := conditionsOf(o)
		if observed != o.GetGeneration() {
			return fmt.Errorf("status of generation %d of %d", observed, o.GetGeneration())
		}
		for _, x := range want {
			kind, value, _ := strings.Cut(x, "=")
			c := meta.FindStatusCondition(list, kind)
			switch {
			case c == nil && value == "":
			case c == nil:
				return fmt.Errorf("no condition %s among %+v", kind, list)
			case string(c.Status)+"/"+c.Reason != value:
				return fmt.Errorf("%s=%s/%s: %s", kind, c.Status, c.Reason, c.Message)
			}
		}
		return nil
	})
}

func conditionsOf(o client.Object) ([]metav1.Condition, int64) {
	switch o := o.(type) {
	case *v1alpha1.NetworkPolicy:
		return o.Status.Conditions, o.Status.ObservedGeneration
	case *v1alpha1.ClusterwidePolicy:
		return o.Status.Conditions, o.Status.ObservedGeneration
	case *v1alpha1.ExternalWorkload:
		return o.Status.Conditions, o.Status.ObservedGeneration
	case *v1alpha1.AddressGroup:
		return o.Status.Conditions, o.Status.ObservedGeneration
	}
	return nil, 0
}

// synced waits until an agent holds what the controller has for its node.
func (c *controller) synced(a *fakeagent.Agent) *snapshot.Set {
	c.w.Helper()
	var set *snapshot.Set
	poll.Until(c.w, "snapshot on "+a.Node, func() error {
		want, ok := c.Store.Digest(model.NodeName(a.Node))
		_, set = a.State()
		if n := c.Tracker.Node(model.NodeName(a.Node)); !ok || set.Digest() != want || !n.Known {
			return fmt.Errorf("holds %s of %s", set.Digest(), want)
		}
		return nil
	})
	return set
}

// rules lists the rules that a set names, without the built-in ones.
func rules(t *testing.T, set *snapshot.Set) map[string]bool {
	t.Helper()
	rows, err := set.Rows()
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]bool{}
	for _, row := range rows {
		if r, ok := row.(snapshot.RuleRow); ok && model.PolicyKind(r.PolicyKind) != model.KindBuiltin {
			out[r.Policy+"/"+r.Rule] = true
		}
	}
	return out
}

func modelNode(name string) model.NodeName { return model.NodeName(name) }

// records checks how many accepted specs are kept.
func (w *world) records(want int) error {
	var list appsv1.ControllerRevisionList
	if err := w.client.List(context.Background(), &list, client.InNamespace(w.system)); err != nil {
		return err
	}
	if len(list.Items) != want {
		return fmt.Errorf("%d records, want %d", len(list.Items), want)
	}
	return nil
}

func freeAddress(t *testing.T) string {
	t.Helper()
	return fmt.Sprintf("127.0.0.1:%d", kubetest.FreePort(t))
}

func splitYAML(text string) []string { return strings.Split(text, "\n---\n") }
