package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/snapshot"
)

// Trial is a private instance of the verdict: its own tables, attached nowhere,
// asked by test-run. Different goroutines may ask different ranges of questions,
// but not while an Apply outgrows the tables; TrialOptions.Lines makes room before.
type Trial struct {
	engine
	options   TrialOptions
	shared    bool // the tables are another's
	programs  *ebpf.Collection
	questions *ebpf.Map
	memory    *ebpf.Memory // of the outcomes
}

// TrialOptions size a trial. Zero values mean one batch and the layout's defaults.
type TrialOptions struct {
	Questions int
	Layout    layout.Options
	// Lines is the room of the tables to begin with.
	Lines int
	// Variables are constants of the program, for benchmarks.
	Variables map[string]any
	// Baseline is the size of the hash that benchmarks compare with.
	Baseline int
}

const defaultQuestions = 1024

// NewTrial loads a trial.
func NewTrial(o TrialOptions) (*Trial, error) {
	tables, err := newTables(capacityFor(o.Lines), "")
	if err != nil {
		return nil, err
	}
	return newTrial(o, tables)
}

// newTrial loads a trial on tables, which it closes if that fails.
func newTrial(o TrialOptions, tables *Tables) (*Trial, error) {
	if o.Questions == 0 {
		o.Questions = defaultQuestions
	}
	t := &Trial{options: o}
	t.engine = engine{layout: layout.New(o.Layout), tables: tables, grow: t.grown}
	if err := t.load(tables); err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	return t, nil
}

// grown loads the programs again, for bigger tables.
func (t *Trial) grown(capacity int) (*Tables, func() error, error) {
	tables, err := newTables(capacity, "")
	if err != nil {
		return nil, nil, err
	}
	return tables, func() error {
		old := t.programs
		if err := t.load(tables); err != nil {
			return err
		}
		old.Close()
		return nil
	}, nil
}

// load loads the programs for tables.
func (t *Trial) load(tables *Tables) error {
	spec, err := bpf.Trial.Spec()
	if err != nil {
		return err
	}
	spec.Maps[bpf.MapQuestions].MaxEntries = uint32(t.options.Questions)
	spec.Maps[bpf.MapOutcomes].MaxEntries = uint32(t.options.Questions)
	spec.Maps[bpf.MapBaseline].MaxEntries = uint32(max(t.options.Baseline, 1))
	if err := fitSpec(spec, tables.Capacity()); err != nil {
		return err
	}
	for name, v := range t.options.Variables {
		if err := spec.Variables[name].Set(v); err != nil {
			return fmt.Errorf("variable %s: %w", name, err)
		}
	}
	c, err := ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: map[string]*ebpf.Map{
		bpf.MapSides: tables.sides, bpf.MapActive: tables.active,
	}})
	if err != nil {
		return explain(err)
	}
	memory, err := c.Maps[bpf.MapOutcomes].Memory()
	if err != nil {
		c.Close()
		return fmt.Errorf("map %s: %w", bpf.MapOutcomes, err)
	}
	t.programs, t.questions, t.memory = c, c.Maps[bpf.MapQuestions], memory
	return nil
}

// answer asks questions and reads what was found.
func (t *Trial) answer(questions []bpf.Question) ([]bpf.Outcome, error) {
	if len(questions) == 0 {
		return nil, nil
	}
	if err := errors.Join(t.Ask(0, questions), t.Run(0, len(questions))); err != nil {
		return nil, err
	}
	return t.Outcomes(0, len(questions))
}

// Close frees the trial.
func (t *Trial) Close() error {
	if t == nil {
		return nil
	}
	t.programs.Close()
	if t.shared {
		return nil
	}
	return t.tables.Close()
}

// Apply brings the trial's tables to an update, as the attached datapath does it.
func (t *Trial) Apply(ctx context.Context, u layout.Update) (Result, error) { return t.apply(ctx, u) }

// Tables are the trial's sides, for tests that write them in their own way.
func (t *Trial) Tables() *Tables { return t.tables }

// Layout is what the trial's tables should hold.
func (t *Trial) Layout() *layout.Layout { return t.layout }

// Programs are the trial's programs and maps, for benchmarks.
func (t *Trial) Programs() *ebpf.Collection { return t.programs }

// Ask stores questions from number first on.
func (t *Trial) Ask(first int, questions []bpf.Question) error {
	keys := make([]uint32, len(questions))
	for i := range keys {
		keys[i] = uint32(first + i)
	}
	if _, err := t.questions.BatchUpdate(keys, questions, nil); err != nil {
		return fmt.Errorf("questions from %d: %w", first, err)
	}
	return nil
}

// Run judges the questions first to first+count-1 in one test-run, each by its own
// read of the active word.
func (t *Trial) Run(first, count int) error {
	// struct __sk_buff, of which only cb is set: five words at offset 48.
	control := make([]byte, 192)
	binary.NativeEndian.PutUint32(control[48:], uint32(first))
	binary.NativeEndian.PutUint32(control[52:], uint32(count))
	ran, err := t.programs.Programs[bpf.ProgramJudgeBatch].Run(&ebpf.RunOptions{
		Data: make([]byte, 64), Context: control, ContextOut: make([]byte, len(control)), Repeat: 1,
	})
	if err != nil {
		return fmt.Errorf("test-run: %w", err)
	}
	if int(ran) != count {
		return fmt.Errorf("test-run: judged %d of %d questions", int32(ran), count)
	}
	return nil
}

