package e2e

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus"
)

// podRanges hold the pods of the local cluster.
var podRanges = []netip.Prefix{netip.MustParsePrefix("10.244.0.0/16"), netip.MustParsePrefix("fd00:10:244::/48")}

const (
	scenarioLabel = "e2e.palisade.dev/scenario"
	nameLabel     = "kubernetes.io/metadata.name"
)

// stage is a scenario of the corpus as real objects. Names get a prefix, so that
// several can play at a time, and addresses become those that pods were given.
type stage struct {
	*corpus.Scenario
	prefix    string
	pods      map[netip.Addr]*corev1.Pod // by address in the scenario
	lines     []corpus.Expectation       // those that real pods can play
	unplayed  int
	real      map[netip.Addr]netip.Addr // addresses of the scenario and of the cluster
	conflicts error
}

// newStage looks what of a scenario can be played; the error says why nothing can.
func newStage(s *corpus.Scenario) (*stage, error) {
	st := &stage{Scenario: s, prefix: "e2e-" + s.Name + "-", pods: map[netip.Addr]*corev1.Pod{}, real: map[netip.Addr]netip.Addr{}}
	if len(s.Objects.EndpointSlices) > 0 {
		return nil, fmt.Errorf("it says where the API server is")
	}
	for i := range s.Objects.Pods {
		p := &s.Objects.Pods[i]
		switch {
		case p.Spec.HostNetwork:
			continue // its lines are not played
		case p.Status.Phase == corev1.PodSucceeded || p.Status.Phase == corev1.PodFailed:
			return nil, fmt.Errorf("it has pods that have ended and keep their addresses")
		case !slices.Contains([]string{"", "n1", "n2"}, p.Spec.NodeName):
			return nil, fmt.Errorf("it has a pod on node %s, and the cluster two nodes", p.Spec.NodeName)
		}
		for _, ip := range p.Status.PodIPs {
			a := netip.MustParseAddr(ip.IP)
			if st.pods[a] != nil {
				return nil, fmt.Errorf("two pods have the address %s", a)
			}
			st.pods[a] = p
		}
	}
	if expires(s) {
		return nil, fmt.Errorf("it plays at a time of its own")
	}
	for _, e := range s.Expect {
		if st.playable(e) {
			st.lines = append(st.lines, e)
		} else {
			st.unplayed++
		}
	}
	if len(st.lines) == 0 {
		return nil, fmt.Errorf("no line is about TCP or UDP between pods")
	}
	for a := range st.pods {
		st.real[a] = podRanges[0].Addr() // any will do to see whether blocks can be rewritten
		if a.Is6() {
			st.real[a] = podRanges[1].Addr()
		}
	}
	if st.manifest(); st.conflicts != nil {
		return nil, st.conflicts
	}
	return st, nil
}

// expires reports whether the scenario's clock matters: whether a policy has expired
// by then, or would before the scenario has been played.
func expires(s *corpus.Scenario) bool {
	over := func(at *metav1.Time) bool {
		return at != nil && (at.Time.Before(corpus.Now) || at.Time.Before(time.Now().Add(time.Hour)))
	}
	return slices.ContainsFunc(s.Objects.NetworkPolicies, func(p v1alpha1.NetworkPolicy) bool { return over(p.Spec.ExpiresAt) }) ||
		slices.ContainsFunc(s.Objects.ClusterwidePolicies, func(p v1alpha1.ClusterwidePolicy) bool { return over(p.Spec.ExpiresAt) })
}

func (st *stage) playable(e corpus.Expectation) bool {
	for _, c := range e.Connections {
		if st.pods[c.From] == nil || st.pods[c.To] == nil || c.Port == 0 || c.Proto != model.ProtoTCP && c.Proto != model.ProtoUDP {
			return false
		}
	}
	return true
}

// namespaces are the scenario's, with those that only pods and policies name.
func (st *stage) namespaces() map[string]map[string]string {
	out := map[string]map[string]string{}
	for _, p := range st.Objects.Pods {
		out[p.Namespace] = nil
	}
	for _, w := range st.Objects.ExternalWorkloads {
		out[w.Namespace] = nil
	}
	for _, p := range st.Objects.NetworkPolicies {
		out[p.Namespace] = nil
	}
	for _, p := range st.Objects.Upstream {
		out[p.Namespace] = nil
	}
	for _, n := range st.Objects.Namespaces {
		out[n.Name] = n.Labels
	}
	return out
}

