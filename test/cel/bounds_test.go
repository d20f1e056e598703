package cel

import (
	"fmt"
	"maps"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// limit is one size, and a value of any size.
type limit struct {
	kinds []string
	path  string // steps with dots
	max   int
	value func(n int) any
}

// bounds are the sizes that the documents state (13 in the catalogue of
// refusals). Each is accepted, and one more is refused at the same field.
var bounds = map[string]limit{
	"rules": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.ingress", max: 50,
		value: list(func(i int) any { return map[string]any{"name": fmt.Sprintf("r%d", i), "action": "Deny"} }),
	},
	"egress rules": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.egress", max: 50,
		value: list(func(i int) any { return map[string]any{"name": fmt.Sprintf("r%d", i), "action": "Deny"} }),
	},
	"ingress peers": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.ingress.[].from", max: 50,
		value: list(func(int) any { return map[string]any{"nodes": map[string]any{}} }),
	},
	"egress peers": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.egress.[].to", max: 50,
		value: list(func(int) any { return map[string]any{"nodes": map[string]any{}} }),
	},
	"ingress protocols": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.ingress.[].protocols", max: 50,
		value: list(func(int) any { return map[string]any{"tcp": map[string]any{}} }),
	},
	"egress protocols": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.egress.[].protocols", max: 50,
		value: list(func(int) any { return map[string]any{"tcp": map[string]any{}} }),
	},
	"excepts": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.ingress.[].from.[].ipBlock.except", max: 16,
		value: list(func(i int) any { return fmt.Sprintf("10.%d.0.0/16", i) }),
	},
	"networks": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.egress.[].to.[].networks", max: 25,
		value: list(func(i int) any { return fmt.Sprintf("10.%d.0.0/16", i) }),
	},
	"address groups": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.egress.[].to.[].addressGroups", max: 25,
		value: list(func(i int) any { return fmt.Sprintf("group-%d", i) }),
	},
	"message":     {kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.message", max: 256, value: text},
	"tag":         {kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.tags.[]", max: 63, value: text},
	"rule name":   {kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.ingress.[].name", max: 63, value: text},
	"label value": {kinds: []string{"NetworkPolicy"}, path: "spec.subject.pods.matchLabels.{}", max: 63, value: text},
	"label key":   {kinds: []string{"NetworkPolicy"}, path: "spec.subject.pods.matchExpressions.[].key", max: 253, value: func(n int) any { return strings.Repeat("p", n-2) + "/n" }},
	"tags": {
		kinds: []string{"NetworkPolicy", "ClusterwidePolicy"}, path: "spec.tags", max: 16,
		value: list(func(i int) any { return fmt.Sprintf("tag-%d", i) }),
	},
	"matchLabels": {
		kinds: []string{"NetworkPolicy"}, path: "spec.subject.pods.matchLabels", max: 16,
		value: func(n int) any {
			labels := map[string]any{}
			for i := range n {
				labels[fmt.Sprintf("key-%d", i)] = "v"
			}
			return labels
		},
	},
	"matchExpressions": {
		kinds: []string{"NetworkPolicy"}, path: "spec.subject.pods.matchExpressions", max: 8,
		value: list(func(i int) any { return map[string]any{"key": fmt.Sprintf("key-%d", i), "operator": "Exists"} }),
	},
	"values": {
		kinds: []string{"NetworkPolicy"}, path: "spec.subject.pods.matchExpressions.[]", max: 32,
		value: func(n int) any {
			return map[string]any{"key": "k", "operator": "In", "values": list(func(i int) any { return fmt.Sprint(i) })(n)}
		},
	},
	"priority": {kinds: []string{"ClusterwidePolicy"}, path: "spec.priority", max: 1000, value: number},
	"port":     {kinds: []string{"NetworkPolicy"}, path: "spec.ingress.[].protocols.[].tcp.destinationPort.number", max: 65535, value: number},
	"type":     {kinds: []string{"NetworkPolicy"}, path: "spec.ingress.[].protocols.[].icmp.type", max: 255, value: number},
	"addresses": {
		kinds: []string{"ExternalWorkload"}, path: "spec.addresses", max: 16,
		value: list(func(i int) any { return fmt.Sprintf("203.0.113.%d/32", i) }),
	},
	"ports": {
		kinds: []string{"ExternalWorkload"}, path: "spec.ports", max: 50,
		value: list(func(i int) any { return map[string]any{"name": fmt.Sprintf("p%d", i), "port": int64(i + 1)} }),
	},
	"CIDRs": {
		kinds: []string{"AddressGroup"}, path: "spec.cidrs", max: 1000,
		value: list(func(i int) any { return fmt.Sprintf("10.%d.%d.0/24", i/256, i%256) }),
	},
}

func list(item func(int) any) func(int) any {
	return func(n int) any {
		items := make([]any, n)
		for i := range items {
			items[i] = item(i)
		}
		return items
	}
}

func text(n int) any { return strings.Repeat("t", n) }

func number(n int) any { return int64(n) }

func TestBounds(t *testing.T) {
	s := startServer(t)
	crds := loadCRDs(t)
	all := maps.Clone(bounds)
	maps.Copy(all, runtimeBounds())
	for name, tc := range all {
		for _, kind := range tc.kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				path := strings.Split(tc.path, ".")
				if err := s.dryCreate(t.Context(), build(crds[kind], path, tc.value(tc.max))); err != nil {
					t.Errorf("%d refused: %v", tc.max, err)
				}
				got := refusals(t, s.dryCreate(t.Context(), build(crds[kind], path, tc.value(tc.max+1))))
				if len(got) == 0 || !strings.HasPrefix(got[0].field, strings.TrimSuffix(fieldOf(path), "[k]")) {
					t.Errorf("%d: got %q, want a refusal of %s", tc.max+1, got, fieldOf(path))
				}
			})
		}
	}
}

