package property

import (
	"testing"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/translate"
)

// FuzzPaths: whatever translation accepts as a path, a glob or an argument is
// something that agents read. One row that they refuse would keep every later
// generation from the node.
func FuzzPaths(f *testing.F) {
	for _, s := range []string{"/", "/bin/sh", "bin", "/a//b", "/a/../b", "/a/", "/**", "/a**b", "/a/**/../b", "/usr/lib/**.so", "/a\x00b", "-x**"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			t.Skip("no manifest can hold it")
		}
		accepted := 0
		for _, rule := range []v1alpha1.ExecutableRule{
			{PathMatch: v1alpha1.PathMatch{Paths: []v1alpha1.Path{v1alpha1.Path(s)}}},
			{PathMatch: v1alpha1.PathMatch{Directories: []v1alpha1.Path{v1alpha1.Path(s)}}},
			{PathMatch: v1alpha1.PathMatch{Globs: []v1alpha1.Glob{v1alpha1.Glob(s)}}},
			{RuntimeRule: v1alpha1.RuntimeRule{From: []v1alpha1.Path{v1alpha1.Path(s)}}},
			{Arguments: []v1alpha1.Argument{v1alpha1.Argument(s)}},
		} {
			rule.Name, rule.Action = "r", v1alpha1.ActionAudit
			p, err := translate.RuntimePolicy(&v1alpha1.RuntimePolicy{
				ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "p"},
				Spec: v1alpha1.RuntimePolicySpec{RuntimeRules: v1alpha1.RuntimeRules{
					Executables: &v1alpha1.ExecutableSection{Rules: []v1alpha1.ExecutableRule{rule}},
				}},
			})
			if err != nil {
				continue
			}
			accepted++
			c := compile.Full(model.Cluster{
				Policies:  []model.Policy{p},
				Endpoints: []model.Endpoint{{ID: model.EndpointID{Namespace: "a", Name: "x"}, UID: "u", Node: "n"}},
			}, compile.Options{})
			if _, err := c.Node("n").Rows(); err != nil {
				t.Fatalf("%q is translated and no agent reads it: %v", s, err)
			}
		}
		t.Logf("%q: accepted in %d places", s, accepted)
	})
}
