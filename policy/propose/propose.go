package propose

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"palisade.dev/palisade/api/v1alpha1"
)

// Observation is one thing that a process asked for.
type Observation struct {
	Pod   string // NAMESPACE/NAME, for the counts
	Node  string // where that was recorded, for the counts
	Known bool   // the policy that is refined allows it already

	// Exactly one of these groups is set.
	Executable string
	File       string
	Privilege  v1alpha1.PrivilegeOperation
	Socket     v1alpha1.SocketOperation

	Origin     v1alpha1.Origin          // of an executable or a file, "" where unknown
	Mapping    bool                     // the executable was mapped, not executed
	Operations []v1alpha1.FileOperation // on File
	Capability v1alpha1.Capability      // of Privilege Capability
	Protocol   string                   // of Socket: tcp, udp, sctp, icmp, icmpv6
	Address    netip.Addr               // invalid: none
	Port       uint16
}

// Proposal is the policy's sections, and what its author should know.
type Proposal struct {
	Rules v1alpha1.RuntimeRules
	Notes []string // sentences, the most important first
}

// Sections says which sections to propose; a section that is proposed denies by
// default what was not seen.
type Sections struct {
	Executables, Files, Privileges, Network bool
}

// Propose makes the smallest policy that would have allowed all observations, in the
// sections that are asked for. What cannot be allowed by a rule is named in a note.
func Propose(seen []Observation, want Sections) Proposal {
	p := propose(seen, want, v1alpha1.RuntimeRules{})
	p.Notes = append(crowded(&p.Rules), p.Notes...)
	return p
}

// Refine proposes what a policy has to accept besides, and adds it. Names in rules that
// were proposed before count as seen, so that names of one directory become the
// directory, however many recordings they come from.
func Refine(policy *v1alpha1.RuntimeRules, seen []Observation, want Sections) Proposal {
	p := propose(seen, want, *policy)
	Merge(policy, p.Rules)
	p.Rules = *policy
	p.Notes = append(crowded(policy), p.Notes...)
	return p
}

func propose(seen []Observation, want Sections, known v1alpha1.RuntimeRules) Proposal {
	p := &proposer{known: known}
	notes := counted(seen)
	seen = slices.DeleteFunc(slices.Clone(seen), func(o Observation) bool { return o.Known })
	var rules v1alpha1.RuntimeRules
	if want.Executables {
		rules.Executables = p.executables(seen)
	}
	if want.Files {
		rules.Files = p.files(seen)
	}
	if want.Privileges {
		rules.Privileges = p.privileges(seen)
	}
	if want.Network {
		rules.Network = p.network(seen)
	}
	return Proposal{Rules: rules, Notes: append(notes, p.notes...)}
}

// maxRules is how many rules the API takes in a section.
const maxRules = 50

// crowded names the sections of a policy that the API would refuse.
func crowded(rules *v1alpha1.RuntimeRules) []string {
	var out []string
	check := func(section string, n int) {
		if n > maxRules {
			out = append(out, fmt.Sprintf("%s has %d rules, and a policy may have %d of a section: write several policies about the same pods, with the section's default in each", section, n, maxRules))
		}
	}
	if s := rules.Executables; s != nil {
		check("executables", len(s.Rules))
	}
	if s := rules.Files; s != nil {
		check("files", len(s.Rules))
	}
	if s := rules.Privileges; s != nil {
		check("privileges", len(s.Rules))
	}
	if s := rules.Network; s != nil {
		check("network", len(s.Rules))
	}
	return out
}

// counted says how much a recording holds, and what would make it hold more.
func counted(seen []Observation) []string {
	pods, nodes, known := map[string]bool{}, map[string]bool{}, 0
	for i := range seen {
		o := &seen[i]
		pods[o.Pod] = true
		if o.Node != "" {
			nodes[o.Node] = true
		}
		if o.Known {
			known++
		}
	}
	text := fmt.Sprintf("operations seen: %d, of pods: %d", len(seen), len(pods))
	if len(nodes) > 0 {
		text += fmt.Sprintf(", on nodes: %d", len(nodes))
	}
	if known > 0 {
		text += fmt.Sprintf("; allowed already: %d", known)
	}
	notes := []string{text}
	if len(pods) == 1 {
		notes = append(notes, "one pod alone: record several, over a start, a day of work and a stop")
	}
	if len(nodes) == 1 {
		notes = append(notes, "one node alone, and an agent records its own: record every node that such pods run on")
	}
	return notes
}

type proposer struct {
	known v1alpha1.RuntimeRules // of the policy that is to be refined
	notes []string
}

func (p *proposer) note(format string, args ...any) {
	p.notes = append(p.notes, fmt.Sprintf(format, args...))
}

