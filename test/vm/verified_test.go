package vm

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"palisade.dev/palisade/hack/vm"
	"palisade.dev/palisade/test/vm/inside"
)

var update = flag.Bool("update", false, "record the numbers of verified instructions")

// A program may grow by this part of what is on record before somebody has to look:
// kernels differ from one patch to the next, and the verifier gives up at a million.
const growth = 0.25

// Records are of the network's programs, and of the runtime's.
const (
	networkCounts = "instructions"
	runtimeCounts = "runtime-instructions"
)

func recordOf(of string, v vm.Version) string {
	return filepath.Join("testdata", of+"-"+string(v)+".txt")
}

// verified finds the lines of inside.VerifiedLine.
func verified(console string) map[string]uint32 {
	counts := map[string]uint32{}
	for line := range strings.Lines(console) {
		if name, n, ok := inside.ParseVerifiedLine(line); ok {
			counts[name] = n
		}
	}
	return counts
}

// compare holds counts against the record, and prints them.
func compare(t *testing.T, of string, v vm.Version, counts map[string]uint32) {
	t.Helper()
	names := slices.Sorted(maps.Keys(counts))
	if *update {
		var text strings.Builder
		for _, name := range names {
			fmt.Fprintf(&text, "%s %d\n", name, counts[name])
		}
		if err := os.WriteFile(recordOf(of, v), []byte(text.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	record, err := readRecord(of, v)
	if errors.Is(err, os.ErrNotExist) {
		t.Logf("kernel %s: nothing on record; go test ./test/vm -update writes %s", v, recordOf(of, v))
	} else if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		was, known := record[name]
		t.Logf("kernel %s: %s: %d instructions verified, %d on record", v, name, counts[name], was)
		switch {
		case len(record) == 0:
		case !known:
			t.Errorf("kernel %s: program %s is not on record: go test ./test/vm -update", v, name)
		case float64(counts[name]) > float64(was)*(1+growth):
			t.Errorf("kernel %s: program %s: %d instructions verified, %d on record: make it simpler, or go test ./test/vm -update", v, name, counts[name], was)
		}
	}
	for name := range record {
		if _, ok := counts[name]; !ok {
			t.Errorf("kernel %s: program %s is on record, but was not loaded: go test ./test/vm -update", v, name)
		}
	}
}

func readRecord(of string, v vm.Version) (map[string]uint32, error) {
	f, err := os.Open(recordOf(of, v))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	record := map[string]uint32{}
	for lines := bufio.NewScanner(f); lines.Scan(); {
		var name string
		var n uint32
		if _, err := fmt.Sscan(lines.Text(), &name, &n); err != nil {
			return nil, fmt.Errorf("%s: %q: %w", recordOf(of, v), lines.Text(), err)
		}
		record[name] = n
	}
	return record, nil
}
