package propose

import (
	"fmt"
	"slices"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
)

// Merge adds what a proposal accepts to a policy that is there already: what it
// accepts it goes on accepting. Rules that were proposed before grow; those of its
// author stay as they are. A section that the policy does not have is added, its
// default is the proposal's.
func Merge(policy *v1alpha1.RuntimeRules, p v1alpha1.RuntimeRules) {
	mergeExecutables(policy, p.Executables)
	mergeFiles(policy, p.Files)
	mergePrivileges(policy, p.Privileges)
	mergeNetwork(policy, p.Network)
}

func mergeExecutables(policy *v1alpha1.RuntimeRules, s *v1alpha1.ExecutableSection) {
	old := policy.Executables
	if s == nil || old == nil {
		policy.Executables = either(old, s)
		return
	}
	names := names{}
	take(names, old.Rules, func(r *v1alpha1.ExecutableRule) *v1alpha1.RuleName { return &r.Name })
	take(names, old.Exceptions, func(e *v1alpha1.ExecutableException) *v1alpha1.RuleName { return &e.Name })
	old.Rules = growPaths(old.Rules, s.Rules, madeExecutable, func(r *v1alpha1.ExecutableRule) *v1alpha1.PathMatch { return &r.PathMatch },
		func(r *v1alpha1.ExecutableRule) { r.Name = names.free(r.Name) })
}

func mergeFiles(policy *v1alpha1.RuntimeRules, s *v1alpha1.FileSection) {
	old := policy.Files
	if s == nil || old == nil {
		policy.Files = either(old, s)
		return
	}
	names := names{}
	take(names, old.Rules, func(r *v1alpha1.FileRule) *v1alpha1.RuleName { return &r.Name })
	take(names, old.Exceptions, func(e *v1alpha1.FileException) *v1alpha1.RuleName { return &e.Name })
	old.Rules = growPaths(old.Rules, s.Rules, madeFile, func(r *v1alpha1.FileRule) *v1alpha1.PathMatch { return &r.PathMatch },
		func(r *v1alpha1.FileRule) { r.Name = names.free(r.Name) })
}

func mergePrivileges(policy *v1alpha1.RuntimeRules, s *v1alpha1.PrivilegeSection) {
	old := policy.Privileges
	if s == nil || old == nil {
		policy.Privileges = either(old, s)
		return
	}
	names := names{}
	take(names, old.Rules, func(r *v1alpha1.PrivilegeRule) *v1alpha1.RuleName { return &r.Name })
	take(names, old.Exceptions, func(e *v1alpha1.PrivilegeException) *v1alpha1.RuleName { return &e.Name })
	for _, r := range s.Rules {
		kind, _ := madePrivilege(&r)
		i := slices.IndexFunc(old.Rules, func(o v1alpha1.PrivilegeRule) bool {
			k, made := madePrivilege(&o)
			return made && k == kind
		})
		if i < 0 {
			r.Name = names.free(r.Name)
			old.Rules = append(old.Rules, r)
			continue
		}
		old.Rules[i].Operations = union(old.Rules[i].Operations, r.Operations)
		old.Rules[i].Capabilities = union(old.Rules[i].Capabilities, r.Capabilities)
	}
}

// mergeNetwork: a rule of a proposal names what the rule of its kind named already, and
// one about every port has the addresses of those that named a port, which it replaces.
func mergeNetwork(policy *v1alpha1.RuntimeRules, s *v1alpha1.SocketSection) {
	old := policy.Network
	if s == nil || old == nil {
		policy.Network = either(old, s)
		return
	}
	names := names{}
	take(names, old.Rules, func(r *v1alpha1.SocketRule) *v1alpha1.RuleName { return &r.Name })
	take(names, old.Exceptions, func(e *v1alpha1.SocketException) *v1alpha1.RuleName { return &e.Name })
	for _, r := range s.Rules {
		same := slices.IndexFunc(old.Rules, func(o v1alpha1.SocketRule) bool { return says(&r, &o) && says(&o, &r) })
		if same >= 0 && len(old.Rules[same].Peers) > 0 {
			old.Rules[same].Peers = r.Peers
		}
		old.Rules = slices.DeleteFunc(old.Rules, func(o v1alpha1.SocketRule) bool {
			return says(&r, &o) && !says(&o, &r) && (len(r.Peers) == 0 || len(o.Peers) > 0)
		})
		if same < 0 {
			r.Name = names.free(r.Name)
			old.Rules = append(old.Rules, r)
		}
	}
}

// says reports whether the sockets of one proposed rule are among those of another,
// addresses left aside.
func says(r, other *v1alpha1.SocketRule) bool {
	a, _, made := madeSocket(r)
	b, _, also := madeSocket(other)
	return made && also && a.operation == b.operation && a.protocol == b.protocol && (a.port == anyPort || a.port == b.port)
}

func either[S any](old, proposed *S) *S {
	if old == nil {
		return proposed
	}
	return old
}

// growPaths adds paths to the rules that have their kind, as far as there is room, and
// the rest as new rules. Names that a new directory holds leave the list.
func growPaths[R any, K comparable](old, more []R, made func(*R) (K, bool), match func(*R) *v1alpha1.PathMatch, rename func(*R)) []R {
	for i := range more {
		r := more[i]
		kind, _ := made(&r)
		left := *match(&r)
		added := left.Directories
		emptied := map[int]bool{}
		for j := range old {
			if k, ok := made(&old[j]); !ok || k != kind {
				continue
			}
			m := match(&old[j])
			m.Paths, m.Directories = outsideOf(m.Paths, added), outsideOf(m.Directories, added)
			m.Paths, left.Paths = fill(m.Paths, left.Paths)
			m.Directories, left.Directories = fill(m.Directories, left.Directories)
			emptied[j] = len(m.Paths)+len(m.Directories) == 0
		}
		var kept []R
		for j := range old {
			if !emptied[j] {
				kept = append(kept, old[j])
			}
		}
		if old = kept; len(left.Paths)+len(left.Directories) > 0 {
			*match(&r) = left
			rename(&r)
			old = append(old, r)
		}
	}
	return old
}

// outsideOf leaves out what one of the directories is or holds.
func outsideOf(list, directories []v1alpha1.Path) []v1alpha1.Path {
	var out []v1alpha1.Path
	for _, name := range list {
		if !slices.ContainsFunc(directories, func(d v1alpha1.Path) bool { return d == name || strings.HasPrefix(string(name), string(d)+"/") }) {
			out = append(out, name)
		}
	}
	return out
}

// fill moves what fits in a rule.
func fill(list, more []v1alpha1.Path) (full, rest []v1alpha1.Path) {
	n := min(len(more), max(0, pathsPerRule-len(list)))
	if n == 0 {
		return list, more
	}
	return union(list, more[:n]), more[n:]
}

func union[T ~string](a, b []T) []T {
	if len(b) == 0 {
		return a
	}
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// names are those of a section's rules and exceptions, of which none is there twice.
type names map[v1alpha1.RuleName]bool

func take[R any](n names, list []R, name func(*R) *v1alpha1.RuleName) {
	for i := range list {
		n[*name(&list[i])] = true
	}
}

func (n names) free(name v1alpha1.RuleName) v1alpha1.RuleName {
	base := name
	for i := 2; n[name]; i++ {
		name = v1alpha1.RuleName(fmt.Sprintf("%s-%d", base, i))
	}
	n[name] = true
	return name
}
