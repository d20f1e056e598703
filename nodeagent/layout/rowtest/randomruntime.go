package rowtest

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"unicode/utf8"

	"pgregory.net/rapid"

	"palisade.dev/palisade/snapshot"
)

var (
	steps      = []string{"a", "b", "bin", "usr", "x.so", "é", "lib64-with-a-longer-name", "sh"}
	containers = []string{"", "app", "sidecar", snapshot.RuntimePauseContainer}
	kinds      = []string{"web", "db", "cron"}
)

// longStep makes paths of the greatest length.
var longStep = strings.Repeat("n", 255)

// RandomPath draws a path; some are long or deep, of those some as long as may be.
func RandomPath(t *rapid.T) string {
	switch rapid.IntRange(0, 19).Draw(t, "form") {
	case 0:
		return "/"
	case 1:
		return strings.Repeat("/"+longStep, rapid.IntRange(14, 15).Draw(t, "long")) + "/" + strings.Repeat("m", rapid.IntRange(240, 254).Draw(t, "end"))
	case 2:
		return strings.Repeat("/a", rapid.IntRange(60, 2047).Draw(t, "deep"))
	}
	var b strings.Builder
	for range rapid.IntRange(1, 6).Draw(t, "steps") {
		b.WriteString("/" + rapid.SampledFrom(steps).Draw(t, "step"))
	}
	return b.String()
}

func somePaths(t *rapid.T, all []string) []string {
	var out []string
	for range rapid.IntRange(0, 3).Draw(t, "some") {
		out = append(out, rapid.SampledFrom(all).Draw(t, "path"))
	}
	return out
}

// RandomRuntime draws the rules of a node, and paths that they might be about.
func RandomRuntime(t *rapid.T) (*Runtime, []string) {
	b := NewRuntime()
	paths := []string{"/", "/a", "/a/a", "/usr/bin/sh"}
	for range rapid.IntRange(4, 16).Draw(t, "paths") {
		p := RandomPath(t)
		paths = append(paths, p)
		if i := strings.LastIndexByte(p, '/'); i > 0 {
			paths = append(paths, p[:i])
		}
	}
	var ids []snapshot.RuleID
	for i := range rapid.IntRange(1, 20).Draw(t, "rules") {
		ids = append(ids, b.Rule(fmt.Sprintf("rule-%d", i), randomRule(t, paths)))
	}
	for i := range rapid.IntRange(1, 4).Draw(t, "rulesets") {
		order := rapid.Permutation(ids).Draw(t, "order")
		id := b.Ruleset(fmt.Sprintf("ruleset-%d", i), order[:rapid.IntRange(1, len(order)).Draw(t, "of them")]...)
		b.Subject(rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.SampledFrom(containers).Draw(t, "container"), id)
		b.Subject(rapid.SampledFrom(kinds).Draw(t, "kind"), rapid.SampledFrom(containers).Draw(t, "container"), id)
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "pods") {
		b.Local(uid(i), rapid.SampledFrom(append(kinds, "other")).Draw(t, "kind"))
	}
	b.Pod("0123456789abcdef0123456789abcdef", rapid.SampledFrom(kinds).Draw(t, "kind"))
	b.Pod(snapshot.RuntimeNodeUID, rapid.SampledFrom(kinds).Draw(t, "kind"))
	slices.SortFunc(paths, comparePaths)
	return b, slices.Compact(paths)
}

// Redraw is the same node with other content of some of the rules, by the same numbers.
func (b *Runtime) Redraw(t *rapid.T, paths []string) *Runtime {
	c := *b
	c.rules = maps.Clone(b.rules)
	var ids []snapshot.RuleID
	for id := range b.rules {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, func(x, y snapshot.RuleID) int { return strings.Compare(string(x[:]), string(y[:])) })
	for range rapid.IntRange(1, 3).Draw(t, "redrawn") {
		c.Rule(b.names[rapid.SampledFrom(ids).Draw(t, "rule")].Rule, randomRule(t, paths))
	}
	return &c
}

func randomRule(t *rapid.T, paths []string) snapshot.RuntimeRuleRow {
	bit := func(label string) bool { return rapid.Bool().Draw(t, label) }
	r := snapshot.RuntimeRuleRow{
		Section: uint8(rapid.IntRange(0, 3).Draw(t, "section")), Action: uint8(rapid.IntRange(0, 2).Draw(t, "action")),
		Staged: true, Enforced: bit("enforced"),
	}
	if rapid.IntRange(0, 5).Draw(t, "isolation") == 0 {
		r.Isolation, r.Action = true, snapshot.RuntimeDeny
		return r
	}
	if bit("from") {
		r.From = somePaths(t, paths)
		r.FromDescendants = len(r.From) > 0 && bit("descendants")
	}
	bits := map[uint8]uint32{snapshot.SectionFiles: 255, snapshot.SectionPrivileges: 1<<15 - 1, snapshot.SectionNetwork: 15}[r.Section]
	if bit("operations") {
		r.Operations = rapid.Uint32Range(0, bits).Draw(t, "bits") & bits
	}
	if bit("rate") {
		r.RateLimit = rapid.Uint32Range(1, 10_000).Draw(t, "events a second")
	}
	switch r.Section {
	case snapshot.SectionPrivileges:
		if bit("capabilities") {
			r.Capabilities = rapid.Uint64Range(0, 15).Draw(t, "capabilities")
		}
	case snapshot.SectionNetwork:
		randomReach(t, &r)
	default:
		if r.Section == snapshot.SectionFiles {
			r.Owner = uint8(rapid.IntRange(0, 2).Draw(t, "owner"))
		} else if !r.Enforced && rapid.IntRange(0, 3).Draw(t, "arguments") == 0 {
			r.Arguments = []string{"-x"}
		}
		if bit("origins") {
			r.Origins = uint8(rapid.IntRange(0, 15).Draw(t, "origins"))
		}
		randomObjects(t, &r, paths)
	}
	return r
}

