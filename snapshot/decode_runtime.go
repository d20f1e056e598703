package snapshot

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// The last values of what runtime rules carry as numbers and bits.
const (
	runtimePolicyKind = 4 // model.KindRuntime
	lastOrigins       = OriginImage | OriginModified | OriginMemory | OriginOutside
	lastCapability    = 40 // CAP_CHECKPOINT_RESTORE
)

// sectionOperations are the bits of operations that each section knows.
var sectionOperations = [...]uint32{
	SectionExecutables: 0,
	SectionFiles:       1<<8 - 1,
	SectionPrivileges:  1<<15 - 1,
	SectionNetwork:     1<<4 - 1,
}

func decodeRuntimeRule(k, v *reader) Row {
	row := RuntimeRuleRow{ID: k.id(), Section: v.enum(SectionNetwork), Action: v.enum(RuntimeKill)}
	flags := v.enum(runtimeFlagsKnown)
	row.Enforced, row.Staged = flags&runtimeEnforced != 0, flags&runtimeStaged != 0
	row.Isolation, row.FromDescendants = flags&runtimeIsolation != 0, flags&runtimeDescendants != 0
	row.Operations, row.Origins, row.Owner = v.uint32(), v.enum(lastOrigins), v.enum(OwnerNot)
	row.Capabilities = v.uint64()
	row.Paths = v.paths()
	row.Directories = v.paths()
	row.Globs = sorted(v, 2, CompareRuntimeGlobs, (*reader).glob)
	row.From = v.paths()
	row.Blocks = sorted(v, 7, CompareRuntimeBlocks, (*reader).block)
	row.Ports = sorted(v, 5, CompareRuntimePorts, (*reader).ports)
	row.Peers = v.id()
	row.Arguments = sorted(v, 1, strings.Compare, (*reader).name)
	row.RateLimit = v.uint32()
	if v.err == nil {
		if err := row.check(); err != nil {
			v.fail(err)
		}
	}
	return row
}

// check refuses conditions that the row's section does not have: a reader must
// never wonder what they mean.
func (r *RuntimeRuleRow) check() error {
	objects := len(r.Paths) + len(r.Directories) + len(r.Globs)
	peers := len(r.Blocks) + len(r.Ports)
	if r.Peers != (RulesetID{}) {
		peers++
	}
	hasObjects := r.Section == SectionExecutables || r.Section == SectionFiles
	switch {
	case !r.Enforced && !r.Staged:
		return errors.New("rule of no world")
	case r.Operations&^sectionOperations[r.Section] != 0:
		return fmt.Errorf("operations %#x are not all of section %d", r.Operations, r.Section)
	case !hasObjects && (objects > 0 || r.Origins != 0):
		return fmt.Errorf("section %d has no objects", r.Section)
	case r.Section != SectionFiles && r.Owner != OwnerAny:
		return fmt.Errorf("section %d has no owner", r.Section)
	case r.Section != SectionPrivileges && r.Capabilities != 0:
		return fmt.Errorf("section %d has no capabilities", r.Section)
	case r.Capabilities>>(lastCapability+1) != 0:
		return fmt.Errorf("capabilities %#x are not all known", r.Capabilities)
	case r.Section != SectionNetwork && peers > 0:
		return fmt.Errorf("section %d has no peers", r.Section)
	case r.FromDescendants && len(r.From) == 0:
		return errors.New("descendants of nobody")
	case len(r.Arguments) > 0 && (r.Section != SectionExecutables || r.Enforced):
		return errors.New("arguments in a rule that is not of executables and staged alone")
	}
	if r.Isolation && (r.Action != RuntimeDeny || objects+peers+len(r.From)+len(r.Arguments) > 0 ||
		r.Operations != 0 || r.Origins != 0 || r.Owner != 0 || r.Capabilities != 0) {
		return errors.New("isolation with conditions")
	}
	return nil
}

// sorted reads a list whose elements take at least size bytes each and ascend.
func sorted[T any](r *reader, size int, compare func(a, b T) int, read func(*reader) T) []T {
	var out []T
	for range r.count(size) {
		x := read(r)
		if n := len(out); r.err == nil && n > 0 && compare(out[n-1], x) >= 0 {
			r.fail(errOrder)
		}
		if r.err != nil {
			return nil
		}
		out = append(out, x)
	}
	return out
}

