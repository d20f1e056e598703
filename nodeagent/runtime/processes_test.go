package runtime

import (
	"os"
	"path/filepath"
	"testing"

	"palisade.dev/palisade/bpf"
)

// Who executes something is what it was before, also if it is gone or has become what it
// must not be.
func TestActing(t *testing.T) {
	const denied = bpf.RuntimeDeny << 32
	record := func(backend uint8, pid uint32, path string, answer uint64) Record {
		r := Record{Path: path}
		r.Kind, r.Backend, r.PID, r.Started = bpf.RuntimeEventJudged, backend, pid, 1
		r.Answer.Enforced = answer
		r.RuntimeEvent.Ancestors[0].PID, r.RuntimeEvent.Ancestors[0].Started = 10, 1
		return r
	}
	for name, c := range map[string]struct {
		backend uint8
		pid     uint32
		answer  uint64
		want    string
	}{
		"killed after the fact, and had executed": {bpf.BackendSignal, 11, denied, "/bin/app"},
		"killed after the fact, and was forked":   {bpf.BackendSignal, 12, denied, "/bin/sh"},
		"prevented, and is gone":                  {bpf.BackendLSM, 12, denied, "/bin/sh"},
		"prevented, and had executed":             {bpf.BackendLSM, 11, denied, "/bin/app"},
		"allowed":                                 {bpf.BackendLSM, 11, 0, "/bin/app"},
		"allowed, and was forked":                 {bpf.BackendLSM, 12, 0, "/bin/sh"},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewProcesses(t.TempDir(), func(path string) uint64 { return uint64(len(path)) })
			p.Note(record(bpf.BackendLSM, 10, "/bin/sh", 0))
			p.Note(record(bpf.BackendLSM, 11, "/bin/app", 0))
			r := record(c.backend, c.pid, "/bin/denied", c.answer)
			if got := p.Process(r).Executable; got != c.want {
				t.Errorf("executable %q, want %q", got, c.want)
			}
			p.Note(r)
			if got := p.executable(processID{12, 1}); c.answer == denied && got != "" {
				t.Errorf("what was stopped is remembered: %q", got)
			}
		})
	}
}

// A process is looked at in /proc only if it is the one that is meant: its number may be
// another's by now.
func TestNumberUsedAgain(t *testing.T) {
	proc := t.TempDir()
	dir := filepath.Join(proc, "42")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Symlink("/bin/app", filepath.Join(dir, "exe")))
	// What it is called looks like the fields that follow.
	must(t, os.WriteFile(filepath.Join(dir, "stat"), []byte("42 (a) R 1 (b) S 1 42 42 0 -1 4194560 100 0 0 0 1 2 0 0 20 0 1 0 777 1000 10 18446744073709551615\n"), 0o644))
	for name, c := range map[string]struct {
		started uint64
		want    string
	}{
		"itself":              {7_770_000_000, "/bin/app"},
		"itself, more exact":  {7_779_999_999, "/bin/app"},
		"one before it":       {7_769_999_999, ""},
		"one of another time": {20_000_000, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := NewProcesses(proc, func(string) uint64 { return 0 })
			if got := p.executable(processID{42, c.started}); got != c.want {
				t.Errorf("executable %q, want %q", got, c.want)
			}
		})
	}
}
