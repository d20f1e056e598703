package analysis

import "testing"

func TestMergedLink(t *testing.T) {
	for path, want := range map[string][2]string{
		"/bin/sh":                     {"/bin", "/usr/bin/sh"},
		"/bin":                        {"/bin", "/usr/bin"},
		"/sbin/ip":                    {"/sbin", "/usr/sbin/ip"},
		"/lib/x/y.so":                 {"/lib", "/usr/lib/x/y.so"},
		"/lib64/ld-linux-x86-64.so.2": {"/lib64", "/usr/lib64/ld-linux-x86-64.so.2"},
		"/var/run/secrets":            {"/var/run", "/run/secrets"},
		"/var/lock/x":                 {"/var/lock", "/run/lock/x"},
		"/usr/bin/sh":                 {},
		"/binary":                     {},
		"/var/runner":                 {},
		"/":                           {},
		"/run/secrets":                {},
	} {
		link, other, ok := MergedLink(path)
		if link != want[0] || other != want[1] || ok != (want[0] != "") {
			t.Errorf("%s: %q, %q, %v; want %q", path, link, other, ok, want)
		}
	}
}
