package runtime

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
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
			p := NewProcesses(t.TempDir(), func(path string) uint64 { return uint64(len(path)) }, nil)
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
			p := NewProcesses(proc, func(string) uint64 { return 0 }, nil)
			if got := p.executable(processID{42, c.started}); got != c.want {
				t.Errorf("executable %q, want %q", got, c.want)
			}
		})
	}
}

// A command line is freed of its secrets once, however many records its process makes, and
// as that process's: a later one with the number, and another program, have their own.
func TestShownOnce(t *testing.T) {
	proc := t.TempDir()
	dir := filepath.Join(proc, "30")
	must(t, os.Mkdir(dir, 0o755))
	must(t, os.Symlink("/bin/found", filepath.Join(dir, "exe")))
	must(t, os.WriteFile(filepath.Join(dir, "stat"), []byte("30 (x) S"+strings.Repeat(" 0", 40)+"\n"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "cmdline"), []byte("found\x00secret\x00"), 0o644))

	var asked []string
	p := NewProcesses(proc, func(path string) uint64 { return uint64(len(path)) }, func(arguments []string) []string {
		asked = append(asked, strings.Join(arguments, " "))
		return []string{arguments[0], "***"}
	})
	file := func(pid uint32, started uint64) Record {
		var r Record
		r.Kind, r.PID, r.Started, r.Query.Section = bpf.RuntimeEventJudged, pid, started, uint8(Files)
		return r
	}
	script := &Command{Arguments: []string{"sh", "run", "--token=a"}}
	for _, s := range []struct {
		who     Record
		path    string
		command *Command
		want    string
	}{
		{file(30, 1), "", nil, "found ***"},
		{file(11, 1), "/run", script, "sh ***"},
		{file(11, 1), "/bin/sh", script, "sh ***"}, // its interpreter
		{file(11, 2), "/bin/a", &Command{Arguments: []string{"a", "1"}}, "a ***"},
		{file(11, 2), "/bin/b", &Command{Arguments: []string{"b", "2"}}, "b ***"},
		{file(12, 2), "/bin/b", &Command{Arguments: []string{"b", "2"}}, "b ***"},
		{file(12, 2), "/bin/c", nil, ""},
	} {
		if s.path != "" {
			executed := s.who
			executed.Query.Section, executed.Path, executed.Command = uint8(Executables), s.path, s.command
			p.Note(executed)
			if s.command != nil && strings.Join(p.Shown(s.command), " ") != s.want {
				t.Errorf("%s is shown as %q, want %q", s.path, p.Shown(s.command), s.want)
			}
		}
		for range 10 {
			if got := strings.Join(p.Process(s.who).Arguments, " "); got != s.want {
				t.Errorf("process %d %s: %q, want %q", s.who.PID, s.path, got, s.want)
			}
		}
	}
	if want := []string{"found secret", "sh run --token=a", "a 1", "b 2", "b 2"}; !slices.Equal(asked, want) {
		t.Errorf("asked for %q, want %q", asked, want)
	}
}