// Outcomes reads what Run found.
func (t *Trial) Outcomes(first, count int) ([]bpf.Outcome, error) {
	out := make([]bpf.Outcome, count)
	return out, t.ReadOutcomes(first, out)
}

// ReadOutcomes reads what Run found into out, from number first on.
func (t *Trial) ReadOutcomes(first int, out []bpf.Outcome) error {
	size := int(unsafe.Sizeof(bpf.Outcome{}))
	raw := unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(out))), size*len(out))
	if n, err := t.memory.ReadAt(raw, int64(first*size)); err != nil || n != len(raw) {
		return fmt.Errorf("outcomes from %d: read %d of %d bytes: %w", first, n, len(raw), err)
	}
	return nil
}

// Connection is a question about one connection, after translation of addresses.
type Connection struct {
	From, To netip.Addr
	Protocol uint8
	Port     uint16 // type<<8|code for ICMP
}

// Decision is a verdict with the rule that made it: Rule names a row of the
// snapshot, or, where it is zero, Builtin one of the rules that need no row.
type Decision struct {
	Deny    bool
	Log     bool
	Rule    snapshot.RuleID
	Builtin string
}

// Judgement is one direction's verdict in both worlds.
type Judgement struct {
	Enforced, Staged Decision
}

// Outcome is what one node says about a connection: Egress as the client's node,
// Ingress as the server's. An end that is not this node's has the rule (no-subject).
type Outcome struct {
	Egress, Ingress Judgement
}

// JudgeSnapshot asks the kernel's verdict program, on a private instance, what a
// node with this snapshot says about connections. Connections from and to the
// node's own addresses are taken to start and end at the node itself.
func JudgeSnapshot(own, common *snapshot.Set, facts []layout.Binding, connections []Connection) ([]Outcome, error) {
	here, err := nodeAddresses(own, common)
	if err != nil {
		return nil, err
	}
	t, err := NewTrial(TrialOptions{Questions: max(len(connections), 1), Layout: layout.Options{Unbound: layout.UnboundAllow}})
	if err != nil {
		return nil, err
	}
	defer t.Close()
	delta := snapshot.Diff(snapshot.NewSet(), snapshot.Union(own, common))
	if _, err := t.Apply(context.Background(), layout.Update{Full: true, Delta: delta, Facts: facts}); err != nil {
		return nil, err
	}
	questions := make([]bpf.Question, len(connections))
	for i, c := range connections {
		q, err := c.question()
		if err != nil {
			return nil, err
		}
		switch {
		case here[c.From]:
			q.Own = bpf.OwnClient
		case here[c.To]:
			q.Own = bpf.OwnServer
		}
		questions[i] = q
	}
	raw, err := t.answer(questions)
	if err != nil {
		return nil, err
	}
	out := make([]Outcome, len(raw))
	for i, o := range raw {
		out[i] = Outcome{Egress: t.judgement(o.Egress), Ingress: t.judgement(o.Ingress)}
	}
	return out, nil
}

// nodeAddresses are the addresses of the node whose snapshot this is.
func nodeAddresses(own, common *snapshot.Set) (map[netip.Addr]bool, error) {
	meta, err := own.Meta()
	if err != nil {
		return nil, err
	}
	rows, err := common.Rows()
	if err != nil {
		return nil, err
	}
	here := map[netip.Addr]bool{}
	for _, row := range rows {
		if a, ok := row.(snapshot.AddressRow); ok && a.Endpoint == endpointNode && a.Name == meta.Node {
			here[a.Addr] = true
		}
	}
	return here, nil
}

// endpointNode is an AddressRow's Endpoint of a node.
const endpointNode = 1

func (c Connection) question() (bpf.Question, error) {
	from, to := c.From.Unmap(), c.To.Unmap()
	if from.Is4() != to.Is4() || !from.IsValid() || !to.IsValid() {
		return bpf.Question{}, fmt.Errorf("connection from %s to %s: two families", c.From, c.To)
	}
	q := bpf.Question{
		Client: layout.KeyOf(from), Server: layout.KeyOf(to),
		Port: uint32(c.Protocol)<<16 | uint32(c.Port), Family: bpf.FamilyIPv4,
	}
	if from.Is6() {
		q.Family = bpf.FamilyIPv6
	}
	return q, nil
}

func (e *engine) judgement(a bpf.Answer) Judgement {
	return Judgement{e.decision(a.Enforced), e.decision(a.Staged)}
}

func (e *engine) decision(word uint32) Decision {
	d := Decision{Deny: word&bpf.WordDeny != 0, Log: word&bpf.WordLog != 0}
	slot := bpf.RuleSlot(word & bpf.WordRule)
	if row, ok := e.layout.Rule(slot); ok {
		d.Rule = row.ID
		return d
	}
	d.Builtin = slot.Builtin()
	return d
}