// once names what was seen a single time: by chance, perhaps.
func (p *proposer) once(section string, places []place) {
	var names []string
	for _, x := range places {
		if x.seen == 1 && x.names <= 1 {
			names = append(names, x.name)
		}
	}
	const shown = 5
	if len(names) > 0 {
		more := ""
		if len(names) > shown {
			more = fmt.Sprintf(" and %d more", len(names)-shown)
		}
		p.note("%s: seen only once: %s%s", section, strings.Join(names[:min(shown, len(names))], ", "), more)
	}
	for _, x := range places {
		if x.directory {
			p.note("%s: the directory %s stands for %d names, seen %d times", section, x.name, x.names, x.seen)
		}
	}
}

// pathsPerRule is how many paths a rule of the API may have.
const pathsPerRule = 50

// matches cuts places into lists that a rule can hold.
func matches(places []place) []v1alpha1.PathMatch {
	var out []v1alpha1.PathMatch
	var files, directories []v1alpha1.Path
	for _, x := range places {
		if x.directory {
			directories = append(directories, v1alpha1.Path(x.name))
		} else {
			files = append(files, v1alpha1.Path(x.name))
		}
	}
	for len(files) > 0 || len(directories) > 0 {
		f, d := min(pathsPerRule, len(files)), min(pathsPerRule, len(directories))
		out = append(out, v1alpha1.PathMatch{Paths: slices.Clip(files[:f]), Directories: slices.Clip(directories[:d])})
		files, directories = files[f:], directories[d:]
	}
	return out
}

// accept is a rule's common part; the number keeps the names of several apart.
func accept(name string, i int) v1alpha1.RuntimeRule {
	if i > 0 {
		name = fmt.Sprintf("%s-%d", name, i+1)
	}
	return v1alpha1.RuntimeRule{Name: v1alpha1.RuleName(name), Action: v1alpha1.ActionAccept}
}

// executables are told apart by origin, so that the path of a shipped program does
// not accept a file that was put in its place.
func (p *proposer) executables(seen []Observation) *v1alpha1.ExecutableSection {
	byOrigin := map[v1alpha1.Origin]map[string]int{}
	for i := range seen {
		if o := &seen[i]; o.Executable != "" && (!o.Mapping || o.Origin != v1alpha1.OriginImage) {
			count(byOrigin, o.Origin, o.Executable)
		}
	}
	section := &v1alpha1.ExecutableSection{Default: v1alpha1.ActionDeny}
	for _, origin := range slices.Sorted(maps.Keys(byOrigin)) {
		name, origins := originName(origin), []v1alpha1.Origin(nil)
		if origin != "" {
			origins = []v1alpha1.Origin{origin}
		}
		if origin != "" && origin != v1alpha1.OriginImage {
			p.note("executables: some did not come from the image (%s): look at rule %s twice", origin, name)
		}
		places := gather(byOrigin[origin], p.knownExecutables(origin))
		p.once("executables", places)
		for i, m := range matches(places) {
			section.Rules = append(section.Rules, v1alpha1.ExecutableRule{RuntimeRule: accept(name, i), PathMatch: m, Origins: origins})
		}
	}
	return section
}

// originName is what a rule about executables of an origin is called.
func originName(origin v1alpha1.Origin) string {
	if origin == "" {
		return "unknown-origin"
	}
	return strings.ToLower(string(origin))
}

func (p *proposer) knownExecutables(origin v1alpha1.Origin) []place {
	var out []place
	if s := p.known.Executables; s != nil {
		for i := range s.Rules {
			if o, made := madeExecutable(&s.Rules[i]); made && o == origin {
				out = append(out, placesOf(s.Rules[i].PathMatch)...)
			}
		}
	}
	return out
}

// What rules about privileges are called.
const (
	capabilityRule = "capabilities"
	privilegeRule  = "operations"
)

func (p *proposer) privileges(seen []Observation) *v1alpha1.PrivilegeSection {
	operations, capabilities := map[v1alpha1.PrivilegeOperation]int{}, map[v1alpha1.Capability]int{}
	for i := range seen {
		switch o := &seen[i]; {
		case o.Privilege == "":
		case o.Capability != "":
			capabilities[o.Capability]++
		default:
			operations[o.Privilege]++
		}
	}
	section := &v1alpha1.PrivilegeSection{Default: v1alpha1.ActionDeny}
	if len(capabilities) > 0 {
		section.Rules = append(section.Rules, v1alpha1.PrivilegeRule{
			RuntimeRule: accept(capabilityRule, 0), Operations: []v1alpha1.PrivilegeOperation{v1alpha1.PrivilegeCapability},
			Capabilities: slices.Sorted(maps.Keys(capabilities)),
		})
	}
	if len(operations) > 0 {
		section.Rules = append(section.Rules, v1alpha1.PrivilegeRule{
			RuntimeRule: accept(privilegeRule, 0), Operations: slices.Sorted(maps.Keys(operations)),
		})
	}
	for _, c := range slices.Sorted(maps.Keys(capabilities)) {
		if capabilities[c] == 1 {
			p.note("privileges: seen only once: capability %s", c)
		}
	}
	return section
}

func count[K comparable](by map[K]map[string]int, key K, name string) {
	if by[key] == nil {
		by[key] = map[string]int{}
	}
	by[key][name]++
}
