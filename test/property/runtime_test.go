package property

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/policy/reference"
	"palisade.dev/palisade/snapshot"
)

// Paths that are one another's directories, prefixes and neighbours.
var (
	paths = []string{
		"/", "/bin", "/bin/sh", "/bin/shx", "/bina", "/usr", "/usr/bin", "/usr/bin/sh", "/usr/lib", "/usr/lib/a.so", "/usr/lib/x/a.so",
		"/usr/lib/.so", "/etc", "/etc/passwd", "/home/a", "/home/a/b",
	}
	globs = []model.Glob{
		{Prefix: "/"}, {Prefix: "/", Suffix: ".so"}, {Prefix: "/usr/lib/", Suffix: ".so"}, {Prefix: "/usr/lib/a", Suffix: "a.so"},
		{Prefix: "/bin"}, {Prefix: "/bin/", Suffix: "sh"}, {Prefix: "/usr/li", Suffix: "o"}, {Prefix: "/home/a/", Suffix: "b"},
	}
	containerNames = []string{"app", "init", model.PauseContainer}
	arguments      = []string{"-x", "--host=**", "**"}
)

// sorted draws some of a list, in order and without repetitions.
func sorted[T any](r *rand.Rand, most int, list []T, compare func(a, b T) int) []T {
	out := some(r, 0, most, func() T { return pick(r, list) })
	slices.SortFunc(out, compare)
	return slices.CompactFunc(out, func(a, b T) bool { return compare(a, b) == 0 })
}

func drawPaths(r *rand.Rand) []string {
	if chance(r, 2) {
		return nil
	}
	return sorted(r, 2, paths, strings.Compare)
}

func drawRuntime(r *rand.Rand, tier model.Tier) *model.Runtime {
	out := &model.Runtime{Prevent: chance(r, 2)}
	if chance(r, 3) {
		out.Containers = sorted(r, 2, containerNames, strings.Compare)
	}
	for s := range model.Section(model.Sections) {
		if chance(r, 4) {
			continue
		}
		section := &out.Sections[s]
		section.Isolates = tier != model.TierAdmin && chance(r, 2)
		for i := range r.IntN(4) {
			section.Rules = append(section.Rules, drawRuntimeRule(r, s, fmt.Sprintf("r-%d", i)))
		}
	}
	return out
}

func drawRuntimeRule(r *rand.Rand, s model.Section, name string) model.RuntimeRule {
	rule := model.RuntimeRule{Name: name, Action: model.RuntimeAction(r.IntN(5)), Message: pick(r, []string{"", "because"})}
	if chance(r, 5) {
		rule.From = sorted(r, 2, paths, strings.Compare)
		rule.FromDescendants = chance(r, 2)
	}
	if s == model.SectionExecutables || s == model.SectionFiles {
		rule.Paths = drawPaths(r)
		if chance(r, 2) {
			rule.Directories = drawPaths(r)
		}
		if chance(r, 3) {
			rule.Globs = sorted(r, 2, globs, func(a, b model.Glob) int {
				return strings.Compare(a.Prefix+"**"+a.Suffix, b.Prefix+"**"+b.Suffix)
			})
			slices.SortFunc(rule.Globs, func(a, b model.Glob) int {
				return snapshot.CompareRuntimeGlobs(snapshot.RuntimeGlob(a), snapshot.RuntimeGlob(b))
			})
		}
		if chance(r, 3) {
			rule.Origins = model.Origin(1 + r.IntN(15))
		}
	}
	switch s {
	case model.SectionExecutables:
		if rule.Action == model.RuntimeAudit && chance(r, 2) {
			rule.Arguments = sorted(r, 2, arguments, strings.Compare)
		}
	case model.SectionFiles:
		if chance(r, 3) {
			rule.Owner = model.Owner(r.IntN(3))
		}
		rule.Operations = drawBits(r, uint32(model.FileOperations))
	case model.SectionPrivileges:
		rule.Operations = drawBits(r, uint32(model.PrivilegeOperations))
		if rule.Operations == 0 || rule.Operations&uint32(model.PrivilegeCapability) != 0 {
			rule.Capabilities = uint64(drawBits(r, 7))
		}
	case model.SectionNetwork:
		rule.Operations = drawBits(r, uint32(model.SocketOperations))
		rule.Peers = some(r, 0, 2, func() model.Peer {
			switch r.IntN(4) {
			case 0:
				return model.Peer{Kind: model.PeerAddressGroup, Name: pick(r, groupNames)}
			case 1:
				return model.Peer{Kind: model.PeerBlock, Block: drawBlock(r)}
			}
			for {
				if p := drawPeer(r); p.Kind != model.PeerAny { // which no manifest can say
					return p
				}
			}
		})
		rule.Ports = some(r, 0, 1, func() model.RuntimePorts {
			lo, hi := pick(r, ports), pick(r, ports)
			return model.RuntimePorts{
				Proto: pick(r, append([]model.Protocol{model.ProtoAny, model.ProtoICMP}, protocols...)), Lo: min(lo, hi), Hi: max(lo, hi),
			}
		})
	}
	return rule
}

