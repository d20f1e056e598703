package cel

import (
	"maps"
	"slices"
	"strings"
	"testing"
)

// whole is one object, and where and why it is refused.
type whole struct {
	object  string
	field   string // where the refusal must point; empty: the object is accepted
	message string // what it must say
}

// catalogue has whole objects as people write them, keyed by their number in
// the catalogue of refusals. Most are refused by a CEL rule, whose every value
// and place TestRules goes through; some by the schema's own bounds; and 8 and
// 15 by there being no way to write them.
var catalogue = map[string]whole{
	"0 a good NetworkPolicy": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {matchLabels: {app: db}}}
  isolate: Ingress
  severity: High
  message: only backend may reach the database
  tags: [pci]
  expiresAt: "2027-01-31T00:00:00Z"
  ingress:
  - name: backend
    action: Accept
    from:
    - pods: {podSelector: {matchLabels: {app: backend}}}
    - ipBlock: {cidr: 10.20.0.0/16, except: [10.20.9.0/24]}
    protocols: [{tcp: {destinationPort: {number: 5432}}}]
    log: true`},
	"0 a good ClusterwidePolicy": {object: `
kind: ClusterwidePolicy
spec:
  tier: Admin
  priority: 10
  subject: {namespaces: {matchLabels: {restricted: "true"}}}
  egress:
  - {name: metadata-service, action: Deny, to: [{networks: [169.254.169.254/32]}]}
  - {name: rest, action: Pass, to: [{entities: [World]}]}`},

	"1 leading zeros": {
		object:  `{kind: AddressGroup, spec: {cidrs: [10.0.0.0/8, 192.000.002.0/24]}}`,
		field:   "spec.cidrs[1]",
		message: "without leading zeros",
	},
	"1 IPv4-mapped": {
		object:  `{kind: ExternalWorkload, spec: {addresses: ["::ffff:203.0.113.7/128"]}}`,
		field:   "spec.addresses[0]",
		message: "IPv4-mapped IPv6 as plain IPv4",
	},
	"2 host bits": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  egress: [{name: a, action: Deny, to: [{networks: [10.1.2.3/8]}]}]`,
		field:   "spec.egress[0].to[0].networks[0]",
		message: "clear them",
	},
	"3 except outside": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Deny, from: [{ipBlock: {cidr: 10.0.0.0/8, except: [192.0.2.0/24]}}]}]`,
		field:   "spec.ingress[0].from[0].ipBlock",
		message: "every entry of except must lie inside cidr",
	},
	"4 two families": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Deny, from: [{ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/8"]}}]}]`,
		field:   "spec.ingress[0].from[0].ipBlock",
		message: "mix IPv4 and IPv6",
	},
	"5 everything excepted": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Deny, from: [{ipBlock: {cidr: 0.0.0.0/0, except: [0.0.0.0/1, 128.0.0.0/1]}}]}]`,
		field:   "spec.ingress[0].from[0].ipBlock",
		message: "leave nothing of cidr",
	},
	"6 range upside down": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Deny, protocols: [{udp: {destinationPort: {range: {start: 90, end: 80}}}}]}]`,
		field:   "spec.ingress[0].protocols[0].udp.destinationPort.range",
		message: "swap start and end",
	},
	"6 range without a start": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Deny, protocols: [{udp: {destinationPort: {range: {end: 80}}}}]}]`,
		field:   "spec.ingress[0].protocols[0].udp.destinationPort.range.start",
		message: "Required value",
	},
	"7 named port at a CIDR": {object: `
kind: ClusterwidePolicy
spec:
  tier: Baseline
  priority: 1
  subject: {namespaces: {}}
  egress: [{name: a, action: Deny, to: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]}]`,
		field:   "spec.egress[0]",
		message: "have no named ports",
	},
	// The name is looked up at the subject, a pod, and not at the CIDR.
	"7 named port of the subject": {object: `
