package runtime

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
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

// Processes remembers what processes execute, for the records of those that are gone when
// their record is read. It is used by one goroutine.
type Processes struct {
	proc string
	by   map[processID]string // the executable
	boot time.Time
}

// knownProcesses bounds what is remembered.
const knownProcesses = 16384

// NewProcesses remembers nothing yet.
func NewProcesses(proc string) *Processes {
	return &Processes{proc: proc, by: map[processID]string{}, boot: bootTime()}
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
	case executes(r) && !r.Enforced().Deny:
		p.keep(id, r.Path)
	}
}

func (p *Processes) keep(id processID, path string) {
	if len(p.by) > knownProcesses {
		clear(p.by)
	}
	p.by[id] = path
}

func (p *Processes) executable(id processID) string {
	if path, ok := p.by[id]; ok {
		return path
	}
	path, err := os.Readlink(filepath.Join(p.proc, fmt.Sprint(id.pid), "exe"))
	if err != nil {
		return "" // it is gone
	}
	p.keep(id, path)
	return path
}

// shownArguments bounds the command line of a record.
const shownArguments = 4096

// arguments are the command line of a process that still runs.
func (p *Processes) arguments(pid uint32) (args []string, truncated bool) {
	b, err := os.ReadFile(filepath.Join(p.proc, fmt.Sprint(pid), "cmdline"))
	if err != nil {
		return nil, false // it is gone
	}
	if len(b) > shownArguments {
		b, truncated = b[:shownArguments], true
	}
	for a := range bytes.SplitSeq(bytes.TrimSuffix(b, []byte{0}), []byte{0}) {
		args = append(args, string(a))
	}
	return args, truncated
}

// acting is the executable of who did what a record says. Who executes is asked for what
// it was before; one that was stopped may be gone, and one that is killed after the fact
// has become what it must not be.
func (p *Processes) acting(r Record) string {
	id := processID{r.PID, r.Started}
	if !executes(r) || !r.Enforced().Deny {
		return p.executable(id)
	}
	path, known := p.by[id]
	if !known && backendOf(r.Backend) != events.Signal {
		path = p.executable(id)
	}
	if above := r.RuntimeEvent.Ancestors[0]; path == "" && above.PID != 0 {
		// It was forked and has executed nothing itself.
		path = p.executable(processID{above.PID, above.Started})
	}
	return path
}

// executes reports whether a record is about an execution.
func executes(r Record) bool {
	return r.Kind == bpf.RuntimeEventJudged && r.Query.Section == uint8(Executables) && r.Query.Flags&bpf.RuntimeMapping == 0
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
	out.Arguments, out.Truncated = p.arguments(r.PID)
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
