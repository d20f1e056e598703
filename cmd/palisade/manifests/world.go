package manifests

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// World translates the objects. A policy whose expiresAt is not after now is
// expired; a controller records that in status, and with files nobody does.
func (o *Objects) World(now time.Time) (*World, error) {
	w := &World{AcceptedAt: o.AcceptedAt, HostPods: map[string][]netip.Addr{}, Containers: map[string][]string{}}
	b := &builder{objects: o, world: w}
	b.namespaces()
	b.endpoints()
	b.addressGroups()
	b.policies(now)
	if err := b.problems.sorted(); err != nil {
		return nil, err
	}
	var err error
	w.Cluster.APIServer, err = translate.APIServer(o.EndpointSlices)
	return w, err
}

// AsHost makes the external workload NAMESPACE/NAME one whose host enforces what
// policies say about its processes.
func (w *World) AsHost(workload string) (model.Endpoint, error) {
	namespace, name, ok := strings.Cut(workload, "/")
	if !ok || namespace == "" || name == "" {
		return model.Endpoint{}, fmt.Errorf("%q: write NAMESPACE/NAME", workload)
	}
	id := model.EndpointID{Kind: model.EndpointExternal, Namespace: namespace, Name: name}
	var others []string
	for i := range w.Cluster.Endpoints {
		e := &w.Cluster.Endpoints[i]
		if e.ID == id {
			e.Node = model.HostOf(id)
			return *e, nil
		}
		if e.ID.Kind == model.EndpointExternal {
			others = append(others, e.ID.String())
		}
	}
	slices.Sort(others)
	return model.Endpoint{}, fmt.Errorf("%q: no such external workload (there are: %s)", workload, cmp.Or(strings.Join(others, ", "), "none"))
}

// builder fills a World and collects what cannot be translated.
type builder struct {
	objects  *Objects
	world    *World
	problems Problems
}

// namespaces takes the namespaces as given, and those that something is in as
// if they had been created without labels.
func (b *builder) namespaces() {
	found := map[string]*corev1.Namespace{}
	for i := range b.objects.Namespaces {
		found[b.objects.Namespaces[i].Name] = &b.objects.Namespaces[i]
	}
	imply := func(m metav1.ObjectMeta) {
		if found[m.Namespace] == nil {
			found[m.Namespace] = &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: m.Namespace}}
		}
	}
	for _, p := range b.objects.Pods {
		imply(p.ObjectMeta)
	}
	for _, w := range b.objects.ExternalWorkloads {
		imply(w.ObjectMeta)
	}
	for _, name := range slices.Sorted(maps.Keys(found)) {
		b.world.Cluster.Namespaces = append(b.world.Cluster.Namespaces, translate.Namespace(found[name]))
	}
}

func (b *builder) endpoints() {
	add := func(e model.Endpoint) { b.world.Cluster.Endpoints = append(b.world.Cluster.Endpoints, e) }
	for i := range b.objects.Pods {
		pod := &b.objects.Pods[i]
		e, ok, err := translate.Pod(pod)
		switch {
		case err != nil:
			b.problem(corev1.SchemeGroupVersion.WithKind("Pod"), pod.ObjectMeta, err)
		case ok:
			add(e)
		}
		if pod.Spec.HostNetwork {
			b.hostPod(pod)
		}
		b.world.Containers[pod.Namespace+"/"+pod.Name] = containersOf(&pod.Spec)
	}
	for i := range b.objects.Nodes {
		node := &b.objects.Nodes[i]
		if e, err := translate.Node(node); err != nil {
			b.problem(corev1.SchemeGroupVersion.WithKind("Node"), node.ObjectMeta, err)
		} else {
			add(e)
		}
	}
	for i := range b.objects.ExternalWorkloads {
		w := &b.objects.ExternalWorkloads[i]
		if e, err := translate.ExternalWorkload(w); err != nil {
			b.problem(v1alpha1.GroupVersion.WithKind(v1alpha1.KindExternalWorkload), w.ObjectMeta, err)
		} else {
			add(e)
		}
	}
}

// hostPod notes the addresses of a pod with host networking: its own status's,
// else its node's.
func (b *builder) hostPod(pod *corev1.Pod) {
	var addrs []netip.Addr
	texts := pod.Status.PodIPs
	if len(texts) == 0 && pod.Status.PodIP != "" {
		texts = []corev1.PodIP{{IP: pod.Status.PodIP}}
	}
	for _, ip := range texts {
		if a, err := netip.ParseAddr(ip.IP); err == nil {
			addrs = append(addrs, a.Unmap())
		}
	}
	for i := range b.objects.Nodes {
		if node := &b.objects.Nodes[i]; len(addrs) == 0 && node.Name == pod.Spec.NodeName {
			for _, a := range node.Status.Addresses {
				if ip, err := netip.ParseAddr(a.Address); err == nil {
					addrs = append(addrs, ip.Unmap())
				}
			}
		}
	}
	b.world.HostPods[pod.Namespace+"/"+pod.Name] = addrs
}

