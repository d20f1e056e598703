package main

import "testing"

// Without a controller that somebody named there is nobody to tell what a node
// lacks: the name of the Service is only a guess then.
func TestFed(t *testing.T) {
	for name, tc := range map[string]struct {
		flag string
		env  map[string]string
		want bool
	}{
		"by hand":          {"", nil, false},
		"named":            {"10.0.0.7:8443", nil, true},
		"pod of a cluster": {"", map[string]string{"KUBERNETES_SERVICE_HOST": "10.96.0.1"}, true},
	} {
		f := runFlags{controller: tc.flag}
		if got := f.fed(func(k string) string { return tc.env[k] }); got != tc.want {
			t.Errorf("%s: fed = %t, want %t", name, got, tc.want)
		}
	}
}
