package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
)

// processID tells a process from a later one with its number.
type processID struct {
	pid     uint32
	started uint64
}

// program is what a process runs.
type program struct {
	path      string
	arguments []string // without secrets; nil: nobody knows
	truncated bool
}

// Processes remembers what processes execute, for the records of those that are gone when
// their record is read. It is used by one goroutine.
type Processes struct {
	proc string
	by   map[processID]program
	boot time.Time
	// fingerprint is what the kernel remembers of a path; paths lead back from there.
	fingerprint func(path string) uint64
	paths       map[uint64]string
	redact      func(arguments []string) []string
}

// knownProcesses bounds what is remembered.
const knownProcesses = 16384

// NewProcesses remembers nothing yet. fingerprint is what the kernel remembers of an
// executable's path; redact leaves secrets out of a command line, and is asked once for
// each: a process makes many records.
func NewProcesses(proc string, fingerprint func(path string) uint64, redact func(arguments []string) []string) *Processes {
	return &Processes{
		proc: proc, by: map[processID]program{}, boot: bootTime(),
		fingerprint: fingerprint, paths: map[uint64]string{}, redact: redact,
	}
}

// bootTime is when the clock began that processes are stamped by.
func bootTime() time.Time {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return time.Time{}
	}
	return time.Now().Add(-time.Duration(ts.Nano()))
}

// Note remembers what a record says about its process.
func (p *Processes) Note(r Record) {
	id := processID{r.PID, r.Started}
	switch {
	case r.Kind == bpf.RuntimeEventExit:
		delete(p.by, id)
	case r.happens():
		p.keep(id, p.running(r.Path, r.Command))
		if len(p.paths) > knownProcesses {
			clear(p.paths)
		}
		p.paths[p.fingerprint(r.Path)] = r.Path
	}
}

func (p *Processes) keep(id processID, runs program) {
	if len(p.by) > knownProcesses {
		clear(p.by)
	}
	p.by[id] = runs
}

func (p *Processes) running(path string, c *Command) program {
	if c == nil {
		return program{path: path}
	}
	return program{path, p.Shown(c), c.Truncated}
}

// Shown are the arguments of a command line without secrets. The records of a script and
// of its interpreter share theirs.
func (p *Processes) Shown(c *Command) []string {
	if c.shown == nil {
		c.shown = p.redact(c.Arguments)
	}
	return c.shown
}

func (p *Processes) executable(id processID) string {
	if runs, ok := p.by[id]; ok {
		return runs.path
	}
	path, err := os.Readlink(filepath.Join(p.proc, fmt.Sprint(id.pid), "exe"))
	if err != nil || !p.runs(id) {
		return "" // it is gone, and another may have its number
	}
	p.keep(id, p.running(path, commandLine(p.proc, id.pid)))
	return path
}

// ticks are the nanoseconds by which /proc counts when a process began.
const ticks = 1e9 / 100

// runs reports whether the process that has the number now is this one.
func (p *Processes) runs(id processID) bool {
	b, err := os.ReadFile(filepath.Join(p.proc, fmt.Sprint(id.pid), "stat"))
	if err != nil {
		return false
	}
	// What a process is called stands in the second field, and may hold anything.
	fields := strings.Fields(string(b[bytes.LastIndexByte(b, ')')+1:]))
	const begins = 22 - 3 // of the fields behind
	return len(fields) > begins && fields[begins] == strconv.FormatUint(id.started/ticks, 10)
}

// acting is the executable of who did what a record says. Who executes is asked for what
// it was before: that may be gone, and it may be another program by now.
func (p *Processes) acting(r Record) string {
	id := processID{r.PID, r.Started}
	if !r.executes() {
		return p.executable(id)
	}
	if c := r.Command; c != nil && c.Chain != nil {
		if c.Chain.Count == 0 {
			return "" // the container runtime's own
		}
		if path, ok := p.paths[c.Chain.Executable[0]]; ok {
			return path
		}
	}
	path := p.by[id].path
	if path == "" && !r.happens() && backendOf(r.Backend) != events.Signal {
		path = p.executable(id)
	}
	if above := r.RuntimeEvent.Ancestors[0]; path == "" && above.PID != 0 {
		// It was forked and has executed nothing itself.
		path = p.executable(processID{above.PID, above.Started})
	}
	return path
}

// Process is who a record is about.
func (p *Processes) Process(r Record) events.Process {
	out := events.Process{
		PID: r.PID, UID: r.UID, GID: r.GID, Capabilities: capabilities(r.Effective),
		Executable: p.acting(r),
		Started:    p.boot.Add(time.Duration(r.Started)),
		Namespaces: map[string]uint32{"mnt": r.MountNamespace, "pid": r.ProcessNamespace, "net": r.NetworkNamespace, "user": r.UserNamespace},
	}
	if r.Kind == bpf.RuntimeEventExit {
		code := int(r.ExitCode>>8) & 0xff
		if signal := int(r.ExitCode & 0x7f); signal != 0 {
			code = 128 + signal
		}
		out.ExitCode = &code
		return out
	}
	if runs := p.by[processID{r.PID, r.Started}]; runs.path == out.Executable {
		out.Arguments, out.Truncated = runs.arguments, runs.truncated
	}
	return out
}

// Ancestors are the processes above, up to the container's first.
func (p *Processes) Ancestors(r Record) []events.Ancestor {
	var out []events.Ancestor
	for _, a := range r.RuntimeEvent.Ancestors {
		if a.PID == 0 {
			break
		}
		out = append(out, events.Ancestor{PID: a.PID, Executable: p.executable(processID{a.PID, a.Started})})
	}
	return out
}
