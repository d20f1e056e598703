package snapshot

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// list draws a sorted list without repetitions.
func list[T any](t *rapid.T, compare func(a, b T) int, draw func() T) []T {
	var out []T
	for range rapid.IntRange(0, 3).Draw(t, "length") {
		out = append(out, draw())
	}
	slices.SortFunc(out, compare)
	return slices.CompactFunc(out, func(a, b T) bool { return compare(a, b) == 0 })
}

func genPaths(t *rapid.T) []string {
	return list(t, strings.Compare, func() string {
		return rapid.SampledFrom([]string{"/", "/bin", "/bin/sh", "/usr/bin/env", "/etc/…", "/a b"}).Draw(t, "path")
	})
}

func genRuntimeRule(t *rapid.T) RuntimeRuleRow {
	bit := func() bool { return rapid.Bool().Draw(t, "bit") }
	row := RuntimeRuleRow{
		ID: genID(t), Section: uint8(rapid.IntRange(0, 3).Draw(t, "section")), Action: uint8(rapid.IntRange(0, 2).Draw(t, "action")),
		Enforced: bit(), Staged: true, RateLimit: rapid.Uint32().Draw(t, "rate"),
	}
	if row.Isolation = rapid.IntRange(0, 4).Draw(t, "isolation") == 0; row.Isolation {
		row.Action = RuntimeDeny
		return row
	}
	row.Operations = rapid.Uint32().Draw(t, "operations") & sectionOperations[row.Section]
	row.From = genPaths(t)
	row.FromDescendants = len(row.From) > 0 && bit()
	switch row.Section {
	case SectionExecutables, SectionFiles:
		row.Origins = uint8(rapid.IntRange(0, 15).Draw(t, "origins"))
		row.Paths, row.Directories = genPaths(t), genPaths(t)
		row.Globs = list(t, CompareRuntimeGlobs, func() RuntimeGlob {
			return RuntimeGlob{"/" + rapid.StringMatching("[a-c/]{0,2}").Draw(t, "prefix"), rapid.StringMatching("[.a-c/]{0,2}").Draw(t, "suffix")}
		})
		if row.Section == SectionFiles {
			row.Owner = uint8(rapid.IntRange(0, 2).Draw(t, "owner"))
		} else if !row.Enforced {
			row.Arguments = list(t, strings.Compare, func() string { return rapid.StringN(1, 8, 32).Draw(t, "argument") })
		}
	case SectionPrivileges:
		row.Capabilities = rapid.Uint64Range(0, 1<<41-1).Draw(t, "capabilities")
	case SectionNetwork:
		row.Blocks = list(t, CompareRuntimeBlocks, func() RuntimeBlock { return genBlock(t) })
		row.Ports = list(t, CompareRuntimePorts, func() RuntimePort {
			lo := rapid.Uint16().Draw(t, "lo")
			return RuntimePort{rapid.Byte().Draw(t, "proto"), lo, rapid.Uint16Range(lo, 0xffff).Draw(t, "hi")}
		})
		if bit() {
			row.Peers = genID(t)
		}
	}
	return row
}

func genBlock(t *rapid.T) RuntimeBlock {
	b := RuntimeBlock{CIDR: genPrefix(t)}
	if b.CIDR.IsSingleIP() {
		return b
	}
	b.Except = list(t, ComparePrefixes, func() netip.Prefix {
		bits := rapid.IntRange(b.CIDR.Bits()+1, b.CIDR.Addr().BitLen()).Draw(t, "bits")
		return netip.PrefixFrom(b.CIDR.Addr(), bits)
	})
	return b
}

func genRuntimeRow(t *rapid.T) Row {
	text := rapid.StringN(0, 8, 40)
	switch rapid.IntRange(0, 3).Draw(t, "runtime table") {
	case 0:
		return genRuntimeRule(t)
	case 1:
		compare := func(a, b RuleID) int { return slices.Compare(a[:], b[:]) }
		rules := append(list(t, compare, func() RuleID { return genID(t) }), RuleID{8: 1})
		slices.Reverse(rules) // in any order
		return RuntimeRulesetRow{ID: genID(t), Rules: rules}
	case 2:
		return RuntimeSubjectRow{Kind: genID(t), Container: text.Draw(t, "container"), Ruleset: genID(t)}
	default:
		return RuntimePodRow{UID: "u" + text.Draw(t, "uid"), Kind: genID(t), Namespace: text.Draw(t, "ns"), Name: "n" + text.Draw(t, "name")}
	}
}

