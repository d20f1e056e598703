package runtime

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"time"
	"unsafe"

	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"palisade.dev/palisade/bpf"
)

// Record is what the kernel reported: an operation that was judged, or the end of a
// process.
type Record struct {
	bpf.RuntimeEvent
	At     time.Time
	Path   string
	Target string
	// Container is what is known of the cgroup; its name may not be yet.
	Container Container
	// Command is what a program was executed with; nil of any other record, of what was
	// denied, and if nobody knows.
	Command *Command
	// InterpreterOf is the script that asked for it; empty of any other record.
	InterpreterOf string
}

// Words of an answer.
func (r Record) Enforced() Word { return wordOf(r.Answer.Enforced) }

// Staged is the answer with Audit policies.
func (r Record) Staged() Word { return wordOf(r.Answer.Staged) }

// Word is one world's answer.
type Word struct {
	Deny, Kill, Log bool
	Slot            bpf.RuleSlot
}

func wordOf(w uint64) Word {
	_, flags, slot := bpf.RuntimeWordParts(w)
	return Word{Deny: flags&(bpf.RuntimeDeny|bpf.RuntimeKill) != 0, Kill: flags&bpf.RuntimeKill != 0, Log: flags&bpf.RuntimeLog != 0, Slot: slot}
}

// retryName is how long after a cgroup appeared its bundle is looked for again: the
// cgroup of some runtimes comes first.
const (
	retryName  = 50 * time.Millisecond
	retryNames = 100
)

// Read names containers as their cgroups appear and hands on what was reported, until
// ctx ends. known says of which pods the snapshot knows.
func (r *Runtime) Read(ctx context.Context, known func(uid bpf.Key6) bool, each func(Record)) error {
	events, err := ringbuf.NewReader(r.maps[bpf.MapRuntimeEvents])
	if err != nil {
		return fmt.Errorf("runtime events: %w", err)
	}
	defer events.Close()
	stop := context.AfterFunc(ctx, func() { _ = events.Close() })
	defer stop()
	c := commands{proc: r.config.Proc}
	all := func(records []Record) {
		for _, rec := range records {
			each(rec)
		}
	}
	defer func() { all(c.overdue(time.Now().Add(awaitArguments))) }()
	var found, looked time.Time
	var unplaced uint64
	for {
		if now := time.Now(); now.Sub(looked) >= awaitArguments/2 {
			looked = now
			all(c.overdue(now))
		}
		if time.Since(found) >= findEvery {
			found = time.Now()
			if err := r.place(&unplaced); err != nil {
				r.config.Log.Error(err, "some pods may not be judged")
			}
			if err := r.find(); err != nil {
				r.config.Log.Error(err, "some containers may keep the strictest rules of their pods")
			}
			r.nameAll(known)
		}
		wait := time.Now().Add(time.Second)
		if r.unnamed.some() {
			wait = time.Now().Add(retryName)
		}
		events.SetDeadline(wait)
		raw, err := events.Read()
		switch {
		case errors.Is(err, ringbuf.ErrClosed):
			return nil
		case errors.Is(err, os.ErrDeadlineExceeded):
		case err != nil:
			return fmt.Errorf("runtime events: %w", err)
		default:
			rec, err := decode(raw.RawSample)
			if err != nil {
				return err
			}
			if rec.Kind == bpf.RuntimeEventCgroup {
				r.unnamed.add(rec.Cgroup, containerID(rec.Path), bpf.Key6{High: rec.RuntimeEvent.Container.UIDHigh, Low: rec.RuntimeEvent.Container.UIDLow}, rec.At)
			} else {
				rec.Container = r.containerOf(rec.Cgroup)
				all(c.join(rec, time.Now()))
			}
		}
		r.nameAll(known)
	}
}

var errEventSize = errors.New("runtime event of another size than this agent knows")

func decode(b []byte) (Record, error) {
	var rec Record
	head := int(unsafe.Sizeof(rec.RuntimeEvent))
	if len(b) < head+bpf.RuntimePathHeader {
		return rec, fmt.Errorf("%w: %d bytes", errEventSize, len(b))
	}
	if _, err := binary.Decode(b[:head], binary.NativeEndian, &rec.RuntimeEvent); err != nil {
		return rec, fmt.Errorf("runtime event: %w", err)
	}
	text := b[head+bpf.RuntimePathHeader:]
	if int(rec.PathLength)+int(rec.TargetLength) > len(text) {
		return rec, fmt.Errorf("%w: %d bytes of %d and %d", errEventSize, len(text), rec.PathLength, rec.TargetLength)
	}
	rec.Path = string(text[:rec.PathLength])
	rec.Target = string(text[rec.PathLength : rec.PathLength+rec.TargetLength])
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		return rec, fmt.Errorf("clock: %w", err)
	}
	rec.At = time.Now().Add(time.Duration(rec.Time) - time.Duration(now.Nano()))
	return rec, nil
}