// TestLargest stores policies that are at several bounds at once, as large as
// the API server's own limit on a request's size lets them be: judging them must
// stay inside the budget that CEL has at run time, too.
func TestLargest(t *testing.T) {
	s := startServer(t)
	labels := map[string]any{}
	for i := range 4 {
		labels[fmt.Sprintf("example.com/key-%d", i)] = "some-value"
	}
	selector := map[string]any{"matchLabels": labels}
	everything := list(func(int) any { return map[string]any{"destinationNamedPort": "fifteen-letters"} })(50)
	for name, tc := range map[string]struct {
		kind       string
		directions []string
		peer       map[string]any
		protocols  any
	}{
		"pods": {
			kind: "NetworkPolicy", directions: []string{"ingress", "egress"},
			peer: map[string]any{"pods": map[string]any{"podSelector": selector}},
		},
		"pods of namespaces": {
			kind: "ClusterwidePolicy", directions: []string{"egress"},
			peer: map[string]any{"pods": map[string]any{"namespaceSelector": selector, "podSelector": selector}},
		},
		"blocks with excepts": {
			kind: "NetworkPolicy", directions: []string{"ingress"},
			peer: map[string]any{"ipBlock": map[string]any{
				"cidr": "10.0.0.0/8", "except": list(func(i int) any { return fmt.Sprintf("10.%d.0.0/16", i) })(16),
			}},
		},
		"IPv6 blocks with excepts": {
			kind: "ClusterwidePolicy", directions: []string{"egress"},
			peer: map[string]any{"ipBlock": map[string]any{
				"cidr": "2001:db8::/32", "except": list(func(i int) any { return fmt.Sprintf("2001:db8:%x::/48", i+4096) })(16),
			}},
		},
		"networks": {
			kind: "ClusterwidePolicy", directions: []string{"ingress"},
			peer: map[string]any{"networks": list(func(i int) any { return fmt.Sprintf("203.0.113.%d/32", i) })(25)},
		},
		"named ports": {
			kind: "NetworkPolicy", directions: []string{"ingress", "egress"},
			peer: map[string]any{"namespaces": map[string]any{}}, protocols: everything,
		},
	} {
		t.Run(name, func(t *testing.T) {
			spec := map[string]any{"subject": map[string]any{"pods": map[string]any{}}, "isolate": "Both"}
			if tc.kind == "ClusterwidePolicy" {
				spec = map[string]any{"tier": "Admin", "priority": int64(1), "subject": map[string]any{"namespaces": map[string]any{}}}
			}
			for _, direction := range tc.directions {
				peers := map[string]string{"ingress": "from", "egress": "to"}[direction]
				spec[direction] = list(func(i int) any {
					rule := map[string]any{
						"name": fmt.Sprintf("rule-%d", i), "action": "Deny",
						peers: list(func(int) any { return tc.peer })(50),
					}
					if tc.protocols != nil {
						rule["protocols"] = tc.protocols
					}
					return rule
				})(50)
			}
			object := &unstructured.Unstructured{Object: named(t, "{kind: "+tc.kind+"}")}
			object.Object["spec"] = spec
			if err := s.strict.Create(t.Context(), object); err != nil {
				t.Fatalf("refused: %.500v", err)
			}
			if err := s.strict.Delete(t.Context(), object); err != nil {
				t.Fatal(err)
			}
		})
	}
}
