package bpf

import (
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf/asm"
)

// beginOnSide is BEGIN_ON_SIDE of the programs: below it a question says no side.
const beginOnSide = 512

// alternatives ask one of several questions.
var alternatives = []string{"palisade_socket_create"}

// TestOneOperationOneSide: a program that asks more than one question says which side it
// means each time. Otherwise a generation could come between them, and what both of two
// generations refuse be allowed by answers of one and the other.
func TestOneOperationOneSide(t *testing.T) {
	spec, err := Hooks.Spec()
	if err != nil {
		t.Fatal(err)
	}
	several := map[string]bool{}
	for name, p := range spec.Programs {
		if !strings.HasPrefix(p.SectionName, "lsm/") {
			continue
		}
		asked := questions(p.Instructions)
		if len(asked) < 2 || slices.Contains(alternatives, name) {
			continue
		}
		several[name] = true
		for i, q := range asked {
			if q.OpCode.JumpOp() == asm.InvalidJumpOp && q.OpCode.ALUOp() == asm.Mov && q.OpCode.Source() == asm.ImmSource && q.Constant < beginOnSide {
				t.Errorf("%s: question %d of %d is about whichever side is active then: %v", name, i+1, len(asked), q)
			}
		}
	}
	for _, name := range []string{"palisade_path_rename", "palisade_path_link", "palisade_mmap_file", "palisade_mmap_file_direct", "palisade_file_mprotect"} {
		if !several[name] {
			t.Errorf("%s asks one question at most: this test does not know its calls any more", name)
		}
	}
}

// questions are the instructions that give the argument of each call of begin in a
// program's own code.
func questions(code asm.Instructions) []asm.Instruction {
	var out []asm.Instruction
	var argument asm.Instruction
	for i, ins := range code {
		if i > 0 && ins.Symbol() != "" && !strings.HasPrefix(ins.Symbol(), "L") {
			break // what it calls
		}
		switch {
		case ins.IsFunctionCall() && ins.Reference() == "begin":
			out = append(out, argument)
		case ins.OpCode.Class().IsALU() && ins.Dst == asm.R1, ins.OpCode.Class().IsLoad() && ins.Dst == asm.R1:
			argument = ins
		}
	}
	return out
}
