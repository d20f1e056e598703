package bpf

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"fmt"

	"github.com/cilium/ebpf"
)

// Names of programs and maps in the objects.
const (
	ProgramCallVerdict  = "palisade_call_verdict"
	ProgramCallGuard    = "palisade_call_guard"
	ProgramVerdict      = "palisade_verdict"
	ProgramGuard        = "palisade_guard"
	ProgramJudgeBatch   = "palisade_judge_batch"
	ProgramBenchEmpty   = "palisade_bench_empty"
	ProgramBenchRandom  = "palisade_bench_random"
	ProgramBenchHash    = "palisade_bench_hash"
	ProgramBenchVerdict = "palisade_bench_verdict"
	ProgramBenchV6      = "palisade_bench_verdict6"

	VariableLineMask        = "line_mask"
	VariableEventsPerSecond = "events_per_second"
	VariableHoldSteps       = "hold_steps"

	MapPrograms  = "programs"
	MapSides     = "sides"
	MapActive    = "active"
	MapCounters  = "counters"
	MapLimits    = "limits"
	MapIfaces    = "interfaces"
	MapPairs     = "pairs"
	MapEvents    = "events"
	MapQuestions = "questions"
	MapOutcomes  = "outcomes"
	MapBaseline  = "baseline"
)

// Slots of the program array that the dispatcher calls through.
const (
	SlotVerdict uint32 = iota
	SlotGuard
)

//go:embed network/dispatch.o
var dispatch []byte

//go:embed network/verdict.o
var verdict []byte

//go:embed network/trial.o
var trial []byte

// Object is one embedded object.
type Object struct {
	Name string
	elf  []byte
}

// The objects. Dispatch is frozen: what stays attached. Verdict is what it calls.
// Trial judges by test-run and is never attached.
var (
	Dispatch = Object{"dispatch", dispatch}
	Verdict  = Object{"verdict", verdict}
	Trial    = Object{"trial", trial}
)

// Digest is the SHA-256 of the object, for logs.
func (o Object) Digest() string {
	sum := sha256.Sum256(o.elf)
	return hex.EncodeToString(sum[:])
}

// Spec decodes the object. Every call returns a fresh specification.
func (o Object) Spec() (*ebpf.CollectionSpec, error) {
	spec, err := ebpf.LoadCollectionSpecFromReader(bytes.NewReader(o.elf))
	if err != nil {
		return nil, fmt.Errorf("object %s: %w", o.Name, err)
	}
	return spec, nil
}
