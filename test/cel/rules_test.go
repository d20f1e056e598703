package cel

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"
)

// ruleCase holds what one CEL rule accepts and refuses. Values are YAML for what
// the rule calls self; what the schema requires beside is added by build.
type ruleCase struct {
	// message begins the rule's message and is how the rule is found.
	message string
	// old is the value before, for a rule about changes.
	old string
	// below limits the case to places whose field holds this text; there it goes
	// before a case without.
	below string
	// beside begins the message of another rule that refuses every value of this
	// case, also those that this rule accepts.
	beside string
	accept []string
	refuse []string
}

// allRuleCases joins the cases of all files.
func allRuleCases() map[string]ruleCase {
	all := maps.Clone(ruleCases)
	maps.Copy(all, runtimeRuleCases)
	return all
}

// ruleCases is keyed by the rule's number in the catalogue of refusals, or by
// what the rule is about if the catalogue does not have it.
var ruleCases = map[string]ruleCase{
	"1 CIDR": {
		message: "no CIDR: ",
		accept:  []string{"10.20.0.0/16", "fd00:20::/64", "192.0.2.1/32"},
		refuse:  []string{"nonsense", "10.20.0.0", "010.20.0.0/16", "10.20.0.0/016", "10.20.0.0/33", "::ffff:10.20.0.0/112", "fe80::%eth0/64"},
	},
	"1 address": {
		message: "no address: ",
		accept:  []string{"203.0.113.7/32", "2001:db8::7/128"},
		refuse:  []string{"203.0.113.7", "203.0.113.007/32", "vm-7.example.com", "::ffff:203.0.113.7/128"},
	},
	"2 host bits": {
		message: "bits are set after the prefix length: ",
		accept:  []string{"10.20.0.0/16", "2001:db8:8000::/33"},
		refuse:  []string{"10.20.0.1/16", "2001:db8::1/64", "10.128.0.0/8"},
	},
	"2 whole address": {
		message: "an external workload has single addresses: ",
		accept:  []string{"203.0.113.7/32", "2001:db8::7/128"},
		refuse:  []string{"203.0.113.0/24", "2001:db8::/127", "2001:db8::/32"},
	},
	"unicast address": {
		message: "unspecified, loopback, link-local",
		accept:  []string{"10.9.8.7/32", "fd00::7/128"},
		refuse:  []string{"0.0.0.0/32", "127.0.0.1/32", "169.254.1.1/32", "224.0.0.1/32", "255.255.255.255/32", "::1/128", "fe80::1/128", "ff02::1/128"},
	},
	"3 strict subset": {
		message: "every entry of except must lie inside cidr",
		accept: []string{
			`{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 10.2.0.0/16]}`,
			`{cidr: "2001:db8::/32", except: ["2001:db8:1::/48"]}`,
			`{cidr: 10.0.0.0/8, except: []}`,
		},
		refuse: []string{
			`{cidr: 10.0.0.0/8, except: [10.0.0.0/8]}`,
			`{cidr: 10.0.0.0/8, except: [0.0.0.0/0]}`,
			`{cidr: 10.0.0.0/8, except: [10.1.0.0/16, 192.0.2.0/24]}`,
			`{cidr: "2001:db8::/32", except: ["2001:db9::/48"]}`,
		},
	},
	"4 one family": {
		message: "cidr and except mix IPv4 and IPv6",
		accept:  []string{`{cidr: 10.0.0.0/8, except: [10.1.0.0/16]}`, `{cidr: "::/0", except: ["fd00::/8"]}`},
		refuse:  []string{`{cidr: 10.0.0.0/8, except: ["fd00::/16"]}`, `{cidr: "::/0", except: [10.0.0.0/8]}`},
	},
	"5 negated catch-all": {
		message: "the entries of except leave nothing of cidr",
		accept: []string{
			`{cidr: 0.0.0.0/0, except: [0.0.0.0/1, 128.0.0.0/2]}`,
			`{cidr: "::/0", except: ["::/1", "8000::/2", "c000::/3"]}`,
			`{cidr: 10.0.0.0/8, except: [10.1.2.3/32]}`,
		},
		refuse: []string{
			`{cidr: 0.0.0.0/0, except: [0.0.0.0/1, 128.0.0.0/1]}`,
			`{cidr: "::/0", except: ["::/1", "8000::/1"]}`,
			`{cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.128.0.0/10, 10.192.0.0/10]}`,
			// Redundant, and refused for that.
			`{cidr: 10.0.0.0/8, except: [10.0.0.0/9, 10.0.0.0/10, 10.64.0.0/10]}`,
		},
	},
	"6 range": {
		message: "the range's end is below its start",
		accept:  []string{`{start: 80, end: 90}`, `{start: 80, end: 80}`, `{start: 1, end: 65535}`},
		refuse:  []string{`{start: 90, end: 80}`, `{start: 65535, end: 1}`},
	},
	"6 ICMP code": {
		message: "an ICMP code means nothing without its type",
		accept:  []string{`{}`, `{type: 0}`, `{type: 3, code: 0}`},
		refuse:  []string{`{code: 0}`, `{code: 4}`},
	},
	"7 named port": {
		message: "destinationNamedPort cannot be used with",
		accept: []string{
			`{protocols: [{destinationNamedPort: http}]}`,
			`{protocols: [{destinationNamedPort: http}], to: []}`,
			`{protocols: [{destinationNamedPort: http}], to: [{namespaces: {}}, {entities: [Cluster]}]}`,
			`{protocols: [{tcp: {}}], to: [{networks: [10.0.0.0/8]}]}`,
		},
		refuse: []string{
			`{protocols: [{destinationNamedPort: http}], to: [{nodes: {}}]}`,
			`{protocols: [{destinationNamedPort: http}], to: [{ipBlock: {cidr: 10.0.0.0/8}}]}`,
			`{protocols: [{destinationNamedPort: http}], to: [{networks: ["fd00::/8"]}]}`,
			`{protocols: [{destinationNamedPort: http}], to: [{addressGroups: [office]}]}`,
			`{protocols: [{destinationNamedPort: http}], to: [{entities: [Cluster, World]}]}`,
			`{protocols: [{destinationNamedPort: http}], to: [{entities: [Host]}]}`,
			`{protocols: [{destinationNamedPort: http}], to: [{entities: [APIServer]}]}`,
			`{protocols: [{tcp: {}}, {destinationNamedPort: http}], to: [{namespaces: {}}, {nodes: {}}]}`,
		},
	},
	"9 peer": {
		message: "a peer has exactly one of",
		accept: []string{
			`{namespaces: {}}`, `{pods: {podSelector: {}, namespaceSelector: {}}}`, `{nodes: {}}`,
			`{externalWorkloads: {selector: {}, namespaceSelector: {}}}`, `{ipBlock: {cidr: 10.0.0.0/8}}`,
			`{networks: [10.0.0.0/8, "fd00::/8"]}`, `{addressGroups: [office, hq.example]}`,
			`{entities: [Cluster, World, Host, APIServer]}`,
		},
		refuse: []string{
			`{}`,
			`{namespaces: {}, nodes: {}}`,
			`{namespaces: {}, networks: [10.0.0.0/8]}`,
			`{ipBlock: {cidr: 10.0.0.0/8}, pods: {podSelector: {}, namespaceSelector: {}}}`,
			`{ipBlock: {cidr: 10.0.0.0/8}, externalWorkloads: {selector: {}, namespaceSelector: {}}}`,
			`{addressGroups: [office], entities: [World]}`,
		},
	},
	"9 protocol": {
		message: "a protocol has exactly one of",
		accept: []string{
			`{tcp: {}}`, `{udp: {destinationPort: {number: 53}}}`, `{sctp: {destinationPort: {range: {start: 1, end: 2}}}}`,
			`{icmp: {}}`, `{icmpv6: {type: 128}}`, `{destinationNamedPort: http}`,
		},
		refuse: []string{
			`{}`, `{tcp: {}, udp: {}}`, `{icmp: {}, icmpv6: {}}`, `{destinationNamedPort: http, sctp: {}}`, `{tcp: {}, destinationNamedPort: http}`,
		},
	},
	"9 port": {
		message: "destinationPort has exactly one of number and range",
		accept:  []string{`{number: 1}`, `{number: 65535}`, `{range: {start: 1, end: 2}}`},
		refuse:  []string{`{}`, `{number: 1, range: {start: 1, end: 2}}`},
	},
	"9 subject": {
		message: "subject has exactly one of pods and externalWorkloads",
		accept:  []string{`{pods: {}}`, `{externalWorkloads: {}}`},
		refuse:  []string{`{}`, `{pods: {}, externalWorkloads: {}}`},
	},
	"9 clusterwide subject": {
		message: "subject has exactly one of namespaces, pods, externalWorkloads and nodes",
		accept: []string{
			`{namespaces: {}}`, `{pods: {namespaceSelector: {}, podSelector: {}}}`,
			`{externalWorkloads: {namespaceSelector: {}, selector: {}}}`, `{nodes: {}}`,
			`{namespaces: {}, containers: [app]}`,
		},
		refuse: []string{
			`{}`,
			`{containers: [app]}`,
			`{namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}`,
			`{namespaces: {}, externalWorkloads: {namespaceSelector: {}, selector: {}}}`,
			`{pods: {namespaceSelector: {}, podSelector: {}}, externalWorkloads: {namespaceSelector: {}, selector: {}}}`,
			`{nodes: {}, namespaces: {}}`,
		},
	},
	"9 clusterwide ingress peer": {
		message: "a ClusterwidePolicy has no namespace of its own: give each pods and externalWorkloads peer in from",
		accept: []string{
			`{from: [{pods: {namespaceSelector: {}, podSelector: {}}}]}`,
			`{from: [{externalWorkloads: {namespaceSelector: {}, selector: {}}}, {nodes: {}}]}`,
			`{from: []}`, `{}`,
		},
		refuse: []string{
			`{from: [{pods: {podSelector: {}}}]}`,
			`{from: [{nodes: {}}, {externalWorkloads: {selector: {}}}]}`,
		},
	},
	"9 clusterwide egress peer": {
		message: "a ClusterwidePolicy has no namespace of its own: give each pods and externalWorkloads peer in to",
		accept: []string{
			`{to: [{pods: {namespaceSelector: {}, podSelector: {}}}]}`,
			`{to: [{externalWorkloads: {namespaceSelector: {}, selector: {}}}, {nodes: {}}]}`,
			`{to: []}`, `{}`,
		},
		refuse: []string{
			`{to: [{pods: {podSelector: {}}}]}`,
			`{to: [{nodes: {}}, {externalWorkloads: {selector: {}}}]}`,
		},
	},
	"10 label keys": {
		message: "a key of matchLabels is no label key",
		accept: []string{
			`{app: db}`, `{app.kubernetes.io/name: db}`, `{A_b.c-d: ""}`,
			"{" + strings.Repeat("n", 63) + ": v}", "{" + strings.Repeat("p", 248) + "/name: v}",
		},
		refuse: []string{
			`{"": v}`, `{"a b": v}`, `{-app: v}`, `{app-: v}`, `{/app: v}`, `{a/b/c: v}`, `{UPPER.example/app: v}`, `{a..b/app: v}`,
			"{" + strings.Repeat("n", 64) + ": v}", "{" + strings.Repeat("p", 249) + "/name: v}",
		},
	},
	"10 values and operator": {
		message: "In and NotIn need at least one entry in values",
		accept: []string{
			`{key: app, operator: In, values: [a, b]}`, `{key: app, operator: NotIn, values: [""]}`,
			`{key: app, operator: Exists}`, `{key: app, operator: DoesNotExist, values: []}`,
		},
		refuse: []string{
			`{key: app, operator: In}`, `{key: app, operator: NotIn, values: []}`,
			`{key: app, operator: Exists, values: [a]}`, `{key: app, operator: DoesNotExist, values: [a]}`,
		},
	},
	"11 policy": {
		message: "the policy does nothing: set isolate",
		accept: []string{
			`{isolate: Ingress}`, `{isolate: Egress}`, `{isolate: Both}`,
			`{isolate: None, ingress: [{name: a, action: Deny}]}`, `{isolate: None, egress: [{name: a, action: Deny}]}`,
		},
		refuse: []string{`{isolate: None}`, `{isolate: None, ingress: []}`, `{isolate: None, ingress: [], egress: []}`},
	},
	"11 clusterwide policy": {
		message: "the policy does nothing: add a rule",
		accept: []string{
			`{ingress: [{name: a, action: Pass}]}`, `{egress: [{name: a, action: Deny}]}`,
			`{runtime: {files: {rules: [{name: a, action: Kill}]}}}`,
		},
		refuse: []string{`{}`, `{ingress: []}`, `{ingress: [], egress: []}`},
	},
	"12 clusterwide ingress": {
		message: "two ingress rules have the same name",
		accept:  []string{`[{name: a, action: Deny}, {name: b, action: Deny}]`},
		refuse: []string{
			`[{name: a, action: Deny}, {name: a, action: Accept}]`,
			`[{name: a, action: Deny}, {name: b, action: Pass}, {name: a, action: Deny}]`,
		},
	},
	"12 clusterwide egress": {
		message: "two egress rules have the same name",
		accept:  []string{`[{name: a, action: Deny}, {name: b, action: Deny}]`},
		refuse: []string{
			`[{name: a, action: Deny}, {name: a, action: Accept}]`,
			`[{name: a, action: Deny}, {name: b, action: Pass}, {name: a, action: Deny}]`,
		},
	},
	"16 tier": {
		message: "tier cannot be changed",
		old:     "Admin",
		accept:  []string{"Admin"},
		refuse:  []string{"Baseline"},
	},
	"rule name": {
		message: "a rule's name is a DNS label",
		accept:  []string{"a", "backend-to-db", "9-lives", strings.Repeat("n", 63)},
		refuse:  []string{"Backend", "a_b", "-a", "a-", "a.b", "a b"},
	},
	"port name": {
		message: "a port's name has at most 15",
		accept:  []string{"http", "a", "p2p-9", "fifteen-letters"},
		refuse:  []string{`"8080"`, "HTTP", "-http", "http-", "a--b", "a_b"},
	},
}