// world is the manifest of namespaces and pods.
func (st *stage) world() []any {
	var out []any
	for name, labels := range st.namespaces() {
		all := map[string]string{scenarioLabel: st.Name}
		for k, v := range labels {
			if k != nameLabel {
				all[k] = v
			}
		}
		out = append(out, map[string]any{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": st.prefix + name, "labels": all}})
	}
	seen := map[*corev1.Pod]bool{}
	for _, p := range st.pods {
		if !seen[p] {
			seen[p] = true
			out = append(out, st.pod(p))
		}
	}
	return out
}

// pod serves every port that some line asks of it, in the first container.
func (st *stage) pod(p *corev1.Pod) *corev1.Pod {
	listen := map[model.Protocol][]string{}
	for _, e := range st.lines {
		for _, c := range e.Connections {
			if port := fmt.Sprint(c.Port); st.pods[c.To] == p && !slices.Contains(listen[c.Proto], port) {
				listen[c.Proto] = append(listen[c.Proto], port)
			}
		}
	}
	root, grace := int64(0), int64(0)
	out := &corev1.Pod{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Pod"},
		ObjectMeta: metav1.ObjectMeta{Namespace: st.prefix + p.Namespace, Name: p.Name, Labels: p.Labels},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			SecurityContext:               &corev1.PodSecurityContext{RunAsUser: &root}, // ports below 1024
		},
	}
	out.Spec.NodeName = place(cmp.Or(p.Spec.NodeName, "n1"))
	for i, ports := range portLists(p) {
		args := []string{"serve", "--tcp", fmt.Sprint(40000 + i)}
		if i == 0 {
			args[2] = strings.Join(append(listen[model.ProtoTCP], args[2]), ",")
			args = append(args, "--udp", strings.Join(listen[model.ProtoUDP], ","))
		}
		out.Spec.Containers = append(out.Spec.Containers, corev1.Container{
			Name: fmt.Sprintf("c%d", i), Image: target.probe, ImagePullPolicy: corev1.PullIfNotPresent, Args: args, Ports: ports,
			Resources: corev1.ResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m")}},
		})
	}
	return out
}

// portLists are the ports of a pod's containers. The API server takes a name once in
// a container; a name that stands for two protocols needs another.
func portLists(p *corev1.Pod) [][]corev1.ContainerPort {
	lists := [][]corev1.ContainerPort{nil}
	for i, c := range p.Spec.Containers {
		if i > 0 {
			lists = append(lists, nil)
		}
		var again []corev1.ContainerPort
		for _, port := range c.Ports {
			last := &lists[len(lists)-1]
			if slices.ContainsFunc(*last, func(o corev1.ContainerPort) bool { return o.Name == port.Name && port.Name != "" }) {
				again = append(again, port)
			} else {
				*last = append(*last, port)
			}
		}
		for _, port := range again {
			lists = append(lists, []corev1.ContainerPort{port})
		}
	}
	return lists
}

// manifest is everything that policy is made of, rewritten.
func (st *stage) manifest() []any {
	var out []any
	add := func(kind, apiVersion string, meta metav1.ObjectMeta, spec any) {
		object := map[string]any{"apiVersion": apiVersion, "kind": kind}
		named := map[string]any{"name": meta.Name, "labels": meta.Labels}
		if meta.Namespace == "" {
			named["name"] = st.prefix + meta.Name
		} else {
			named["namespace"] = st.prefix + meta.Namespace
		}
		text, err := json.Marshal(spec)
		var value any
		if err == nil {
			err = json.Unmarshal(text, &value)
		}
		if err != nil {
			st.conflicts = err
		}
		object["metadata"], object["spec"] = named, st.rewrite(value)
		out = append(out, object)
	}
	ours := v1alpha1.GroupVersion.String()
	for _, g := range st.Objects.AddressGroups {
		add("AddressGroup", ours, g.ObjectMeta, g.Spec)
	}
	for _, w := range st.Objects.ExternalWorkloads {
		add("ExternalWorkload", ours, w.ObjectMeta, w.Spec)
	}
	for _, p := range st.Objects.NetworkPolicies {
		add("NetworkPolicy", ours, p.ObjectMeta, p.Spec)
	}
	for _, p := range st.Objects.ClusterwidePolicies {
		spec := p.Spec.DeepCopy()
		st.confine(spec)
		add("ClusterwidePolicy", ours, p.ObjectMeta, spec)
	}
	for _, p := range st.Objects.Upstream {
		add("NetworkPolicy", "networking.k8s.io/v1", p.ObjectMeta, p.Spec)
	}
	return out
}

// confine keeps a clusterwide policy off what is not of the scenario.
func (st *stage) confine(spec *v1alpha1.ClusterwidePolicySpec) {
	selector := spec.Subject.Namespaces
	if spec.Subject.Pods != nil {
		selector = &spec.Subject.Pods.NamespaceSelector
	}
	if selector == nil {
		return
	}
	if selector.MatchLabels == nil {
		selector.MatchLabels = map[string]v1alpha1.LabelValue{}
	}
	selector.MatchLabels[scenarioLabel] = v1alpha1.LabelValue(st.Name)
}

// rewrite puts in the names and addresses of the cluster.
func (st *stage) rewrite(value any) any {
	switch v := value.(type) {
	case map[string]any:
		byName := v["key"] == nameLabel
		for k, inner := range v {
			name, isText := inner.(string)
			list, isList := inner.([]any)
			switch {
			case k == nameLabel && isText:
				v[k] = st.prefix + name
			case isList && (k == "addressGroups" || byName && k == "values"):
				for i := range list {
					list[i] = st.prefix + list[i].(string)
				}
			default:
				v[k] = st.rewrite(inner)
			}
		}
	case []any:
		for i := range v {
			v[i] = st.rewrite(v[i])
		}
	case string:
		if block, err := netip.ParsePrefix(v); err == nil {
			return st.block(block)
		}
	}
	return value
}

// block is what stands for a CIDR of the scenario: a pod's address for its
// address, all pods' range for a block that holds all of them. One that holds some
// would need pods whose addresses can be chosen.
func (st *stage) block(b netip.Prefix) string {
	if a, ok := st.real[b.Addr()]; ok && b.IsSingleIP() {
		return netip.PrefixFrom(a, a.BitLen()).String()
	}
	if b.Bits() == 0 {
		return b.String()
	}
	pods := podRanges[0]
	if b.Addr().Is6() {
		pods = podRanges[1]
	}
	in, of := 0, 0
	for a := range st.pods {
		if a.Is4() == b.Addr().Is4() {
			of++
			if b.Contains(a) {
				in++
			}
		}
	}
	switch covers := b.Overlaps(pods); {
	case in == of && of > 0 && !covers:
		return pods.String()
	case in == of && of > 0 || in == 0 && !covers:
		return b.String()
	}
	st.conflicts = fmt.Errorf("block %s holds some of its pods, and addresses of pods cannot be chosen", b)
	return b.String()
}

func listOf(t *testing.T, items []any) string {
	t.Helper()
	text, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
