package propose

import (
	"cmp"
	"maps"
	"path"
	"slices"
	"strings"
	"unicode/utf8"

	"palisade.dev/palisade/api/v1alpha1"
)

// manyFiles is how many names directly in a directory stand for the directory: a
// handful of names is a list, more are a place where names come and go.
const manyFiles = 8

// place is a path or a directory that was asked for.
type place struct {
	name      string
	directory bool
	seen      int // how often something of it was asked for
	names     int // how many different ones
}

// gather tells directories from files by how many names were seen in them, from the
// deepest up: a directory that stands for itself counts as one name of its parent.
// Places that are known already count beside what was seen; those of which nothing
// was seen are left out.
func gather(seen map[string]int, known []place) []place {
	places := map[string]place{}
	for _, p := range known {
		merge(places, p)
	}
	for name, n := range seen {
		if at := unnumbered(name); at != "" {
			merge(places, place{at, true, n, 1})
			continue
		}
		if !writable(name) {
			merge(places, place{path.Dir(name), true, n, 1})
			continue
		}
		merge(places, place{name, false, n, 1})
	}
	for depth := deepest(places); depth > 1; depth-- {
		children := map[string][]place{}
		for _, p := range places {
			if level(p.name) == depth {
				parent := path.Dir(p.name)
				children[parent] = append(children[parent], p)
			}
		}
		for parent, list := range children {
			if len(list) < manyFiles || !foldable(parent) {
				continue
			}
			for _, p := range list {
				delete(places, p.name)
				merge(places, place{parent, true, p.seen, p.names})
			}
		}
	}
	out := slices.Collect(maps.Values(places))
	out = slices.DeleteFunc(out, func(p place) bool { return p.seen == 0 || covered(places, p) })
	slices.SortFunc(out, func(a, b place) int { return cmp.Compare(a.name, b.name) })
	return out
}

// merge adds to what is known of a name; a directory holds the file of its name.
func merge(places map[string]place, p place) {
	old := places[p.name]
	p.directory = p.directory || old.directory
	p.seen += old.seen
	p.names += old.names
	places[p.name] = p
}

// placesOf are the places that a rule names.
func placesOf(m v1alpha1.PathMatch) []place {
	var out []place
	for _, p := range m.Paths {
		out = append(out, place{name: string(p), names: 1})
	}
	for _, d := range m.Directories {
		out = append(out, place{name: string(d), directory: true})
	}
	return out
}

// covered reports whether a directory above says the same already.
func covered(places map[string]place, p place) bool {
	for dir := path.Dir(p.name); dir != "/"; dir = path.Dir(dir) {
		if places[dir].directory {
			return true
		}
	}
	return false
}

// unnumbered is the directory whose names are numbers that mean nothing another time:
// those of processes.
func unnumbered(name string) string {
	rest, ok := strings.CutPrefix(name, "/proc/")
	if !ok {
		return ""
	}
	number, _, _ := strings.Cut(rest, "/")
	if number == "" || strings.Trim(number, "0123456789") != "" {
		return ""
	}
	return "/proc"
}

// writable reports whether a rule can name a path by itself: a star means something
// else in one, and what is not UTF-8 cannot stand in an object.
func writable(name string) bool {
	return !strings.Contains(name, "*") && utf8.ValidString(name)
}

// foldable reports whether a directory may stand for its files: not one at the top,
// where a rule would say next to nothing, unless it is a place for anything.
func foldable(dir string) bool {
	return level(dir) > 1 || dir == "/tmp" || dir == "/proc" || dir == "/sys" || dir == "/run"
}

func level(name string) int { return strings.Count(name, "/") }

func deepest(places map[string]place) int {
	most := 0
	for name := range places {
		most = max(most, level(name))
	}
	return most
}