// TestRules judges every value of every rule at every place where the rule
// stands, and fails if a rule of the CRDs has no case.
func TestRules(t *testing.T) {
	s := startServer(t)
	used := map[string]bool{}
	crds := loadCRDs(t)
	cases := allRuleCases()
	for _, kind := range slices.Sorted(maps.Keys(crds)) {
		crd := crds[kind]
		for _, at := range sites(kind, schemaOf(crd)) {
			name, c := caseOf(t, cases, at)
			if c == nil {
				continue
			}
			used[name] = true
			judge := func(value any) error { return s.dryCreate(t.Context(), build(crd, at.path, value)) }
			if c.old != "" {
				before := &unstructured.Unstructured{Object: build(crd, at.path, parse(t, c.old))}
				before.SetName("before")
				if err := s.strict.Create(t.Context(), before); err != nil {
					t.Fatal(err)
				}
				judge = func(value any) error {
					after := &unstructured.Unstructured{Object: build(crd, at.path, value)}
					after.SetName("before")
					after.SetResourceVersion(before.GetResourceVersion())
					return s.strict.Update(t.Context(), after, client.DryRunAll)
				}
			}
			t.Run(fmt.Sprintf("%s/%s/%s", name, kind, fieldOf(at.path)), func(t *testing.T) {
				c.check(t, fieldOf(at.path), judge)
			})
		}
	}
	for name := range cases {
		if !used[name] {
			t.Errorf("%s: no CEL rule's message begins so: %q", name, cases[name].message)
		}
	}
}

