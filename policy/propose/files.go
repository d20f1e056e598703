package propose

import (
	"cmp"
	"maps"
	"slices"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
)

// use is what files have in common that one rule can accept.
type use struct {
	operations string // sorted, with commas between
	outside    bool   // on no mount of the container: only a rule that says so accepts it
}

func compareUses(a, b use) int {
	switch {
	case a.outside == b.outside:
		return cmp.Compare(a.operations, b.operations)
	case b.outside:
		return -1
	}
	return 1
}

func (u use) list() []v1alpha1.FileOperation {
	var out []v1alpha1.FileOperation
	for _, name := range strings.Split(u.operations, ",") {
		out = append(out, v1alpha1.FileOperation(name))
	}
	return out
}

func (u use) origins() []v1alpha1.Origin {
	if u.outside {
		return []v1alpha1.Origin{v1alpha1.OriginOutside}
	}
	return nil
}

// everyFileOperation is in the order of names.
var everyFileOperation = []v1alpha1.FileOperation{
	v1alpha1.FileAttributes, v1alpha1.FileCreate, v1alpha1.FileDelete, v1alpha1.FileLink,
	v1alpha1.FileMapExecutable, v1alpha1.FileRead, v1alpha1.FileRename, v1alpha1.FileWrite,
}

// name tells a use apart from all others: a long list by what is not in it.
func (u use) name() string {
	list := u.list()
	name := dashed(list)
	const longest = 45 // of a rule's 63 characters: where from, and a number, may follow
	switch {
	case len(list) == len(everyFileOperation):
		name = "every-operation"
	case len(name) > longest:
		missing := slices.DeleteFunc(slices.Clone(everyFileOperation), func(o v1alpha1.FileOperation) bool { return slices.Contains(list, o) })
		name = "all-but-" + dashed(missing)
	}
	if u.outside {
		name += "-outside"
	}
	return name
}

func dashed(list []v1alpha1.FileOperation) string {
	var out []string
	for _, x := range list {
		out = append(out, strings.ToLower(string(x)))
	}
	return strings.Join(out, "-")
}

func useOf(operations []v1alpha1.FileOperation, outside bool) use {
	var names []string
	for _, o := range operations {
		names = append(names, string(o))
	}
	slices.Sort(names)
	return use{strings.Join(slices.Compact(names), ","), outside}
}

// files are told apart by what was done to them, and by whether they are outside.
func (p *proposer) files(seen []Observation) *v1alpha1.FileSection {
	type file struct {
		name    string
		outside bool
	}
	done := map[file]map[v1alpha1.FileOperation]int{}
	for i := range seen {
		o := &seen[i]
		if o.File == "" {
			continue
		}
		f := file{o.File, o.Origin == v1alpha1.OriginOutside}
		if done[f] == nil {
			done[f] = map[v1alpha1.FileOperation]int{}
		}
		for _, operation := range o.Operations {
			done[f][operation]++
		}
	}
	byUse := map[use]map[string]int{}
	for f, times := range done {
		u := useOf(slices.Collect(maps.Keys(times)), f.outside)
		if byUse[u] == nil {
			byUse[u] = map[string]int{}
		}
		byUse[u][f.name] = slices.Max(slices.Collect(maps.Values(times)))
	}
	section := &v1alpha1.FileSection{Default: v1alpha1.ActionDeny}
	for _, u := range slices.SortedFunc(maps.Keys(byUse), compareUses) {
		if u.outside {
			p.note("files: some are on no mount of the container (Outside): look at rule %s twice", u.name())
		}
		places := gather(byUse[u], p.knownFiles(u))
		p.once("files", places)
		for i, m := range matches(places) {
			section.Rules = append(section.Rules, v1alpha1.FileRule{RuntimeRule: accept(u.name(), i), PathMatch: m, Origins: u.origins(), Operations: u.list()})
		}
	}
	return section
}

func (p *proposer) knownFiles(of use) []place {
	var out []place
	if s := p.known.Files; s != nil {
		for i := range s.Rules {
			if u, made := madeFile(&s.Rules[i]); made && u == of {
				out = append(out, placesOf(s.Rules[i].PathMatch)...)
			}
		}
	}
	return out
}