func containersOf(spec *corev1.PodSpec) []string {
	var names []string
	for _, c := range spec.InitContainers {
		names = append(names, c.Name)
	}
	for _, c := range spec.Containers {
		names = append(names, c.Name)
	}
	for _, c := range spec.EphemeralContainers {
		names = append(names, c.Name)
	}
	return names
}

func (b *builder) addressGroups() {
	for i := range b.objects.AddressGroups {
		g := &b.objects.AddressGroups[i]
		if out, err := translate.AddressGroup(g); err != nil {
			b.problem(v1alpha1.GroupVersion.WithKind(v1alpha1.KindAddressGroup), g.ObjectMeta, err)
		} else {
			b.world.Cluster.AddressGroups = append(b.world.Cluster.AddressGroups, out)
		}
	}
}

func (b *builder) policies(now time.Time) {
	add := func(gvk schema.GroupVersionKind, meta metav1.ObjectMeta, p model.Policy, expiresAt *metav1.Time, err error) {
		if err != nil {
			b.problem(gvk, meta, err)
			return
		}
		p.Expired = p.Expired || expiresAt != nil && !expiresAt.After(now)
		b.world.Cluster.Policies = append(b.world.Cluster.Policies, p)
	}
	for i := range b.objects.ClusterwidePolicies {
		c := b.objects.ClusterwidePolicies[i].DeepCopy()
		if c.Spec.Runtime != nil {
			c.Status.ExpiredExceptions = append(c.Status.ExpiredExceptions, v1alpha1.Ended(c.Spec.Runtime.Exceptions(), now)...)
		}
		p, err := translate.ClusterwidePolicy(c)
		add(v1alpha1.GroupVersion.WithKind(v1alpha1.KindClusterwidePolicy), c.ObjectMeta, p, c.Spec.ExpiresAt, err)
	}
	for i := range b.objects.NetworkPolicies {
		n := &b.objects.NetworkPolicies[i]
		p, err := translate.NetworkPolicy(n)
		add(v1alpha1.GroupVersion.WithKind(v1alpha1.KindNetworkPolicy), n.ObjectMeta, p, n.Spec.ExpiresAt, err)
	}
	for i := range b.objects.RuntimePolicies {
		r := b.objects.RuntimePolicies[i].DeepCopy()
		r.Status.ExpiredExceptions = append(r.Status.ExpiredExceptions, v1alpha1.Ended(r.Spec.Exceptions(), now)...)
		p, err := translate.RuntimePolicy(r)
		add(v1alpha1.GroupVersion.WithKind(v1alpha1.KindRuntimePolicy), r.ObjectMeta, p, r.Spec.ExpiresAt, err)
	}
	for i := range b.objects.Upstream {
		n := &b.objects.Upstream[i]
		p, err := translate.Upstream(n)
		add(schema.GroupVersionKind{Group: "networking.k8s.io", Version: "v1", Kind: "NetworkPolicy"}, n.ObjectMeta, p, nil, err)
	}
	for _, s := range b.objects.StandIns {
		s.Policy.Expired = s.Policy.Expired || !s.ExpiresAt.IsZero() && !s.ExpiresAt.After(now)
		b.world.Cluster.Policies = append(b.world.Cluster.Policies, s.Policy)
	}
}

// problem notes why an object cannot be translated: a line for each reason.
func (b *builder) problem(gvk schema.GroupVersionKind, meta metav1.ObjectMeta, err error) {
	place := b.objects.places[objectKey{gvk.GroupKind(), meta.Namespace, meta.Name}]
	name := meta.Name
	if meta.Namespace != "" {
		name = meta.Namespace + "/" + name
	}
	p := Problem{File: cmp.Or(place.file, "cluster"), Line: place.line, Object: gvk.Kind + " " + name}
	var translated *translate.Error
	if !errors.As(err, &translated) {
		p.Reason = err.Error()
		b.problems = append(b.problems, p)
		return
	}
	for _, t := range translated.Problems {
		q := p
		q.Reason = t.Field + ": " + t.What + ": " + t.Fix
		b.problems = append(b.problems, q)
	}
}