// drawBits draws some of the bits, often none, which stands for all.
func drawBits(r *rand.Rand, all uint32) uint32 {
	if chance(r, 3) {
		return 0
	}
	return r.Uint32() & all
}

// drawOperation draws a question that rules of the section may be about.
func drawOperation(r *rand.Rand, addrs []netip.Addr) model.Operation {
	op := model.Operation{Section: model.Section(r.IntN(model.Sections)), Executable: pick(r, paths)}
	op.Ancestry = some(r, 0, 2, func() string { return pick(r, paths) })
	op.DeepAncestry = chance(r, 10)
	switch op.Section {
	case model.SectionExecutables, model.SectionFiles:
		op.Path, op.Origin = pick(r, paths), model.Origin(1)<<r.IntN(4)
		if op.Unresolvable = chance(r, 10); op.Unresolvable {
			op.Path = ""
		}
	}
	bit := func(all uint32) uint32 { // one bit, sometimes two
		for {
			b := uint32(1)<<r.IntN(16) | uint32(1)<<r.IntN(16)&-uint32(r.IntN(2))
			if b&^all == 0 {
				return b
			}
		}
	}
	switch op.Section {
	case model.SectionExecutables:
		op.Mapping = chance(r, 3)
		op.Arguments = some(r, 0, 3, func() string { return pick(r, []string{"-x", "--host=a", "y"}) })
	case model.SectionFiles:
		op.Bits, op.Owned, op.Directory = bit(uint32(model.FileOperations)), chance(r, 2), chance(r, 2)
	case model.SectionPrivileges:
		op.Bits, op.Capability = bit(uint32(model.PrivilegeOperations)), uint8(r.IntN(3))
	case model.SectionNetwork:
		op.Bits = bit(uint32(model.SocketOperations))
		if !chance(r, 10) {
			op.Address = pick(r, addrs)
		}
		op.Proto, op.Port = pick(r, append([]model.Protocol{model.ProtoICMP, model.ProtoICMPv6}, protocols...)), pick(r, ports)
	}
	return op
}

// TestRuntimeRowsAgreeWithReference asks compiled rows and the reference evaluator
// the same questions about processes.
func TestRuntimeRowsAgreeWithReference(t *testing.T) {
	asked, decided, killed, staged := 0, 0, 0, 0
	onWorkloads := 0 // of decided
	tryHistories(t, 100, func(h history) error {
		w, c := newWorld(), compile.New(compile.Options{})
		for _, commit := range h.commits {
			for _, event := range commit {
				w.step(event.rand(), c)
			}
		}
		r := h.event.rand()
		for added := 0; added < 6; { // so that there is something to ask about
			if p := drawPolicy(r); p.Runtime != nil && (added < 4 || p.Subject.Kind == model.EndpointExternal) {
				w.putPolicy(p, 0, c)
				added++
			}
		}
		for _, ns := range namespaceNames {
			e := w.drawEndpoint(r, model.EndpointID{Kind: model.EndpointExternal, Namespace: ns, Name: "vm"})
			w.endpoints[e.ID] = e
			c.PutEndpoint(e)
		}
		c.Commit()
		cluster := w.cluster()
		nodes := map[model.NodeName]*snapshot.Set{}
		for _, name := range c.NodeNames() {
			nodes[name] = c.Node(name)
		}
		tables, err := analysis.FromTables(nodes, c.Common())
		if err != nil {
			return err
		}
		for _, id := range slices.SortedFunc(maps.Keys(w.endpoints), model.CompareEndpointIDs) {
			if id.Kind == model.EndpointExternal && w.endpoints[id].Node == "" {
				continue // nobody enforces there
			}
			for range 200 {
				who := analysis.Container{Node: w.endpoints[id].Node}
				name := ""
				if id.Kind == model.EndpointPod {
					who.UID = string(w.endpoints[id].UID)
					if hash := w.endpoints[id].ConfigHash; hash != "" && chance(r, 2) {
						who.UID = hash
					}
					name = pick(r, append([]string{"other"}, containerNames...))
					who.Name = name
				}
				op := drawOperation(r, addresses)
				got, err := tables.JudgeRuntime(who, op)
				if err != nil {
					return err
				}
				if want := reference.JudgeRuntime(cluster, id, name, op); got != want {
					return fmt.Errorf("%s container %q: %+v\nrows      %+v\nreference %+v\ncluster %+v", id, name, op, got, want, cluster)
				}
				asked++
				if got.Enforced.By.Policy.Kind != model.KindBuiltin {
					decided++
					if id.Kind == model.EndpointExternal {
						onWorkloads++
					}
				}
				if got.Enforced.Verdict == model.Kill {
					killed++
				}
				if got.Enforced != got.Staged {
					staged++
				}
			}
		}
		return nil
	})
	t.Logf("of %d a policy decided %d (%d on external workloads), killed %d, and staged another verdict of %d", asked, decided, onWorkloads, killed, staged)
	if decided*20 < asked || onWorkloads*1000 < asked || killed*300 < asked || staged*100 < asked {
		t.Error("too few to prove anything")
	}
}
