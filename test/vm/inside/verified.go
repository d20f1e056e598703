package inside

import (
	"fmt"

	"github.com/cilium/ebpf"

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

// VerifiedLine carries a count from a guest to its host.
func VerifiedLine(program string, count uint32) string {
	return fmt.Sprintf("verified program=%s instructions=%d", program, count)
}

// ParseVerifiedLine reads what VerifiedLine wrote.
func ParseVerifiedLine(line string) (program string, count uint32, ok bool) {
	n, err := fmt.Sscanf(line, "verified program=%s instructions=%d", &program, &count)
	return program, count, err == nil && n == 2
}