func randomObjects(t *rapid.T, r *snapshot.RuntimeRuleRow, paths []string) {
	r.Paths, r.Directories = somePaths(t, paths), somePaths(t, paths)
	for range rapid.IntRange(0, 2).Draw(t, "globs") {
		p := rapid.SampledFrom(paths).Draw(t, "of")
		i := rapid.IntRange(1, len(p)).Draw(t, "before")
		j := rapid.IntRange(0, len(p)).Draw(t, "after")
		g := snapshot.RuntimeGlob{Prefix: p[:i], Suffix: p[j:]}
		if utf8.ValidString(g.Prefix) && utf8.ValidString(g.Suffix) && len(g.Prefix)+len(g.Suffix) <= snapshot.MaxRuntimePath {
			r.Globs = append(r.Globs, g)
		}
	}
}

var addresses = []string{"10.0.0.1", "10.0.1.1", "10.255.0.1", "192.168.7.7", "fd00::1", "fd00:1::1", "::a00:1"}

func randomReach(t *rapid.T, r *snapshot.RuntimeRuleRow) {
	for range rapid.IntRange(0, 3).Draw(t, "blocks") {
		a := netip.MustParseAddr(rapid.SampledFrom(addresses).Draw(t, "address"))
		bits := rapid.IntRange(0, a.BitLen()).Draw(t, "bits")
		block := snapshot.RuntimeBlock{CIDR: netip.PrefixFrom(a, bits).Masked()}
		if bits < a.BitLen() && rapid.Bool().Draw(t, "except") {
			e := netip.MustParseAddr(rapid.SampledFrom(addresses).Draw(t, "address"))
			if block.CIDR.Contains(e) {
				block.Except = []netip.Prefix{netip.PrefixFrom(e, rapid.IntRange(bits+1, a.BitLen()).Draw(t, "bits")).Masked()}
			}
		}
		if !slices.ContainsFunc(r.Blocks, func(x snapshot.RuntimeBlock) bool { return snapshot.CompareRuntimeBlocks(x, block) == 0 }) {
			r.Blocks = append(r.Blocks, block)
		}
	}
	for range rapid.IntRange(0, 10).Draw(t, "ports") {
		lo := rapid.Uint16Range(0, 40).Draw(t, "lo")
		p := snapshot.RuntimePort{Proto: rapid.SampledFrom([]uint8{0, 1, 6, 17}).Draw(t, "proto"), Lo: lo, Hi: lo + rapid.Uint16Range(0, 9).Draw(t, "more")}
		if !slices.Contains(r.Ports, p) {
			r.Ports = append(r.Ports, p)
		}
	}
}

// RandomOperation draws an operation that the rules might be about.
func RandomOperation(t *rapid.T, paths []string) Operation {
	op := Operation{Section: uint8(rapid.IntRange(0, 3).Draw(t, "section")), Overflow: rapid.IntRange(0, 9).Draw(t, "overflow") == 0}
	for range rapid.IntRange(0, 4).Draw(t, "chain") {
		op.Chain = append(op.Chain, rapid.SampledFrom(paths).Draw(t, "executable"))
	}
	bits := map[uint8]int{snapshot.SectionFiles: 8, snapshot.SectionPrivileges: 15, snapshot.SectionNetwork: 4}[op.Section]
	for range min(bits, 2) {
		op.Operations |= 1 << rapid.IntRange(0, bits-1).Draw(t, "operation")
	}
	switch op.Section {
	case snapshot.SectionPrivileges:
		op.Capabilities = 1 << rapid.IntRange(0, 4).Draw(t, "capability")
	case snapshot.SectionNetwork:
		op.Addr = netip.MustParseAddr(rapid.SampledFrom(addresses).Draw(t, "address"))
		op.Proto = rapid.SampledFrom([]uint8{1, 6, 17}).Draw(t, "proto")
		op.Port = rapid.Uint16Range(0, 60).Draw(t, "port")
	default:
		op.Origin = 1 << rapid.IntRange(0, 3).Draw(t, "origin")
		op.Owns = rapid.Bool().Draw(t, "owns")
		op.Mapping = op.Section == snapshot.SectionExecutables && rapid.Bool().Draw(t, "mapping")
		op.Directory = op.Section == snapshot.SectionFiles && rapid.Bool().Draw(t, "directory")
		op.Unresolvable = rapid.IntRange(0, 19).Draw(t, "unresolvable") == 0
		op.Path = rapid.SampledFrom(paths).Draw(t, "path")
		if rapid.IntRange(0, 3).Draw(t, "other") == 0 {
			op.Path = RandomPath(t)
		}
	}
	return op
}

// RandomContainer draws the name of a container, or that it is not known yet.
func RandomContainer(t *rapid.T) string {
	return rapid.SampledFrom([]string{"app", "sidecar", "unheard-of", snapshot.RuntimePauseContainer, Pending}).Draw(t, "container")
}
