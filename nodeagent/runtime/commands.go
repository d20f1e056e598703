package runtime

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unsafe"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
)

// ShownArguments bounds the command line of a record, in bytes.
const ShownArguments = bpf.RuntimePathBytes - 1

// Command is the command line that a program was executed with.
type Command struct {
	Arguments []string // the program's own name first
	Truncated bool     // there was more: the last one may be a part
	shown     []string // without secrets, once anybody asked
	// Chain has the fingerprints of what the process and those above it executed
	// before; nil if nobody knows.
	Chain *bpf.RuntimeChainOf
}

// commandOf takes the bytes of a command line apart.
func commandOf(text []byte, truncated bool) *Command {
	c := &Command{Truncated: truncated}
	if len(text) == 0 {
		return c
	}
	for a := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte{0}), []byte{0}) {
		c.Arguments = append(c.Arguments, string(a))
	}
	return c
}

// executes reports whether a record is of a program that is executed, rather than mapped.
func (r Record) executes() bool {
	return r.Kind == bpf.RuntimeEventJudged && r.Query.Section == uint8(Executables) && r.Query.Flags&bpf.RuntimeMapping == 0
}

// happens reports whether what was judged goes on, and its process with it.
func (r Record) happens() bool { return r.executes() && !r.Enforced().Deny }

// command is what a record of kind RuntimeEventExec says; nil if the kernel could not
// read the arguments.
func (r Record) command() *Command {
	var chain bpf.RuntimeChainOf
	if _, err := binary.Decode([]byte(r.Target), binary.NativeEndian, &chain); err != nil || len(r.Target) != int(unsafe.Sizeof(chain)) {
		return nil
	}
	if r.Arguments > 0 && r.Path == "" {
		return nil
	}
	c := commandOf([]byte(r.Path), int(r.Arguments) > len(r.Path))
	c.Chain = &chain
	return c
}

// awaited is a program whose arguments are still to come.
type awaited struct {
	records []Record // a script and its interpreter
	since   time.Time
}

// commands joins what was judged with the arguments that the kernel tells of when the
// program runs: at judgement nobody can read them. It is used by one goroutine.
type commands struct {
	proc    string
	waiting map[processID]*awaited
}

// Bounds of what waits. An execution that fails after it was judged is told by nothing
// but time.
const (
	awaitArguments = 2 * time.Second
	maxAwaited     = 4096
)

// join returns the records that are complete now, in order.
func (c *commands) join(r Record, now time.Time) []Record {
	id := processID{r.PID, r.Started}
	w := c.waiting[id]
	switch {
	case r.Kind == bpf.RuntimeEventExec:
		if w == nil {
			return nil // what was judged found no room
		}
		return c.complete(id, r.command())
	case r.happens(), r.executes() && backendOf(r.Backend) == events.Signal:
		// Signals come after the fact, when there are arguments of what is denied, too.
		if c.waiting == nil {
			c.waiting = map[processID]*awaited{}
		}
		var out []Record
		if w == nil {
			if len(c.waiting) >= maxAwaited {
				out = c.overdue(now.Add(awaitArguments))
			}
			w = &awaited{since: now}
			c.waiting[id] = w
		}
		w.records = append(w.records, r)
		return out
	case w != nil && (r.executes() || r.Kind == bpf.RuntimeEventExit):
		// The interpreter may not run, or it failed to: the script is not executed.
		if r.executes() {
			r.InterpreterOf = w.records[len(w.records)-1].Path
		}
		return append(c.complete(id, nil), r)
	}
	return []Record{r}
}

// complete gives what waits for a process its command line. The records of an agent that
// knows none are told without.
func (c *commands) complete(id processID, command *Command) []Record {
	w := c.waiting[id]
	delete(c.waiting, id)
	if command == nil {
		command = c.look(id, w.records[len(w.records)-1].Path)
	}
	for i := range w.records {
		w.records[i].Command = command
		if i > 0 && command.interprets(w.records[i-1].Path) {
			w.records[i].InterpreterOf = w.records[i-1].Path
		}
	}
	return w.records
}

// interprets reports whether a command line can be that of a script's interpreter, which
// is given the script's name after its own and at most one argument. What was judged before
// may also be a program that failed to start.
func (c *Command) interprets(script string) bool {
	if c == nil || len(c.Arguments) == 0 {
		return true
	}
	given := c.Arguments[1:]
	return slices.ContainsFunc(given[:min(len(given), 2)], func(a string) bool {
		return strings.Contains(a, "/") || a == filepath.Base(script)
	})
}

// overdue returns what has waited too long by now, the longest first.
func (c *commands) overdue(now time.Time) []Record {
	var late []processID
	for id, w := range c.waiting {
		if now.Sub(w.since) >= awaitArguments {
			late = append(late, id)
		}
	}
	slices.SortFunc(late, func(a, b processID) int { return c.waiting[a].since.Compare(c.waiting[b].since) })
	var out []Record
	for _, id := range late {
		out = append(out, c.complete(id, nil)...)
	}
	return out
}

// look reads the command line of a process that still runs a program. The process may
// have changed it meanwhile.
func (c *commands) look(id processID, path string) *Command {
	exe, err := os.Readlink(filepath.Join(c.proc, fmt.Sprint(id.pid), "exe"))
	if err != nil || exe != path {
		return nil
	}
	return commandLine(c.proc, id.pid)
}

// commandLine reads the command line of a process; nil if it is gone.
func commandLine(proc string, pid uint32) *Command {
	b, err := os.ReadFile(filepath.Join(proc, fmt.Sprint(pid), "cmdline"))
	if err != nil {
		return nil
	}
	return commandOf(b[:min(len(b), ShownArguments)], len(b) > ShownArguments)
}
