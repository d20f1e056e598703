package runtime

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/snapshot"
)

// Section is a section of runtime rules, by its number in the snapshot.
type Section uint8

// The sections.
const (
	Executables = Section(snapshot.SectionExecutables)
	Files       = Section(snapshot.SectionFiles)
	Privileges  = Section(snapshot.SectionPrivileges)
	Network     = Section(snapshot.SectionNetwork)
	sections    = 4
)

var sectionNames = [sections]string{"executables", "files", "privileges", "network"}

func (s Section) String() string {
	if int(s) < len(sectionNames) {
		return sectionNames[s]
	}
	return fmt.Sprintf("section(%d)", uint8(s))
}

// errSection says what sections there are.
var errSection = errors.New("want executables, files, privileges or network")

// ParseSections reads names of sections.
func ParseSections(names []string) ([]Section, error) {
	var out []Section
	for _, name := range names {
		i := slices.Index(sectionNames[:], name)
		if i < 0 {
			return nil, fmt.Errorf("section %q: %w", name, errSection)
		}
		out = append(out, Section(i))
	}
	return out, nil
}

// Backend is by which means the kernel decides about a section, and why not by better.
type Backend struct {
	Means events.Backend
	// Detail says what the kernel lacks; empty if nothing.
	Detail string
	// Unjudged are operations of the section that no hook here judges, or not in every
	// way in which they can be done, as bits that package snapshot explains (AskScript …).
	// By cgroup and by signal they are not judged at all.
	Unjudged uint32
}

// Message says what cannot be judged, and why there is no better means; empty if
// everything can.
func (b Backend) Message(s Section) string {
	if b.Unjudged == 0 || b.Means == events.NoBackend {
		return b.Detail
	}
	text := "cannot judge " + strings.Join(asked(s, b.Unjudged), ", ") + " in every case"
	if b.Detail != "" {
		text += "; " + b.Detail
	}
	return text
}

// without is the backend if some of what a section says is not judged, whatever it is.
func (b Backend) without(s Section, why string) Backend {
	if b.Means != events.NoBackend {
		b.Unjudged = everything(s)
	}
	return b.because(why)
}

// because is the backend with one thing more that it lacks.
func (b Backend) because(why string) Backend {
	b.Detail = strings.TrimPrefix(b.Detail+"; "+why, "; ")
	return b
}

// number is how the kernel's programs know a backend.
func number(b events.Backend) uint8 {
	switch b {
	case events.LSM:
		return bpf.BackendLSM
	case events.FmodRet:
		return bpf.BackendFmodRet
	case events.Cgroup:
		return bpf.BackendCgroup
	case events.Signal:
		return bpf.BackendSignal
	}
	return bpf.BackendNone
}

// backendOf is the inverse of number.
func backendOf(n uint8) events.Backend {
	for _, b := range []events.Backend{events.LSM, events.FmodRet, events.Cgroup, events.Signal} {
		if number(b) == n {
			return b
		}
	}
	return events.NoBackend
}

// errBest says what the best means may be.
var errBest = errors.New("want lsm, fmod_ret or signal")

// best are the means that hold for all sections, from the best on.
var best = []events.Backend{events.LSM, events.FmodRet, events.Signal}

// ParseBest reads the name of the means to begin with; "auto" is the best of all.
func ParseBest(name string) (events.Backend, error) {
	if name == "auto" {
		return best[0], nil
	}
	if !slices.Contains(best, events.Backend(name)) {
		return "", fmt.Errorf("%q: %w, or auto", name, errBest)
	}
	return events.Backend(name), nil
}