// sampleRuntimeRows holds full rows of the runtime tables.
func sampleRuntimeRows() []Row {
	id := func(n byte) (x [16]byte) { x[0] = n; return x }
	return []Row{
		RuleRow{ID: id(20), Tier: 2, PolicyKind: 4, Namespace: "shop", Policy: "db", Rule: "executables/shell", Severity: "High"},
		RuntimeRuleRow{
			ID: id(20), Section: SectionExecutables, Action: RuntimeKill, Enforced: true, Staged: true,
			Origins: OriginImage | OriginMemory, Paths: []string{"/bin/sh", "/usr/bin/dash"}, Directories: []string{"/"},
			Globs: []RuntimeGlob{{"/usr/lib/", ".so"}}, From: []string{"/usr/sbin/sshd"}, FromDescendants: true, RateLimit: 9,
		},
		RuntimeRuleRow{ID: id(21), Section: SectionExecutables, Action: RuntimeDeny, Staged: true, Arguments: []string{"--privileged"}},
		RuntimeRuleRow{ID: id(22), Section: SectionFiles, Action: RuntimeAccept, Enforced: true, Staged: true, Operations: 0x81, Owner: OwnerOnly, Directories: []string{"/var/lib"}},
		RuntimeRuleRow{ID: id(23), Section: SectionPrivileges, Action: RuntimeDeny, Enforced: true, Staged: true, Operations: 1, Capabilities: 1<<21 | 1<<lastCapability},
		RuntimeRuleRow{
			ID: id(24), Section: SectionNetwork, Action: RuntimeDeny, Enforced: true, Staged: true, Operations: 9,
			Blocks: []RuntimeBlock{{netip.MustParsePrefix("10.0.0.0/8"), []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}},
			Ports:  []RuntimePort{{6, 1, 1023}, {17, 53, 53}}, Peers: id(4),
		},
		RuntimeRuleRow{ID: id(25), Section: SectionFiles, Action: RuntimeDeny, Enforced: true, Staged: true, Isolation: true},
		RuntimeRulesetRow{ID: id(30), Rules: []RuleID{id(24), id(20), id(22)}},
		RuntimeSubjectRow{Kind: id(7), Ruleset: id(30)},
		RuntimeSubjectRow{Kind: id(7), Container: "pause", Ruleset: id(31)},
		RuntimePodRow{UID: "0f3a", Kind: id(7), Namespace: "kube-system", Name: "etcd"},
		RuntimePodRow{UID: RuntimeNodeUID, Kind: id(9), Name: "node-a"},
	}
}

func sampleRuntimeFile() *File {
	s := sampleSet()
	for _, r := range sampleRuntimeRows() {
		s.Put(Encode(r))
	}
	c := sampleCommit()
	c.Digest = s.Digest()
	return &File{Commit: c, Signature: Sign(testKey(1), c), Set: s}
}