kind: ClusterwidePolicy
spec:
  tier: Baseline
  priority: 1
  subject: {namespaces: {}}
  ingress: [{name: a, action: Deny, from: [{networks: [10.0.0.0/8]}], protocols: [{destinationNamedPort: http}]}]`},
	"8 ports of ICMP": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Deny, protocols: [{icmp: {destinationPort: {number: 80}}}]}]`,
		field:   "",
		message: `unknown field "spec.ingress[0].protocols[0].icmp.destinationPort"`,
	},
	"9 empty peer": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Accept, from: [{}]}]`,
		field:   "spec.ingress[0].from[0]",
		message: "exactly one of namespaces, pods, nodes",
	},
	"9 a CIDR and a selector": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Accept, from: [{ipBlock: {cidr: 10.0.0.0/8}, namespaces: {}}]}]`,
		field:   "spec.ingress[0].from[0]",
		message: "split two into two peers",
	},
	"9 no networks": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  ingress: [{name: a, action: Accept, from: [{networks: []}]}]`,
		field:   "spec.ingress[0].from[0].networks",
		message: "should have at least 1 items",
	},
	"10 bad key": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {matchLabels: {"a b": v}}}, isolate: Both}}`,
		field:   "spec.subject.pods.matchLabels",
		message: "no label key",
	},
	"10 bad value": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {matchLabels: {app: "a b"}}}, isolate: Both}}`,
		field:   "spec.subject.pods.matchLabels.app",
		message: "should match",
	},
	"10 long value": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {matchLabels: {app: ` + strings.Repeat("v", 64) + `}}}, isolate: Both}}`,
		field:   "spec.subject.pods.matchLabels.app",
		message: "Too long",
	},
	"10 bad key in an expression": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {matchExpressions: [{key: a/b/c, operator: Exists}]}}, isolate: Both}}`,
		field:   "spec.subject.pods.matchExpressions[0].key",
		message: "should match",
	},
	"10 bad operator": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {matchExpressions: [{key: a, operator: Equals}]}}, isolate: Both}}`,
		field:   "spec.subject.pods.matchExpressions[0].operator",
		message: `supported values: "In", "NotIn", "Exists", "DoesNotExist"`,
	},
	"11 nothing": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: None}}`,
		field:   "spec",
		message: "does nothing",
	},
	"11 isolate is never implied": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, ingress: [{name: a, action: Accept}]}}`,
		field:   "spec.isolate",
		message: "Required value",
	},
	"12 rule names in a NetworkPolicy": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: None, ingress: [{name: a, action: Accept}, {name: a, action: Deny}]}}`,
		field:   "spec.ingress[1]",
		message: `Duplicate value: {"name":"a"}`,
	},
	"12 one name in both directions": {
		object: `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: None, ingress: [{name: a, action: Accept}], egress: [{name: a, action: Deny}]}}`,
	},
	"14 priority above": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Admin, priority: 1001, subject: {namespaces: {}}, egress: [{name: a, action: Deny}]}}`,
		field:   "spec.priority",
		message: "should be less than or equal to 1000",
	},
	"14 priority below": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Admin, priority: -1, subject: {namespaces: {}}, egress: [{name: a, action: Deny}]}}`,
		field:   "spec.priority",
		message: "should be greater than or equal to 0",
	},
	"14 no priority": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Admin, subject: {namespaces: {}}, egress: [{name: a, action: Deny}]}}`,
		field:   "spec.priority",
		message: "Required value",
	},
	// There are no DNS names as peers yet, so none can be wrong.
	"15 domain names": {object: `
kind: NetworkPolicy
spec:
  subject: {pods: {}}
  isolate: None
  egress: [{name: a, action: Accept, to: [{domainNames: ["*.example.com"]}]}]`,
		message: `unknown field "spec.egress[0].to[0].domainNames"`,
	},
	"16 no such tier": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Platform, priority: 1, subject: {namespaces: {}}, egress: [{name: a, action: Deny}]}}`,
		field:   "spec.tier",
		message: `supported values: "Admin", "Baseline"`,
	},

	"Pass belongs to ClusterwidePolicy": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: None, ingress: [{name: a, action: Pass}]}}`,
		field:   "spec.ingress[0].action",
		message: `supported values: "Accept", "Deny"`,
	},
	"Allow is a verdict": {
		object:  `{kind: ClusterwidePolicy, spec: {tier: Admin, priority: 1, subject: {namespaces: {}}, egress: [{name: a, action: Allow}]}}`,
		field:   "spec.egress[0].action",
		message: `supported values: "Accept", "Deny", "Pass"`,
	},
	"no such entity": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: None, ingress: [{name: a, action: Deny, from: [{entities: [Internet]}]}]}}`,
		field:   "spec.ingress[0].from[0].entities[0]",
		message: `supported values: "Cluster", "World", "Host", "APIServer"`,
	},
	"no such field": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: Both, policyTypes: [Ingress]}}`,
		message: `unknown field "spec.policyTypes"`,
	},
	"expiry is a time": {
		object:  `{kind: NetworkPolicy, spec: {subject: {pods: {}}, isolate: Both, expiresAt: tomorrow}}`,
		field:   "spec.expiresAt",
		message: "must be of type date-time",
	},
}

func TestCatalogue(t *testing.T) {
	s := startServer(t)
	cases := maps.Clone(catalogue)
	maps.Copy(cases, runtimeCatalogue)
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := s.dryCreate(t.Context(), named(t, tc.object))
			switch {
			case tc.message == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.message != "" && err == nil:
				t.Errorf("accepted; want %s: %s", tc.field, tc.message)
			case tc.message != "" && tc.field == "":
				if !strings.Contains(err.Error(), tc.message) {
					t.Errorf("got %v, want %s", err, tc.message)
				}
			case tc.message != "":
				got := refusals(t, err)
				if !slices.ContainsFunc(got, func(r refusal) bool {
					return r.field == tc.field && strings.Contains(r.message, tc.message)
				}) {
					t.Errorf("got %q, want %s: %s", got, tc.field, tc.message)
				}
			}
		})
	}
}

// named completes an object with what its spec does not decide.
func named(t *testing.T, text string) map[string]any {
	t.Helper()
	object := parse(t, text).(map[string]any)
	object["apiVersion"] = "policy.palisade.dev/v1alpha1"
	meta := map[string]any{"name": "case"}
	switch object["kind"] {
	case "NetworkPolicy", "RuntimePolicy", "ExternalWorkload":
		meta["namespace"] = "default"
	}
	object["metadata"] = meta
	return object
}
