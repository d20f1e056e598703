package propose

import (
	"testing"

	"palisade.dev/palisade/api/v1alpha1"
)

// TestMerge: a policy that was proposed before keeps its rules, and gets new ones
// under names of their own.
func TestMerge(t *testing.T) {
	of := func(path string) v1alpha1.RuntimeRules {
		return Propose([]Observation{{Pod: "a/b", Executable: path, Origin: v1alpha1.OriginImage}}, Sections{Executables: true}).Rules
	}
	policy := of("/bin/one")
	policy.Executables.Default = v1alpha1.ActionAccept // its author's choice
	Merge(&policy, of("/bin/two"))
	Merge(&policy, of("/bin/three"))
	Merge(&policy, Propose([]Observation{{Pod: "a/b", Privilege: v1alpha1.PrivilegeSetUser}}, Sections{Privileges: true}).Rules)
	var names, paths []string
	for _, r := range policy.Executables.Rules {
		names = append(names, string(r.Name))
		paths = append(paths, string(r.Paths[0]))
	}
	if len(names) != 3 || names[0] != "image" || names[1] != "image-2" || names[2] != "image-3" || paths[2] != "/bin/three" {
		t.Errorf("rules %v of %v", names, paths)
	}
	if policy.Executables.Default != v1alpha1.ActionAccept || policy.Privileges == nil || policy.Privileges.Default != v1alpha1.ActionDeny {
		t.Errorf("defaults: %+v", policy)
	}
}
