package propose

import (
	"fmt"
	"net/netip"
	"reflect"
	"strings"
	"testing"

	"palisade.dev/palisade/api/v1alpha1"
)

func executed(paths ...string) []Observation {
	var out []Observation
	for _, p := range paths {
		out = append(out, Observation{Pod: "a/b", Executable: p, Origin: v1alpha1.OriginImage})
	}
	return out
}

func connected(port uint16, addresses ...string) []Observation {
	var out []Observation
	for _, a := range addresses {
		out = append(out, Observation{Pod: "a/b", Socket: v1alpha1.SocketConnect, Protocol: "tcp", Port: port, Address: netip.MustParseAddr(a)})
	}
	return out
}

func numbered(format string, from, to int) []string {
	var out []string
	for i := from; i < to; i++ {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

// brief is a policy's rules in one line each.
func brief(r v1alpha1.RuntimeRules) string {
	var out []string
	paths := func(m v1alpha1.PathMatch) string {
		var text []string
		for _, p := range m.Paths {
			text = append(text, string(p))
		}
		for _, d := range m.Directories {
			text = append(text, string(d)+"/")
		}
		return strings.Join(text, " ")
	}
	if r.Executables != nil {
		for _, x := range r.Executables.Rules {
			out = append(out, fmt.Sprintf("%s: %s", x.Name, paths(x.PathMatch)))
		}
	}
	if r.Files != nil {
		for _, x := range r.Files.Rules {
			out = append(out, fmt.Sprintf("%s: %s", x.Name, paths(x.PathMatch)))
		}
	}
	if r.Privileges != nil {
		for _, x := range r.Privileges.Rules {
			out = append(out, fmt.Sprintf("%s: %v %v", x.Name, x.Operations, x.Capabilities))
		}
	}
	if r.Network != nil {
		for _, x := range r.Network.Rules {
			var networks []string
			for _, p := range x.Peers {
				for _, n := range p.Networks {
					networks = append(networks, string(n))
				}
			}
			out = append(out, fmt.Sprintf("%s: %s", x.Name, strings.Join(networks, " ")))
		}
	}
	return strings.Join(out, "\n")
}

var everything = Sections{Executables: true, Files: true, Privileges: true, Network: true}

// TestRefine: what was proposed before grows, directories and ports are told by what
// all recordings have together, and what its author wrote stays.
func TestRefine(t *testing.T) {
	capability := func(c v1alpha1.Capability) []Observation {
		return []Observation{{Pod: "a/b", Privilege: v1alpha1.PrivilegeCapability, Capability: c}}
	}
	tests := map[string]struct {
		before, after []Observation
		edit          func(*v1alpha1.RuntimeRules)
		want          string
	}{
		"another path": {
			before: executed("/bin/one"), after: executed("/bin/two"),
			want: "image: /bin/one /bin/two",
		},
		"names of two recordings make a directory": {
			before: executed(append(numbered("/srv/app/f%d", 0, 7), "/bin/one")...), after: executed(numbered("/srv/app/f%d", 7, 10)...),
			want: "image: /bin/one /srv/app/",
		},
		"all of a rule's names are in the directory": {
			before: executed(numbered("/srv/app/f%d", 0, 7)...), after: executed("/srv/app/f7"),
			want: "image: /srv/app/",
		},
		"a directory that nothing new is in stays a list": {
			before: executed(numbered("/srv/app/f%d", 0, 7)...), after: executed("/bin/two"),
			edit: func(r *v1alpha1.RuntimeRules) {
				r.Executables.Rules[0].Paths = append(r.Executables.Rules[0].Paths, "/srv/app/f7")
			},
			want: "image: /bin/two " + strings.Join(numbered("/srv/app/f%d", 0, 8), " "),
		},
		"a full rule": {
			before: executed(numbered("/d%02d", 0, 50)...), after: executed("/e"),
			want: "image: " + strings.Join(numbered("/d%02d", 0, 50), " ") + "\nimage-2: /e",
		},
		"the author's rule, and an exception's name": {
			before: executed("/bin/one"), after: executed("/bin/two"),
			edit: func(r *v1alpha1.RuntimeRules) {
				r.Executables.Rules[0].Message = "the program"
				r.Executables.Exceptions = []v1alpha1.ExecutableException{{RuntimeException: v1alpha1.RuntimeException{Name: "image-2"}}}
			},
			want: "image: /bin/one\nimage-3: /bin/two",
		},
		"a rule about everything is not narrowed": {
			before: executed("/bin/one"), after: executed("/bin/two"),
			edit: func(r *v1alpha1.RuntimeRules) { r.Executables.Rules[0].Paths = nil },
			want: "image: \nimage-2: /bin/two",
		},
		"a capability": {
			before: capability("SYS_ADMIN"), after: capability("CHOWN"),
			want: "capabilities: [Capability] [CHOWN SYS_ADMIN]",
		},
		"a privilege": {
			before: []Observation{{Pod: "a/b", Privilege: v1alpha1.PrivilegeSetUser}}, after: []Observation{{Pod: "a/b", Privilege: v1alpha1.PrivilegeMount}},
			want: "operations: [Mount SetUser] []",
		},
		"an address": {
			before: connected(443, "192.0.2.1"), after: connected(443, "192.0.2.2"),
			want: "connect-tcp-443: 192.0.2.1/32 192.0.2.2/32",
		},
		"addresses of two recordings are any": {
			before: connected(443, numbered("192.0.2.%d", 0, 7)...), after: connected(443, "192.0.2.8"),
			want: "connect-tcp-443: ",
		},
		"ports of two recordings are any": {
			before: append(connected(1, "192.0.2.1"), append(connected(2, "192.0.2.2"), connected(3, "192.0.2.3")...)...),
			after:  append(connected(4, "192.0.2.4"), connected(5, "192.0.2.5")...),
			want:   "connect-tcp: 192.0.2.1/32 192.0.2.2/32 192.0.2.3/32 192.0.2.4/32 192.0.2.5/32",
		},
		"a section that was not there": {
			before: executed("/bin/one"), after: capability("CHOWN"),
			edit: func(r *v1alpha1.RuntimeRules) { r.Privileges = nil },
			want: "image: /bin/one\ncapabilities: [Capability] [CHOWN]",
		},
		"a file": {
			before: []Observation{{Pod: "a/b", File: "/etc/a", Operations: []v1alpha1.FileOperation{v1alpha1.FileRead}}},
			after: []Observation{
				{Pod: "a/b", File: "/etc/b", Operations: []v1alpha1.FileOperation{v1alpha1.FileRead}},
				{Pod: "a/b", File: "/etc/c", Operations: []v1alpha1.FileOperation{v1alpha1.FileWrite}},
			},
			want: "read: /etc/a /etc/b\nwrite: /etc/c",
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			policy := Propose(tc.before, everything).Rules
			if tc.edit != nil {
				tc.edit(&policy)
			}
			if Refine(&policy, tc.after, everything); brief(policy) != tc.want {
				t.Errorf("have\n%s\nwant\n%s", brief(policy), tc.want)
			}
		})
	}
}

// A policy to which nothing is to be added stays as it is, and so does its author's
// choice of a default.
func TestRefineByNothing(t *testing.T) {
	seen := append(executed("/bin/one"), connected(443, "192.0.2.1")...)
	policy := Propose(seen, everything).Rules
	policy.Executables.Default = v1alpha1.ActionAccept
	before := policy.DeepCopy()
	if Refine(&policy, nil, everything); !reflect.DeepEqual(&policy, before) {
		t.Errorf("have\n%+v\nwant\n%+v", &policy, before)
	}
}
