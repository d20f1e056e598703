package bpf

import (
	"reflect"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestRuntimeMirror compares the types of runtime rules with the C structures.
func TestRuntimeMirror(t *testing.T) {
	spec, err := RuntimeTrial.Spec()
	if err != nil {
		t.Fatal(err)
	}
	for name, mirror := range map[string]any{
		"rt_header": RuntimeHeader{}, "rt_keys": RuntimeWords{}, "rt_filter": RuntimeWords{}, "rt_ruleset": RuntimeRuleset{}, "rt_slots": RuntimeSlots{},
		"rt_lengths": RuntimeLengths{}, "rt_kind_line": RuntimeKind{}, "rt_list": RuntimeList{}, "rt_clause": RuntimeClause{},
		"rt_peer_clause": RuntimePeerClause{}, "rt_block": RuntimeBlock{}, "rt_blocks": RuntimeBlocks{}, "rt_port": RuntimePort{},
		"rt_ports": RuntimePorts{}, "rt_path": RuntimePath{}, "rt_chain": RuntimeChainOf{}, "rt_container": RuntimeContainer{},
		"rt_query": RuntimeQuery{}, "rt_answer": RuntimeAnswer{}, "rt_question": RuntimeQuestion{}, "rt_outcome": RuntimeOutcome{},
		"rt_sample": RuntimeSample{},
	} {
		t.Run(name, func(t *testing.T) {
			var c *btf.Struct
			if err := spec.Types.TypeByName(name, &c); err != nil {
				t.Fatal(err)
			}
			compare(t, c, reflect.TypeOf(mirror))
		})
	}
}

// TestRuntimeLinesAreLines: every table of runtime rules is made of lines.
func TestRuntimeLinesAreLines(t *testing.T) {
	for _, view := range []reflect.Type{
		reflect.TypeFor[RuntimeHeader](), reflect.TypeFor[RuntimeWords](), reflect.TypeFor[RuntimeRuleset](),
		reflect.TypeFor[RuntimeLengths](), reflect.TypeFor[RuntimeKind](), reflect.TypeFor[RuntimeList](),
		reflect.TypeFor[RuntimeClause](), reflect.TypeFor[RuntimePeerClause](), reflect.TypeFor[RuntimeBlocks](),
		reflect.TypeFor[RuntimePorts](), reflect.TypeFor[RuntimeRates](),
	} {
		if view.Size() != LineSize {
			t.Errorf("%s has %d bytes, a line %d", view, view.Size(), LineSize)
		}
	}
}
