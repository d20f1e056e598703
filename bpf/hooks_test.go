package bpf

import (
	"reflect"
	"testing"

	"github.com/cilium/ebpf/btf"
)

// TestHooksMirror compares what the programs at hooks keep and report with their BTF.
func TestHooksMirror(t *testing.T) {
	spec, err := Hooks.Spec()
	if err != nil {
		t.Fatal(err)
	}
	for name, mirror := range map[string]any{
		"bound": Bound{}, "process": Process{}, "rt_event": RuntimeEvent{}, "rt_ancestor": RuntimeAncestor{},
		"rt_container": RuntimeContainer{}, "rt_chain": RuntimeChainOf{},
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
