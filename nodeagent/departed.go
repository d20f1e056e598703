package nodeagent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
)

// departedFile keeps the names of rules that palisade apply took out of force: nobody
// reads the kernel's records meanwhile, so some of these rules' are read much later.
const departedFile = "departed.json"

// departedKept is how many rules are kept there.
const departedKept = 1024

// keepDeparted adds what left the kernel to what is kept. was is the state of before,
// which has the names.
func keepDeparted(dir string, left []datapath.Departed, was *snapshot.Set) error {
	if len(left) == 0 {
		return nil
	}
	all, err := readDeparted(dir)
	if err != nil {
		all = nil // damaged: what it held stays nameless, nothing is in danger
	}
	h := newHolding()
	h.set = was
	for _, d := range left {
		if row, ok := lookup(h, snapshot.RuleRow{ID: d.Row.ID}); ok && d.Nameless {
			d.Row, d.Nameless = row, false
		}
		all = append(all, d)
	}
	b, err := json.Marshal(all[max(0, len(all)-departedKept):])
	if err != nil {
		return fmt.Errorf("rules that left: %w", err)
	}
	return store.Replace(filepath.Join(dir, departedFile), b)
}

func readDeparted(dir string) (all []datapath.Departed, err error) {
	path := filepath.Join(dir, departedFile)
	b, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err == nil {
		err = json.Unmarshal(b, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("rules that left %s: %w", path, err)
	}
	return all, nil
}
