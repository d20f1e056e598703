//go:build guest

package runtime

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/test/vm/inside"
)

// TestRuntimePrograms: the verifier accepts every program that this kernel has a hook
// for. The host compares the lines that this prints with the ones on record.
func TestRuntimePrograms(t *testing.T) {
	spec, err := bpf.Hooks.Spec()
	must(t, err)
	kernel, err := btf.LoadKernelSpec()
	must(t, err)
	programs := spec.Programs
	spec.Programs = nil
	common, err := ebpf.NewCollection(spec)
	must(t, err)
	defer common.Close()
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		p := programs[name]
		if p.Type == ebpf.LSM {
			var f *btf.Func
			if err := kernel.TypeByName("bpf_lsm_"+p.AttachTo, &f); errors.Is(err, btf.ErrNotFound) {
				fmt.Printf("program %s: this kernel has no such hook\n", name)
				continue
			}
		}
		one := spec.Copy()
		one.Programs = map[string]*ebpf.ProgramSpec{name: p}
		c, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: common.Maps})
		if err != nil {
			t.Errorf("%s: %v\n%s", name, err, refusal(err))
			continue
		}
		info, err := c.Programs[name].Info()
		must(t, err)
		n, _ := info.VerifiedInstructions() // 0 where the kernel does not count
		fmt.Println(inside.VerifiedLine(name, n))
		c.Close()
	}
}

// refusal is the end of what the verifier said.
func refusal(err error) string {
	var v *ebpf.VerifierError
	if !errors.As(err, &v) {
		return ""
	}
	return strings.Join(v.Log[max(0, len(v.Log)-25):], "\n")
}