func TestDecodeRuntimeRefuses(t *testing.T) {
	with := func(section uint8, change func(*RuntimeRuleRow)) Entry {
		row := RuntimeRuleRow{Section: section, Enforced: true, Staged: true}
		change(&row)
		return Encode(row)
	}
	path := func(paths ...string) Entry {
		return with(SectionFiles, func(r *RuntimeRuleRow) { r.Paths = paths })
	}
	glob := func(prefix, suffix string) Entry {
		return with(SectionFiles, func(r *RuntimeRuleRow) { r.Globs = []RuntimeGlob{{prefix, suffix}} })
	}
	block := func(cidr string, except ...string) Entry {
		return with(SectionNetwork, func(r *RuntimeRuleRow) {
			b := RuntimeBlock{CIDR: netip.MustParsePrefix(cidr)}
			for _, e := range except {
				b.Except = append(b.Except, netip.MustParsePrefix(e))
			}
			r.Blocks = []RuntimeBlock{b}
		})
	}
	tests := map[string]struct {
		entry Entry
		want  string
	}{
		"section four":            {with(4, func(*RuntimeRuleRow) {}), "value 4 is over 3"},
		"action three":            {with(0, func(r *RuntimeRuleRow) { r.Action = 3 }), "value 3 is over 2"},
		"no world":                {with(0, func(r *RuntimeRuleRow) { r.Enforced, r.Staged = false, false }), "no world"},
		"operations of another":   {with(SectionNetwork, func(r *RuntimeRuleRow) { r.Operations = 16 }), "operations 0x10"},
		"operations of exec":      {with(SectionExecutables, func(r *RuntimeRuleRow) { r.Operations = 1 }), "operations 0x1"},
		"origin 16":               {with(0, func(r *RuntimeRuleRow) { r.Origins = 16 }), "value 16 is over 15"},
		"origin of a privilege":   {with(SectionPrivileges, func(r *RuntimeRuleRow) { r.Origins = 1 }), "no objects"},
		"path of a privilege":     {with(SectionPrivileges, func(r *RuntimeRuleRow) { r.Paths = []string{"/a"} }), "no objects"},
		"directory of a network":  {with(SectionNetwork, func(r *RuntimeRuleRow) { r.Directories = []string{"/a"} }), "no objects"},
		"owner of an executable":  {with(0, func(r *RuntimeRuleRow) { r.Owner = 1 }), "no owner"},
		"capability of a file":    {with(SectionFiles, func(r *RuntimeRuleRow) { r.Capabilities = 1 }), "no capabilities"},
		"capability 41":           {with(SectionPrivileges, func(r *RuntimeRuleRow) { r.Capabilities = 1 << 41 }), "not all known"},
		"peers of a file":         {with(SectionFiles, func(r *RuntimeRuleRow) { r.Peers[3] = 1 }), "no peers"},
		"ports of a file":         {with(SectionFiles, func(r *RuntimeRuleRow) { r.Ports = []RuntimePort{{}} }), "no peers"},
		"descendants of nobody":   {with(0, func(r *RuntimeRuleRow) { r.FromDescendants = true }), "descendants of nobody"},
		"enforced arguments":      {with(0, func(r *RuntimeRuleRow) { r.Arguments = []string{"-x"} }), "arguments"},
		"isolation that accepts":  {with(0, func(r *RuntimeRuleRow) { r.Isolation = true }), "isolation"},
		"isolation of a path":     {with(0, func(r *RuntimeRuleRow) { r.Isolation, r.Action, r.Paths = true, 1, []string{"/"} }), "isolation"},
		"isolation of an owner":   {with(SectionFiles, func(r *RuntimeRuleRow) { r.Isolation, r.Action, r.Owner = true, 1, 1 }), "isolation"},
		"relative path":           {path("bin/sh"), "not absolute"},
		"empty path":              {path(""), "not absolute"},
		"slash at the end":        {path("/bin/"), "ends in a slash"},
		"two slashes":             {path("/bin//sh"), "not clean"},
		"dot":                     {path("/./sh"), "not clean"},
		"dot dot":                 {path("/bin/.."), "not clean"},
		"zero byte":               {path("/bin\x00"), "zero byte"},
		"paths unsorted":          {path("/b", "/a"), "unsorted"},
		"paths repeat":            {path("/b", "/b"), "repeats"},
		"relative glob":           {glob("a", ""), "not absolute"},
		"long glob":               {glob("/"+strings.Repeat("a", 4000), strings.Repeat("a", 200)), "over 4096"},
		"zero byte in a glob":     {glob("/a", "\x00"), "zero byte"},
		"except beside its block": {block("10.0.0.0/8", "11.0.0.0/16"), "no part of"},
		"except is its block":     {block("10.0.0.0/8", "10.0.0.0/8"), "no part of"},
		"excepts unsorted":        {block("10.0.0.0/8", "10.2.0.0/16", "10.1.0.0/16"), "unsorted"},
		"ports upside down":       {with(SectionNetwork, func(r *RuntimeRuleRow) { r.Ports = []RuntimePort{{6, 2, 1}} }), "ports 2 to 1"},
		"no rules":                {Encode(RuntimeRulesetRow{}), "0 rules"},
		"rule twice":              {Encode(RuntimeRulesetRow{Rules: []RuleID{{1}, {2}, {1}}}), "repeats"},
		"too many rules":          {Encode(RuntimeRulesetRow{Rules: make([]RuleID, MaxRuntimeRulesPerRuleset+1)}), "16385 rules"},
		"pod without UID":         {Encode(RuntimePodRow{Name: "a"}), "empty"},
		"pod without name":        {Encode(RuntimePodRow{UID: "a"}), "empty"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			row, err := Decode(test.entry)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %#v and error %v, want one with %q", row, err, test.want)
			}
		})
	}
}

// TestNeedsRuntime: what an agent of the first version could not read is told
// from what it always could.
func TestNeedsRuntime(t *testing.T) {
	for _, row := range sampleRows() {
		if Encode(row).NeedsRuntime() {
			t.Errorf("%#v needs an agent that knows runtime rules", row)
		}
	}
	for _, row := range sampleRuntimeRows() {
		if !Encode(row).NeedsRuntime() {
			t.Errorf("%#v needs no agent that knows runtime rules", row)
		}
	}
}
