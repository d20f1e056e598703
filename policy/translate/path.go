package translate

import (
	"fmt"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/util/validation/field"

	"palisade.dev/palisade/policy/model"
)

// The bounds of what a rule names, in bytes.
const (
	maxPath = 4095 // the longest path that the kernel resolves
	maxGlob = 4096 // with its **; its ends alone may be a path
)

// paths reads a list of paths in their one form: sorted, without repetitions.
func (p *problems) paths(at *field.Path, list []string) []string {
	var out []string
	for i, s := range list {
		if p.path(at.Index(i), s) {
			out = append(out, s)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// path checks that a path is one that the kernel can resolve to.
func (p *problems) path(at *field.Path, s string) bool {
	switch {
	case len(s) > maxPath:
		p.add(at, "name a directory above it", "a path of %d bytes is longer than the %d that the kernel resolves", len(s), maxPath)
	case !strings.HasPrefix(s, "/"):
		p.add(at, "write it from the root of the container, for example /usr/bin/curl", "%q is not absolute", s)
	case strings.Contains(s, "\x00"):
		p.add(at, "remove it", "%q has a zero byte, which no path has", s)
	case strings.Contains(s, "*"):
		p.add(at, "use directories for all below a directory, or globs with one **", "%q has a wildcard, and paths are compared byte by byte", s)
	case path.Clean(s) != s:
		p.add(at, "write "+path.Clean(s), "%q is not the form that the kernel resolves a path to", s)
	default:
		return true
	}
	return false
}

// globs reads globs, sorted and without repetitions.
func (p *problems) globs(at *field.Path, list []string) []model.Glob {
	var out []model.Glob
	for i, s := range list {
		if g, ok := p.glob(at.Index(i), s); ok {
			out = append(out, g)
		}
	}
	slices.SortFunc(out, func(a, b model.Glob) int {
		if c := strings.Compare(a.Prefix, b.Prefix); c != 0 {
			return c
		}
		return strings.Compare(a.Suffix, b.Suffix)
	})
	return slices.Compact(out)
}

// glob takes a pattern apart, if it can be matched exactly: by how a path begins
// and how it ends.
func (p *problems) glob(at *field.Path, s string) (model.Glob, bool) {
	const fix = "use ** once, for example /usr/lib/**.so, or directories"
	prefix, suffix, found := strings.Cut(s, "**")
	switch {
	case len(s) > maxGlob:
		p.add(at, "shorten it", "a glob of %d bytes is over %d", len(s), maxGlob)
	case !found:
		p.add(at, "use paths for a path that is known, "+fix, "%q has no **", s)
	case strings.ContainsAny(prefix+suffix, "*?["):
		p.add(at, fix, "%q is not exact: ** stands once, and *, ? and [ have no meaning", s)
	case !strings.HasPrefix(prefix, "/"):
		p.add(at, "begin it with /", "%q is not absolute", s)
	case strings.Contains(s, "\x00"):
		p.add(at, "remove it", "%q has a zero byte, which no path has", s)
	default:
		if bad := uncleanGlob(prefix, suffix); bad != "" {
			p.add(at, "remove it", "%q matches nothing, since no path that the kernel resolves has %s", s, bad)
			return model.Glob{}, false
		}
		return model.Glob{Prefix: prefix, Suffix: suffix}, true
	}
	return model.Glob{}, false
}

// uncleanGlob names what keeps a glob from matching any path. The step in which
// ** stands may have any text around it.
func uncleanGlob(prefix, suffix string) string {
	before, after := strings.Split(prefix, "/"), strings.Split(suffix, "/")
	if len(after) > 1 && after[len(after)-1] == "" {
		return "a slash at its end"
	}
	for _, step := range slices.Concat(before[1:max(1, len(before)-1)], after[1:]) {
		switch step {
		case "":
			return `"//"`
		case ".", "..":
			return fmt.Sprintf("a step %q", step)
		}
	}
	return ""
}
