package runtime

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Planned is a type of rule with an action, and where it is tried.
type Planned struct {
	Kind   Type
	Action string
	Row    Row
	Rule   string // as events name it
}

// row is a type's attack in a pod of its own directories.
func (t Type) row(pod string) Row {
	return Row{Name: pod + "-" + t.Label(), Attacks: []string{t.Attack}, Volume: t.Volume, Pod: pod}
}

// Plan is every type with Audit, Deny and Kill. The policies of one pod that deny or
// kill have one half of the types each.
func Plan() (all []Planned, rows []Row) {
	add := func(p Planned) {
		all = append(all, p)
		rows = append(rows, p.Row)
	}
	for _, kind := range Types {
		for _, action := range []string{Audit, Deny, Kill} {
			if kind.Only != "" && kind.Only != action {
				continue
			}
			pod := strings.ToLower(action)
			if action != Audit {
				pod += fmt.Sprint(kind.Half)
			}
			r := kind.row(pod)
			r.Spec = fmt.Sprintf("%s: {rules: [{name: %s, action: %s, %s}]}", kind.Section, kind.Name, action, kind.Match)
			add(Planned{kind, action, r, kind.Section + "/" + kind.Name})
		}
	}
	for _, kind := range defaults {
		r := kind.row("default")
		r.Spec = fmt.Sprintf("mode: Audit\n%s: {default: Deny, rules: [%s]}", kind.Section, strings.Join(own(kind.Section), ", "))
		add(Planned{kind, Audit, r, kind.Section + "/(isolated)"})
	}
	for _, kind := range exceptions {
		r := kind.row("exception")
		r.Spec = fmt.Sprintf("%s: {rules: [{name: denied, action: Deny, %s}], exceptions: [{name: excepted, reason: tested, expiresAt: \"2027-01-31T00:00:00Z\", %s}]}",
			kind.Section, kind.Base, kind.Match)
		add(Planned{kind, Accept, r, kind.Section + "/excepted"})
	}
	return all, rows
}

// Names of what sections have besides rules.
const (
	sectionDefault   = "default"
	sectionException = "exception"
)

// Sayable reports whether a policy can have a type of rule with an action: a section's
// default is Deny, of a policy in mode Audit too, and an exception accepts.
func Sayable(section, kind, action string) bool {
	switch kind {
	case sectionDefault:
		return action == Deny || action == Audit
	case sectionException:
		return action == Accept
	}
	for _, t := range Types {
		if t.Section == section && t.Name == kind {
			return t.Only == "" || t.Only == action
		}
	}
	return true
}

// defaults are the sections with an allow-list of nothing. What it denies is what the
// allow-lists of types leave out.
var defaults = []Type{
	{Section: "executables", Name: sectionDefault, Attack: "exec"},
	{Section: "files", Name: sectionDefault, Attack: "read"},
	{Section: "privileges", Name: sectionDefault, Attack: "chroot"},
	{Section: "network", Name: sectionDefault, Attack: "bind"},
}

// exceptions are from a rule that denies more, in Base.
var exceptions = []Type{
	{Section: "executables", Name: sectionException, Base: `directories: [$dir]`, Match: `paths: [$dir/denied]`, Attack: "exec", Spared: "exec-below"},
	{Section: "files", Name: sectionException, Base: `operations: [Read], directories: [$dir]`, Match: `paths: [$dir/secret]`, Attack: "read", Spared: "read-public"},
	{Section: "privileges", Name: sectionException, Base: `operations: [Chroot, SetGroup]`, Match: `operations: [Chroot]`, Attack: "chroot", Spared: "set-group"},
	{Section: "network", Name: sectionException, Base: `operations: [Connect]`, Match: `protocols: [{tcp: {destinationPort: {number: 7986}}}]`, Attack: "connect-in-range", Spared: "connect-beyond-range"},
}

// own are the rules of an allow-list without which nothing attacks.
func own(section string) []string {
	switch section {
	case "executables":
		return []string{"{name: attack, action: Accept, paths: [/bin/attack, /bin/busybox, " + Borrower + "]}"}
	case "files":
		return []string{needs}
	}
	return nil
}

// acceptPod is the pod whose allow-list has a type's rule; the other one's has not.
// An attack on a user namespace, or by pivot_root, mounts something too.
func (t Type) acceptPod(with bool, index int) string {
	first := index%2 == 0
	pod := "accept-" + t.Section
	if t.Section == "privileges" {
		first = t.Half == 1 || t.Name == "user-namespace" || t.Name == "pivot-root"
	}
	if first == with {
		return pod + "-first"
	}
	return pod + "-second"
}

// accepts are the types of rules that accept something.
func accepts() []Type {
	return slices.DeleteFunc(slices.Clone(Types), func(t Type) bool { return t.Only != "" && t.Only != Accept })
}

// AcceptRows are the allow-lists.
func AcceptRows() []Row {
	rules := map[string][]string{} // by pod and section
	var rows []Row
	for i, kind := range accepts() {
		for _, with := range []bool{true, false} {
			pod := kind.acceptPod(with, i)
			r := kind.row(pod)
			rows = append(rows, r)
			at := pod + " " + kind.Section
			rule := func(name, match string) {
				match = strings.ReplaceAll(match, "$dir", r.Dir(kind.Attack))
				rules[at] = append(rules[at], fmt.Sprintf("{name: %s, action: Accept, %s}", name, match))
			}
			if with {
				rule(kind.Name, kind.Match)
			}
			if kind.Base != "" {
				rule(kind.Name+"-base", kind.Base)
			}
		}
	}
	for _, at := range slices.Sorted(maps.Keys(rules)) {
		pod, section, _ := strings.Cut(at, " ")
		all := append(rules[at], own(section)...)
		rows = append(rows, Row{Name: pod + "-" + section, Pod: pod, Spec: fmt.Sprintf("%s: {default: Deny, rules: [%s]}", section, strings.Join(all, ", "))})
	}
	return rows
}
