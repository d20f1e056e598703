package propose

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"palisade.dev/palisade/api/v1alpha1"
)

func text(t *testing.T, p Proposal) string {
	t.Helper()
	b, err := yaml.Marshal(p.Rules)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestPropose(t *testing.T) {
	addr := netip.MustParseAddr
	seen := []Observation{
		{Pod: "shop/db-0", Executable: "/usr/bin/postgres", Origin: v1alpha1.OriginImage},
		{Pod: "shop/db-1", Executable: "/usr/bin/postgres", Origin: v1alpha1.OriginImage},
		{Pod: "shop/db-0", Executable: "/tmp/plugin", Origin: v1alpha1.OriginModified},
		{Pod: "shop/db-0", Executable: "/usr/lib/libc.so.6", Origin: v1alpha1.OriginImage, Mapping: true},
		{Pod: "shop/db-0", File: "/etc/passwd", Operations: []v1alpha1.FileOperation{v1alpha1.FileRead}},
		{Pod: "shop/db-0", File: "/var/lib/pg/wal", Operations: []v1alpha1.FileOperation{v1alpha1.FileWrite}},
		{Pod: "shop/db-0", File: "/var/lib/pg/wal", Operations: []v1alpha1.FileOperation{v1alpha1.FileRead}},
		{Pod: "shop/db-0", Privilege: v1alpha1.PrivilegeCapability, Capability: "SETUID"},
		{Pod: "shop/db-0", Privilege: v1alpha1.PrivilegeSetUser},
		{Pod: "shop/db-0", Socket: v1alpha1.SocketConnect, Protocol: "tcp", Address: addr("192.0.2.7"), Port: 5432},
		{Pod: "shop/db-0", Socket: v1alpha1.SocketConnect, Protocol: "icmp", Address: addr("192.0.2.7"), Port: 17},
		{Pod: "shop/db-0", Socket: v1alpha1.SocketConnect, Protocol: "255"},
		{Pod: "shop/db-0", File: "/etc/hosts", Origin: v1alpha1.OriginOutside, Operations: []v1alpha1.FileOperation{v1alpha1.FileRead}},
	}
	p := Propose(seen, Sections{Executables: true, Files: true, Privileges: true, Network: true})
	have := text(t, p)
	want := `executables:
  default: Deny
  rules:
  - action: Accept
    name: image
    origins:
    - Image
    paths:
    - /usr/bin/postgres
  - action: Accept
    name: modified
    origins:
    - Modified
    paths:
    - /tmp/plugin
files:
  default: Deny
  rules:
  - action: Accept
    name: read
    operations:
    - Read
    paths:
    - /etc/passwd
  - action: Accept
    name: read-write
    operations:
    - Read
    - Write
    paths:
    - /var/lib/pg/wal
  - action: Accept
    name: read-outside
    operations:
    - Read
    origins:
    - Outside
    paths:
    - /etc/hosts
network:
  default: Deny
  rules:
  - action: Accept
    name: connect-icmp
    operations:
    - Connect
    peers:
    - networks:
      - 192.0.2.7/32
    protocols:
    - icmp: {}
  - action: Accept
    name: connect-tcp-5432
    operations:
    - Connect
    peers:
    - networks:
      - 192.0.2.7/32
    protocols:
    - tcp:
        destinationPort:
          number: 5432
privileges:
  default: Deny
  rules:
  - action: Accept
    capabilities:
    - SETUID
    name: capabilities
    operations:
    - Capability
  - action: Accept
    name: operations
    operations:
    - SetUser
`
	if have != want {
		t.Errorf("have\n%s\nwant\n%s", have, want)
	}
	notes := strings.Join(p.Notes, "\n")
	for _, n := range []string{
		"operations seen: 13, of pods: 2", "did not come from the image (Modified)", "seen only once: /tmp/plugin",
		"Connect by 255 cannot be written", "look at rule read-outside twice", "names 1 addresses", "capability SETUID",
	} {
		if !strings.Contains(notes, n) {
			t.Errorf("no note %q in\n%s", n, notes)
		}
	}
}

// A section that nobody asked for is absent: it says nothing, so it denies nothing.
func TestSectionsThatAreNotWanted(t *testing.T) {
	p := Propose([]Observation{{Pod: "a/b", Executable: "/bin/true"}}, Sections{Executables: true})
	if p.Rules.Executables == nil || p.Rules.Files != nil || p.Rules.Privileges != nil || p.Rules.Network != nil {
		t.Errorf("have %s", text(t, p))
	}
}

// What changes every time is not listed one by one, and the API's bounds hold.
func TestManyBecomeAny(t *testing.T) {
	var seen []Observation
	for i := range 200 {
		seen = append(seen,
			Observation{Pod: "a/b", Socket: v1alpha1.SocketBind, Protocol: "udp", Port: uint16(40000 + i)},
			Observation{Pod: "a/b", Socket: v1alpha1.SocketConnect, Protocol: "tcp", Port: 443, Address: netip.AddrFrom4([4]byte{192, 0, 2, byte(i)})},
			Observation{Pod: "a/b", File: fmt.Sprintf("/d%d/f", i), Operations: []v1alpha1.FileOperation{v1alpha1.FileRead}},
		)
	}
	rules := Propose(seen, Sections{Files: true, Network: true}).Rules
	if n := len(rules.Network.Rules); n != 2 {
		t.Fatalf("%d network rules", n)
	}
	for _, r := range rules.Network.Rules {
		if len(r.Peers) > 0 {
			t.Errorf("rule %s names peers", r.Name)
		}
	}
	if r := rules.Network.Rules[0]; r.Name != "bind-udp" || r.Protocols[0].UDP.DestinationPort != nil {
		t.Errorf("bind: %+v", r)
	}
	names := map[v1alpha1.RuleName]bool{}
	paths := 0
	for _, r := range rules.Files.Rules {
		if len(r.Paths) > pathsPerRule || names[r.Name] {
			t.Errorf("rule %s: %d paths", r.Name, len(r.Paths))
		}
		names[r.Name] = true
		paths += len(r.Paths)
	}
	if paths != 200 {
		t.Errorf("%d paths", paths)
	}
}

// Uses have names of their own, which a rule can have: none hides another.
func TestNamesOfUses(t *testing.T) {
	known := map[string]use{}
	for set := 1; set < 1<<len(everyFileOperation); set++ {
		var list []v1alpha1.FileOperation
		for i, o := range everyFileOperation {
			if set>>i&1 == 1 {
				list = append(list, o)
			}
		}
		for _, outside := range []bool{false, true} {
			u := useOf(list, outside)
			if other, ok := known[u.name()]; ok || len(u.name()) > 58 {
				t.Errorf("%v is called %s, as %v", u, u.name(), other)
			}
			known[u.name()] = u
		}
	}
	rules := Propose([]Observation{
		{Pod: "a/b", File: "/one", Operations: everyFileOperation[:7]}, {Pod: "a/b", File: "/two", Operations: everyFileOperation[1:]},
	}, Sections{Files: true}).Rules.Files.Rules
	if len(rules) != 2 || len(rules[0].Operations) != 7 || len(rules[1].Operations) != 7 {
		t.Errorf("have %+v", rules)
	}
}