// caseOf finds the cases of the rule at a site.
func caseOf(t *testing.T, cases map[string]ruleCase, at site) (string, *ruleCase) {
	t.Helper()
	var name string
	for candidate, c := range cases {
		if !strings.HasPrefix(at.rule.Message, c.message) || !strings.Contains(fieldOf(at.path), c.below) {
			continue
		}
		switch {
		case name == "" || cases[name].below == "" && c.below != "":
			name = candidate
		case c.below == "" && cases[name].below != "":
		default:
			t.Errorf("the message %q fits both %q and %q", at.rule.Message, name, candidate)
		}
	}
	if name == "" {
		t.Errorf("%s %s: no case for the CEL rule %q (%s)", at.kind, fieldOf(at.path), at.rule.Rule, at.rule.Message)
		return "", nil
	}
	c := cases[name]
	if len(c.accept) == 0 || len(c.refuse) == 0 {
		t.Errorf("%s: needs a value that the rule accepts and one that it refuses", name)
	}
	return name, &c
}

// check judges each value. A refusal must name the field, say the rule's
// message and say nothing else: a second message would confuse its reader.
func (c ruleCase) check(t *testing.T, field string, judge func(any) error) {
	t.Helper()
	ask := func(value any) []refusal {
		got := refusals(t, judge(value))
		if c.beside == "" {
			return got
		}
		others := slices.DeleteFunc(got, func(r refusal) bool { return strings.Contains(r.message, c.beside) })
		if len(others) == len(got) {
			t.Errorf("%v: got %q, want also %s…", value, got, c.beside)
		}
		return others
	}
	for _, text := range c.accept {
		if got := ask(parse(t, text)); len(got) != 0 {
			t.Errorf("refused %s: %q", text, got)
		}
	}
	for _, text := range c.refuse {
		got := ask(parse(t, text))
		if len(got) != 1 || got[0].field != field || !strings.Contains(got[0].message, c.message) {
			t.Errorf("%s: got %q, want one refusal of %s: %s…", text, got, field, c.message)
		}
	}
}

func parse(t *testing.T, text string) any {
	t.Helper()
	var value any
	if err := yaml.Unmarshal([]byte(text), &value); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return value
}
