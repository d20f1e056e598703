package datapath

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"unsafe"

	"github.com/cilium/ebpf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/layout"
)

// RuntimeTrial is a private instance of the match code of runtime rules: its own
// tables, attached nowhere, asked by test-run. Different goroutines may ask
// different ranges of questions, but not while an Apply outgrows the tables;
// TrialOptions.Lines makes room before.
type RuntimeTrial struct {
	engine
	options   TrialOptions
	programs  *ebpf.Collection
	questions *ebpf.Memory
	outcomes  *ebpf.Memory
}

// NewRuntimeTrial loads a trial. Baseline is how many paths benchmarks choose from.
func NewRuntimeTrial(o TrialOptions) (*RuntimeTrial, error) {
	tables, err := newTables(capacityFor(o.Lines), "")
	if err != nil {
		return nil, err
	}
	if o.Questions == 0 {
		o.Questions = 256
	}
	t := &RuntimeTrial{options: o}
	t.engine = engine{layout: layout.New(o.Layout), tables: tables, grow: t.grown}
	if err := t.load(tables); err != nil {
		return nil, errors.Join(err, tables.Close())
	}
	return t, nil
}

// grown loads the programs again, for bigger tables.
func (t *RuntimeTrial) grown(capacity int) (*Tables, func() error, error) {
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

func (t *RuntimeTrial) load(tables *Tables) error {
	spec, err := bpf.RuntimeTrial.Spec()
	if err != nil {
		return err
	}
	spec.Maps[bpf.MapRuntimeQuestions].MaxEntries = uint32(t.options.Questions)
	spec.Maps[bpf.MapRuntimeOutcomes].MaxEntries = uint32(t.options.Questions)
	spec.Maps[bpf.MapRuntimeSamples].MaxEntries = uint32(max(t.options.Baseline, 1))
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
	questions, err := c.Maps[bpf.MapRuntimeQuestions].Memory()
	if err != nil {
		c.Close()
		return fmt.Errorf("map %s: %w", bpf.MapRuntimeQuestions, err)
	}
	outcomes, err := c.Maps[bpf.MapRuntimeOutcomes].Memory()
	if err != nil {
		c.Close()
		return fmt.Errorf("map %s: %w", bpf.MapRuntimeOutcomes, err)
	}
	t.programs, t.questions, t.outcomes = c, questions, outcomes
	return nil
}

// Close frees the trial.
func (t *RuntimeTrial) Close() error {
	if t == nil {
		return nil
	}
	t.programs.Close()
	return t.tables.Close()
}

// Apply brings the trial's tables to an update, as the attached datapath does it.
func (t *RuntimeTrial) Apply(ctx context.Context, u layout.Update) (Result, error) {
	return t.apply(ctx, u)
}

// Tables are the trial's sides, for tests that write them in their own way.
func (t *RuntimeTrial) Tables() *Tables { return t.tables }

// Layout is what the trial's tables should hold.
func (t *RuntimeTrial) Layout() *layout.Layout { return t.layout }

// Programs are the trial's programs and maps, for benchmarks.
func (t *RuntimeTrial) Programs() *ebpf.Collection { return t.programs }

// Ask stores questions from number first on.
func (t *RuntimeTrial) Ask(first int, questions []bpf.RuntimeQuestion) error {
	raw, size := bytesOf(questions)
	if n, err := t.questions.WriteAt(raw, int64(first)*int64(size)); err != nil || n != len(raw) {
		return fmt.Errorf("questions from %d: wrote %d of %d bytes: %w", first, n, len(raw), err)
	}
	return nil
}

// Run judges the questions first to first+count-1 in one test-run, each by its own
// read of the active word.
func (t *RuntimeTrial) Run(first, count int) error {
	// struct __sk_buff, of which only cb is set: five words at offset 48.
	control := make([]byte, 192)
	binary.NativeEndian.PutUint32(control[48:], uint32(first))
	binary.NativeEndian.PutUint32(control[52:], uint32(count))
	ran, err := t.programs.Programs[bpf.ProgramRuntimeBatch].Run(&ebpf.RunOptions{
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

// Outcomes reads what Run found into out, from number first on.
func (t *RuntimeTrial) Outcomes(first int, out []bpf.RuntimeOutcome) error {
	raw, size := bytesOf(out)
	if n, err := t.outcomes.ReadAt(raw, int64(first)*int64(size)); err != nil || n != len(raw) {
		return fmt.Errorf("outcomes from %d: read %d of %d bytes: %w", first, n, len(raw), err)
	}
	return nil
}

func bytesOf[T any](list []T) (raw []byte, size int) {
	var one T
	size = int(unsafe.Sizeof(one))
	return unsafe.Slice((*byte)(unsafe.Pointer(unsafe.SliceData(list))), size*len(list)), size
}
