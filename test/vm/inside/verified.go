package inside

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"

	"palisade.dev/palisade/bpf"
)

// Verified loads every program of some objects and says how many instructions the
// kernel's verifier looked at.
func Verified(objects ...bpf.Object) (map[string]uint32, error) {
	counts := map[string]uint32{}
	for _, object := range objects {
		spec, err := object.Spec()
		if err != nil {
			return nil, err
		}
		c, err := ebpf.NewCollection(spec)
		if err != nil {
			return nil, fmt.Errorf("object %s: %w", object.Name, err)
		}
		defer c.Close()
		for name, p := range c.Programs {
			info, err := p.Info()
			if err != nil {
				return nil, fmt.Errorf("program %s: %w", name, err)
			}
			n, ok := info.VerifiedInstructions()
			if !ok {
				return nil, fmt.Errorf("program %s: the kernel does not count verified instructions", name)
			}
			counts[name] = n
		}
	}
	return counts, nil
}

// VerifiedHooks does so for the programs of security hooks, tracepoints and sockets, one
// by one. It names those for which this kernel has no hook, or none that they could use: the
// security framework's may be closed, and sockets' may know no process.
func VerifiedHooks(object bpf.Object) (counts map[string]uint32, absent []string, err error) {
	spec, err := object.Spec()
	if err != nil {
		return nil, nil, err
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return nil, nil, err
	}
	programs := spec.Programs
	spec.Programs = nil
	common, err := ebpf.NewCollection(spec)
	if err != nil {
		return nil, nil, fmt.Errorf("object %s: maps: %w", object.Name, err)
	}
	defer common.Close()
	closed, sockets := trySecurity(), features.HaveProgramHelper(ebpf.CGroupSockAddr, asm.FnTaskStorageGet)
	counts = map[string]uint32{}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(programs)) {
		p := programs[name]
		var f *btf.Func
		if p.Type == ebpf.LSM && (closed != nil || errors.Is(kernel.TypeByName("bpf_lsm_"+p.AttachTo, &f), btf.ErrNotFound)) ||
			p.Type == ebpf.CGroupSockAddr && sockets != nil {
			absent = append(absent, name)
			continue
		}
		one := spec.Copy()
		one.Programs = map[string]*ebpf.ProgramSpec{name: p}
		c, err := ebpf.NewCollectionWithOptions(one, ebpf.CollectionOptions{MapReplacements: common.Maps})
		if err != nil {
			errs = append(errs, fmt.Errorf("program %s: %w\n%s", name, err, refusal(err)))
			continue
		}
		info, err := c.Programs[name].Info()
		if err != nil {
			errs = append(errs, fmt.Errorf("program %s: %w", name, err))
		} else {
			counts[name], _ = info.VerifiedInstructions() // 0 where the kernel does not count
		}
		c.Close()
	}
	return counts, absent, errors.Join(errs...)
}

// trySecurity loads the least program for the security framework.
func trySecurity() error {
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Type: ebpf.LSM, AttachType: ebpf.AttachLSMMac, AttachTo: "file_open", License: "Dual BSD/GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		return err
	}
	return p.Close()
}

// refusal is the end of what the verifier said.
func refusal(err error) string {
	var v *ebpf.VerifierError
	if !errors.As(err, &v) {
		return ""
	}
	return strings.Join(v.Log[max(0, len(v.Log)-25):], "\n")
}

// VerifiedLine carries a count from a guest to its host.
func VerifiedLine(program string, count uint32) string {
	return fmt.Sprintf("verified program=%s instructions=%d", program, count)
}

// ParseVerifiedLine reads what VerifiedLine wrote.
func ParseVerifiedLine(line string) (program string, count uint32, ok bool) {
	n, err := fmt.Sscanf(line, "verified program=%s instructions=%d", &program, &count)
	return program, count, err == nil && n == 2
}