// Probe finds the best means of each section by trying them from one on: a program of
// each kind is attached for a moment and must be called.
func Probe(from events.Backend) map[Section]Backend {
	var why []string
	for i, means := range best[:len(best)-1] {
		if i < slices.Index(best, from) {
			why = append(why, fmt.Sprintf("%s: not wanted (--runtime-backend=%s)", means, from))
			continue
		}
		err := tryMeans(means)
		if err == nil {
			out := all(Backend{Means: means, Detail: strings.Join(why, "; ")})
			if means == events.FmodRet {
				preemptible(out, findPreemption())
			}
			return out
		}
		why = append(why, fmt.Sprintf("%s: %v", means, err))
	}
	out := all(Backend{Means: events.NoBackend, Detail: strings.Join(why, "; ")})
	// The tracepoint sees what runs at last: no script, and nothing that is mapped.
	out[Executables] = Backend{
		Means: events.Signal, Detail: out[Executables].Detail,
		Unjudged: snapshot.AskScript | snapshot.AskMapping | snapshot.AskFromScript,
	}
	// Listening has no such hook; SCTP does everything past those that there are, and a
	// socket of ICMP (which cannot listen) binds and sends past them.
	out[Network] = Backend{
		Means: events.Cgroup, Detail: out[Network].Detail,
		Unjudged: bitsOf(Network, "Listen") | snapshot.OverSCTP(bitsOf(Network, operationNames[Network]...)) |
			snapshot.OverICMP(bitsOf(Network, "Bind", "Send")) | snapshot.AskFromScript,
	}
	return out
}

func all(b Backend) map[Section]Backend {
	out := make(map[Section]Backend, sections)
	for s := range Section(sections) {
		out[s] = b
	}
	return out
}

var errNotCalled = errors.New("the kernel accepts such a program but never calls it: add bpf to the list of security modules (lsm= on the kernel's command line)")

// tryMeans attaches a program that sees this process ask for its own process group,
// which hardly anybody does, and looks whether it was called.
func tryMeans(means events.Backend) error {
	seen, err := ebpf.NewMap(&ebpf.MapSpec{Name: "palisade_probe", Type: ebpf.Array, KeySize: 4, ValueSize: 8, MaxEntries: 1})
	if err != nil {
		return err
	}
	defer seen.Close()
	spec := &ebpf.ProgramSpec{
		Name: "palisade_probe", License: "Dual BSD/GPL",
		Instructions: asm.Instructions{
			asm.FnGetCurrentPidTgid.Call(),
			asm.RSh.Imm(asm.R0, 32),
			asm.Mov.Reg(asm.R6, asm.R0),
			asm.StoreImm(asm.RFP, -4, 0, asm.Word),
			asm.LoadMapPtr(asm.R1, seen.FD()),
			asm.Mov.Reg(asm.R2, asm.RFP),
			asm.Add.Imm(asm.R2, -4),
			asm.FnMapLookupElem.Call(),
			asm.JEq.Imm(asm.R0, 0, "out"),
			asm.LoadMem(asm.R1, asm.R0, 0, asm.DWord),
			asm.JNE.Imm(asm.R1, 0, "out"),
			asm.StoreMem(asm.R0, 0, asm.R6, asm.DWord),
			asm.Mov.Imm(asm.R0, 0).WithSymbol("out"),
			asm.Return(),
		},
	}
	h := hook{name: "task_getpgid"}
	h.make(spec, means)
	p, err := ebpf.NewProgram(spec)
	if err != nil {
		return rootCause(err)
	}
	defer p.Close()
	l, err := attachProgram(p, means)
	if err != nil {
		return rootCause(err)
	}
	defer l.Close()
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if _, err := unix.Getpgid(os.Getpid()); err != nil {
		return err
	}
	var who uint64
	if err := seen.Lookup(uint32(0), &who); err != nil {
		return err
	}
	if who == 0 {
		return errNotCalled
	}
	return nil
}

func attachProgram(p *ebpf.Program, means events.Backend) (link.Link, error) {
	if means == events.LSM {
		return link.AttachLSM(link.LSMOptions{Program: p})
	}
	return link.AttachTracing(link.TracingOptions{Program: p})
}

// rootCause is the innermost error: the outer ones may run over several lines.
func rootCause(err error) error {
	var verifier *ebpf.VerifierError
	if errors.As(err, &verifier) && len(verifier.Log) > 0 {
		return errors.New(verifier.Log[len(verifier.Log)-1])
	}
	for {
		next := errors.Unwrap(err)
		if next == nil {
			return err
		}
		err = next
	}
}
