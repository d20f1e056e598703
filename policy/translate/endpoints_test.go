package translate

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

func read[T any](t *testing.T, text string) *T {
	t.Helper()
	out := new(T)
	if err := yaml.UnmarshalStrict([]byte(text), out); err != nil {
		t.Fatal(err)
	}
	return out
}

func addrs(list ...string) []netip.Addr {
	var out []netip.Addr
	for _, s := range list {
		out = append(out, netip.MustParseAddr(s))
	}
	return out
}

func TestPod(t *testing.T) {
	const whole = `
metadata: {namespace: shop, name: web, uid: u1, labels: {app: web}}
spec:
  nodeName: n1
  serviceAccountName: robot
  initContainers:
  - {name: setup, ports: [{name: once, containerPort: 1}]}
  - {name: proxy, restartPolicy: Always, ports: [{name: admin, containerPort: 15000}]}
  containers:
  - name: web
    ports: [{name: http, containerPort: 8080}, {containerPort: 9}, {name: dns, protocol: UDP, containerPort: 53}]
status: {phase: Running, podIP: 10.0.0.9, podIPs: [{ip: "fd00::5"}, {ip: 10.0.0.5}]}
`
	for name, tc := range map[string]struct {
		pod  string
		want model.Endpoint
		none bool
	}{
		"whole": {
			pod: whole,
			want: model.Endpoint{
				ID: model.EndpointID{Namespace: "shop", Name: "web"}, UID: "u1", Labels: map[string]string{"app": "web"},
				ServiceAccount: "robot", Node: "n1", Addresses: addrs("10.0.0.5", "fd00::5"),
				Ports: []model.NamedPort{{Name: "admin", Proto: model.ProtoTCP, Port: 15000}, {Name: "dns", Proto: model.ProtoUDP, Port: 53}, {Name: "http", Proto: model.ProtoTCP, Port: 8080}},
			},
		},
		"before it has anything": {
			pod:  `{metadata: {namespace: shop, name: web}}`,
			want: model.Endpoint{ID: model.EndpointID{Namespace: "shop", Name: "web"}, UID: "shop/web"},
		},
		"podIP alone": {
			pod:  `{metadata: {namespace: shop, name: web}, status: {podIP: "::ffff:10.0.0.1"}}`,
			want: model.Endpoint{ID: model.EndpointID{Namespace: "shop", Name: "web"}, UID: "shop/web", Addresses: addrs("10.0.0.1")},
		},
		"host network": {
			pod:  `{metadata: {namespace: a, name: x, uid: u}, spec: {nodeName: n1, hostNetwork: true, containers: [{name: c, ports: [{name: p, containerPort: 7}]}]}, status: {podIPs: [{ip: 10.0.0.1}]}}`,
			want: model.Endpoint{ID: model.EndpointID{Namespace: "a", Name: "x"}, UID: "u", Node: "n1", HostNetwork: true},
		},
		"a static pod's mirror": {
			pod:  `{metadata: {namespace: a, name: x, uid: u, annotations: {kubernetes.io/config.mirror: 0123456789abcdef0123456789abcdef, kubernetes.io/config.hash: 0123456789abcdef0123456789abcdef}}}`,
			want: model.Endpoint{ID: model.EndpointID{Namespace: "a", Name: "x"}, UID: "u", ConfigHash: "0123456789abcdef0123456789abcdef"},
		},
		"a hash that is another's UID": {
			pod:  `{metadata: {namespace: a, name: x, uid: u, annotations: {kubernetes.io/config.mirror: "", kubernetes.io/config.hash: 01234567-89ab-cdef-0123-456789abcdef}}}`,
			want: model.Endpoint{ID: model.EndpointID{Namespace: "a", Name: "x"}, UID: "u"},
		},
		"a hash of no mirror": {
			pod:  `{metadata: {namespace: a, name: x, uid: u, annotations: {kubernetes.io/config.hash: 0123456789abcdef0123456789abcdef}}}`,
			want: model.Endpoint{ID: model.EndpointID{Namespace: "a", Name: "x"}, UID: "u"},
		},
		"succeeded":             {pod: `{metadata: {name: x}, status: {phase: Succeeded, podIP: 10.0.0.1}}`, none: true},
		"failed":                {pod: `{metadata: {name: x}, status: {phase: Failed, podIP: 10.0.0.1}}`, none: true},
		"leaving is still here": {pod: `{metadata: {namespace: a, name: x, deletionTimestamp: "2026-01-01T00:00:00Z"}}`, want: model.Endpoint{ID: model.EndpointID{Namespace: "a", Name: "x"}, UID: "a/x"}},
	} {
		t.Run(name, func(t *testing.T) {
			got, is, err := Pod(read[corev1.Pod](t, tc.pod))
			if err != nil {
				t.Fatal(err)
			}
			if is == tc.none {
				t.Errorf("is an endpoint: %v", is)
			}
			if d := cmp.Diff(tc.want, got, compare); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestPodRefuses(t *testing.T) {
	for name, tc := range map[string]struct{ pod, want string }{
		"address":  {`{metadata: {namespace: a, name: x}, status: {podIPs: [{ip: nonsense}]}}`, `pod/a/x: status.podIPs[0].ip: "nonsense" is no IP address`},
		"port":     {`{metadata: {namespace: a, name: x}, spec: {containers: [{name: c, ports: [{name: p, containerPort: 70000}]}]}}`, "pod/a/x: spec.containers[0].ports[0].containerPort: 70000 is no port"},
		"protocol": {`{metadata: {namespace: a, name: x}, spec: {containers: [{name: c, ports: [{name: p, protocol: X, containerPort: 7}]}]}}`, "spec.containers[0].ports[0].protocol"},
	} {
		t.Run(name, func(t *testing.T) {
			_, is, err := Pod(read[corev1.Pod](t, tc.pod))
			if is || err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("endpoint %v, error %v, want %q", is, err, tc.want)
			}
		})
	}
}

func TestNode(t *testing.T) {
	got, err := Node(read[corev1.Node](t, `
metadata: {name: n1, labels: {zone: z}}
spec: {podCIDRs: [10.1.0.0/24, "fd00:1::/64"]}
status: {addresses: [{type: Hostname, address: n1}, {type: InternalIP, address: 192.168.0.7}, {type: ExternalIP, address: "2001:db8::7"}, {type: InternalIP, address: 192.168.0.7}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := model.Endpoint{
		ID: model.EndpointID{Kind: model.EndpointNode, Name: "n1"}, Node: "n1", Labels: map[string]string{"zone": "z"},
		Addresses: addrs("192.168.0.7", "2001:db8::7"),
		PodRanges: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24"), netip.MustParsePrefix("fd00:1::/64")},
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
	if _, err := Node(read[corev1.Node](t, `{metadata: {name: n1}, spec: {podCIDR: x}}`)); err == nil || !strings.Contains(err.Error(), "node/n1: spec.podCIDR[0]") {
		t.Errorf("a bad range: %v", err)
	}
}

func TestNamespace(t *testing.T) {
	ns := read[corev1.Namespace](t, `{metadata: {name: shop, labels: {team: a}}}`)
	want := model.Namespace{Name: "shop", Labels: map[string]string{"team": "a", "kubernetes.io/metadata.name": "shop"}}
	if d := cmp.Diff(want, Namespace(ns)); d != "" {
		t.Error(d)
	}
	if _, changed := ns.Labels["kubernetes.io/metadata.name"]; changed {
		t.Error("the object was changed")
	}
}

func TestExternalWorkload(t *testing.T) {
	got, err := ExternalWorkload(read[v1alpha1.ExternalWorkload](t, `
metadata: {namespace: shop, name: vm, labels: {app: legacy}}
spec: {addresses: [203.0.113.7/32, "2001:db8::7/128"], ports: [{name: web, port: 80}, {name: dns, protocol: UDP, port: 53}]}
`))
	if err != nil {
		t.Fatal(err)
	}
	want := model.Endpoint{
		ID: model.EndpointID{Kind: model.EndpointExternal, Namespace: "shop", Name: "vm"}, Labels: map[string]string{"app": "legacy"},
		Addresses: addrs("203.0.113.7", "2001:db8::7"),
		Ports:     []model.NamedPort{{Name: "dns", Proto: model.ProtoUDP, Port: 53}, {Name: "web", Proto: model.ProtoTCP, Port: 80}},
	}
	if d := cmp.Diff(want, got, compare); d != "" {
		t.Error(d)
	}
	for name, tc := range map[string]struct{ spec, want string }{
		"range":       {`{addresses: [203.0.113.0/24]}`, "pew/shop/vm: spec.addresses[0]: 203.0.113.0/24 is no single address"},
		"no prefix":   {`{addresses: [203.0.113.7]}`, `spec.addresses[0]: "203.0.113.7" is no CIDR`},
		"IPv4-mapped": {`{addresses: ["::ffff:1.2.3.4/128"]}`, "write it as plain IPv4"},
		"port":        {`{addresses: [1.2.3.4/32], ports: [{name: a, port: 0}]}`, "spec.ports[0].port: 0 is no port"},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.ExternalWorkload{Spec: *read[v1alpha1.ExternalWorkloadSpec](t, tc.spec)}
			w.Namespace, w.Name = "shop", "vm"
			if _, err := ExternalWorkload(w); err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%v, want %q", err, tc.want)
			}
		})
	}
}

func TestAddressGroup(t *testing.T) {
	g := &v1alpha1.AddressGroup{Spec: v1alpha1.AddressGroupSpec{CIDRs: []v1alpha1.CIDR{"fd00::/8", "10.0.0.0/8", "10.0.0.0/8"}}}
	g.Name = "office"
	got, err := AddressGroup(g)
	want := model.AddressGroup{Name: "office", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}}
	if d := cmp.Diff(want, got, compare); d != "" || err != nil {
		t.Error(d, err)
	}
	g.Spec.CIDRs = append(g.Spec.CIDRs, "10.0.0.1/8")
	if _, err := AddressGroup(g); err == nil || !strings.Contains(err.Error(), "pag/office: spec.cidrs[3]") || !strings.Contains(err.Error(), "10.0.0.0/8") {
		t.Errorf("bits after the prefix: %v", err)
	}
}

func TestAPIServer(t *testing.T) {
	slice := func(ns, service string, list ...string) discoveryv1.EndpointSlice {
		s := discoveryv1.EndpointSlice{Endpoints: []discoveryv1.Endpoint{{Addresses: list}}}
		s.Namespace, s.Name = ns, service+"-1"
		s.Labels = map[string]string{discoveryv1.LabelServiceName: service}
		return s
	}
	got, err := APIServer([]discoveryv1.EndpointSlice{
		slice("default", "kubernetes", "192.168.0.2", "192.168.0.1"), slice("default", "kubernetes", "fd00::1", "192.168.0.1"),
		slice("default", "other", "1.2.3.4"), slice("evil", "kubernetes", "6.6.6.6"),
	})
	if d := cmp.Diff(addrs("192.168.0.1", "192.168.0.2", "fd00::1"), got, compare); d != "" || err != nil {
		t.Error(d, err)
	}
	if _, err := APIServer([]discoveryv1.EndpointSlice{slice("default", "kubernetes", "x")}); err == nil {
		t.Error("no address, and no error")
	}
}
