package propose

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func many(dir string, n int) map[string]int {
	out := map[string]int{}
	for i := range n {
		out[fmt.Sprintf("%s/f%d", dir, i)] = 2
	}
	return out
}

func TestGather(t *testing.T) {
	tests := map[string]struct {
		seen map[string]int
		want string
	}{
		"few names are a list":     {many("/srv/data", manyFiles-1), "/srv/data/f0 /srv/data/f1 /srv/data/f2 /srv/data/f3 /srv/data/f4 /srv/data/f5 /srv/data/f6"},
		"many names are a place":   {many("/srv/data", manyFiles), "/srv/data/"},
		"the top is no place":      {many("/srv", manyFiles), "/srv/f0 /srv/f1 /srv/f2 /srv/f3 /srv/f4 /srv/f5 /srv/f6 /srv/f7"},
		"but /tmp is":              {many("/tmp", manyFiles), "/tmp/"},
		"processes have no number": {map[string]int{"/proc/7/stat": 1, "/proc/self": 1}, "/proc/"},
		"a star is in no path":     {map[string]int{"/srv/data/a*b": 1}, "/srv/data/"},
		"nor is what is no text":   {map[string]int{"/srv/data/\xff": 1}, "/srv/data/"},
		"proc itself has files":    {map[string]int{"/proc/meminfo": 1}, "/proc/meminfo"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if have := printed(gather(tc.seen, nil)); have != tc.want {
				t.Errorf("have %s\nwant %s", have, tc.want)
			}
		})
	}
}

func printed(places []place) string {
	var out []string
	for _, p := range places {
		name := p.name
		if p.directory {
			name += "/"
		}
		out = append(out, name)
	}
	return strings.Join(out, " ")
}

// Folding goes up: many directories that hold many files each are one place.
func TestGatherFoldsUp(t *testing.T) {
	seen := map[string]int{}
	for i := range manyFiles {
		for name, n := range many(fmt.Sprintf("/var/lib/app/d%d", i), manyFiles) {
			seen[name] = n
		}
	}
	have := gather(seen, nil)
	if len(have) != 1 || have[0].name != "/var/lib/app" || have[0].names != manyFiles*manyFiles || have[0].seen != 2*manyFiles*manyFiles {
		t.Errorf("have %+v", have)
	}
}

// Whatever was seen is in what comes out, once, and nothing that comes out is there
// without a reason.
func TestGatherLosesNothing(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		part := rapid.SampledFrom([]string{"a", "b", "c", "d", "e", "f", "g", "h", "i", "j"})
		paths := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return "/" + strings.Join(rapid.SliceOfN(part, 1, 4).Draw(t, "parts"), "/")
		}), 1, 120).Draw(t, "paths")
		seen := map[string]int{}
		for _, p := range paths {
			seen[p]++
		}
		out := gather(seen, nil)
		total := 0
		for i, p := range out {
			total += p.seen
			if !slices.ContainsFunc(paths, func(s string) bool { return holds(p, s) }) {
				t.Fatalf("%s holds nothing that was seen", p.name)
			}
			for _, q := range out[i+1:] {
				if holds(p, q.name) {
					t.Fatalf("%s is in %s already", q.name, p.name)
				}
			}
		}
		for s := range seen {
			if !slices.ContainsFunc(out, func(p place) bool { return holds(p, s) }) {
				t.Fatalf("%s was seen and is in none of %s", s, printed(out))
			}
		}
		if total > len(paths) {
			t.Fatalf("%d seen, of %d", total, len(paths))
		}
	})
}

func holds(p place, name string) bool {
	return p.name == name || p.directory && strings.HasPrefix(name, p.name+"/")
}