func (r *reader) paths() []string { return sorted(r, 1, strings.Compare, (*reader).path) }

// path reads a path in its one form.
func (r *reader) path() string {
	s := r.string()
	if r.err == nil {
		if err := CheckRuntimePath(s); err != nil {
			r.fail(err)
		}
	}
	return s
}

// CheckRuntimePath says what is wrong with a path: rules hold them absolute and
// clean, as the kernel resolves them.
func CheckRuntimePath(s string) error {
	switch {
	case len(s) > MaxRuntimePath:
		return fmt.Errorf("path of %d bytes is over %d", len(s), MaxRuntimePath)
	case !strings.HasPrefix(s, "/"):
		return fmt.Errorf("path %q is not absolute", s)
	case s == "/":
		return nil
	case strings.HasSuffix(s, "/"):
		return fmt.Errorf("path %q ends in a slash", s)
	}
	return checkSteps(s)
}

// checkSteps refuses what a resolved path does not have.
func checkSteps(s string) error {
	if strings.Contains(s, "\x00") {
		return fmt.Errorf("path %q has a zero byte", s)
	}
	for i, step := range strings.Split(s, "/") {
		if i > 0 && step == "" || step == "." || step == ".." {
			return fmt.Errorf("path %q is not clean", s)
		}
	}
	return nil
}

func (r *reader) glob() RuntimeGlob {
	g := RuntimeGlob{Prefix: r.string(), Suffix: r.string()}
	switch {
	case r.err != nil:
	case len(g.Prefix)+len(g.Suffix) > MaxRuntimePath:
		r.fail(fmt.Errorf("glob of %d bytes is over %d", len(g.Prefix)+len(g.Suffix), MaxRuntimePath))
	case !strings.HasPrefix(g.Prefix, "/"):
		r.fail(fmt.Errorf("glob %q is not absolute", g.Prefix))
	case strings.Contains(g.Prefix+g.Suffix, "\x00"):
		r.fail(fmt.Errorf("glob %q has a zero byte", g.Prefix+g.Suffix))
	}
	return g
}

func (r *reader) block() RuntimeBlock {
	b := RuntimeBlock{CIDR: r.prefix(), Except: sorted(r, 6, ComparePrefixes, (*reader).prefix)}
	for _, e := range b.Except {
		if r.err == nil && (e.Bits() <= b.CIDR.Bits() || !b.CIDR.Contains(e.Addr())) {
			r.fail(fmt.Errorf("except %s is no part of %s", e, b.CIDR))
		}
	}
	return b
}

func (r *reader) ports() RuntimePort {
	p := RuntimePort{Proto: r.uint8(), Lo: r.uint16(), Hi: r.uint16()}
	if p.Lo > p.Hi {
		r.fail(fmt.Errorf("ports %d to %d", p.Lo, p.Hi))
	}
	return p
}

func decodeRuntimeRuleset(k, v *reader) Row {
	row := RuntimeRulesetRow{ID: k.id()}
	n := v.count(16)
	if n == 0 || n > MaxRuntimeRulesPerRuleset {
		v.fail(fmt.Errorf("%d rules are not 1 to %d", n, MaxRuntimeRulesPerRuleset))
		return row
	}
	row.Rules = make([]RuleID, n)
	for i := range row.Rules {
		row.Rules[i] = v.id()
	}
	seen := slices.SortedFunc(slices.Values(row.Rules), func(a, b RuleID) int { return cmp.Compare(string(a[:]), string(b[:])) })
	if v.err == nil && len(slices.Compact(seen)) < n {
		v.fail(errors.New("a rule repeats"))
	}
	return row
}

func decodeRuntimeSubject(k, v *reader) Row {
	return RuntimeSubjectRow{Kind: k.id(), Container: k.text(k.take(len(k.b))), Ruleset: v.id()}
}

func decodeRuntimePod(k, v *reader) Row {
	row := RuntimePodRow{UID: k.text(k.take(len(k.b))), Kind: v.id(), Namespace: v.string(), Name: v.name()}
	if row.UID == "" {
		k.fail(errEmpty)
	}
	return row
}
