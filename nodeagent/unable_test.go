package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/stream"
	"palisade.dev/palisade/snapshot/wire"
	"palisade.dev/palisade/test/poll"
)

// A node that cannot enforce says so for as long as that is so, and enforces as
// soon as it can.
func TestRunReportsWhatTheNodeLacks(t *testing.T) {
	if !isolated(t) {
		return
	}
	defer http.DefaultClient.CloseIdleConnections()
	dir, state := t.TempDir(), t.TempDir()
	b := restart(t, state, &kernel{})
	text, err := b.keys.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(state, "keys"), text, 0o600); err != nil {
		t.Fatal(err)
	}
	b.mustApply(t, full(7, set(node, "a")))

	dp := &path{}
	var works atomic.Bool
	c := Config{
		Node: node, Log: logr.Discard(), StateDir: state, RunDir: t.TempDir(), Host: host.Default(dir + "/palisade"),
		Open: func() (Datapath, error) {
			if works.Load() {
				return dp, nil
			}
			return nil, fmt.Errorf("%w: Linux 6.1 has no netfilter BPF", datapath.ErrKernel)
		},
		Controller: &stream.Enroller{Address: "127.0.0.1:1", Node: node, Now: time.Now}, Report: true,
		KeysFiles: []string{filepath.Join(state, "keys")}, HTTP: "127.0.0.1:9444", Looker: &looker{}, again: 20 * time.Millisecond,
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- Run(ctx, c) }()
	const url = "http://127.0.0.1:9444"
	says := func(want string) func() bool {
		return func() bool {
			_, body := get(t, url+"/status")
			var s Status
			if json.Unmarshal([]byte(body), &s) != nil || len(s.Conditions) == 0 {
				return false
			}
			e := s.Conditions[0]
			return e.Type == wire.ConditionEnforcing && !e.Holds && strings.Contains(e.Reason+": "+e.Message, want)
		}
	}
	poll.Holds(t, "the missing mount is told", says("BPFFSMissing: fatal: programs cannot be pinned"))
	if code, _ := get(t, url+"/readyz"); code != http.StatusServiceUnavailable {
		t.Errorf("ready (%d) though nothing is enforced", code)
	}
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	poll.Holds(t, "the kernel's refusal is told", says("KernelUnsupported: fatal: kernel not supported: Linux 6.1"))
	works.Store(true)
	poll.Holds(t, "ready", func() bool { code, _ := get(t, url+"/readyz"); return code == 200 })
	cancel()
	if err := <-done; err != nil || !dp.closed {
		t.Errorf("ended with %v; datapath closed: %t", err, dp.closed)
	}
}

func TestNotOpened(t *testing.T) {
	c := Config{Host: host.Host{PinDir: "/pins"}}
	for name, tc := range map[string]struct {
		err  error
		want host.Reason
	}{
		"verifier":  {fmt.Errorf("%w: refuses a program", datapath.ErrKernel), host.ReasonKernel},
		"unknown":   {errors.New("ENOSPC"), host.ReasonKernel},
		"privilege": {fmt.Errorf("%w: as user 7", datapath.ErrPrivilege), host.ReasonPrivileges},
		"pins":      {fmt.Errorf("%w: /pins", datapath.ErrPinDir), host.ReasonBPFFS},
	} {
		f := c.notOpened(tc.err)
		if f.Reason != tc.want || f.Severity != host.Fatal || f.What != tc.err.Error() || f.Where == "" || f.Mend == "" {
			t.Errorf("%s: %+v, want reason %s", name, f, tc.want)
		}
	}
}

func TestUnableRefuses(t *testing.T) {
	b := newBench(t)
	u := unable{b.Agent}
	u.SetFindings([]host.Finding{{Reason: host.ReasonKernel, Severity: host.Fatal, What: "no netfilter BPF"}})
	var r *stream.Refusal
	if err := u.Apply(t.Context(), full(1, set(node, "a"))); !errors.As(err, &r) || r.Reason != wire.ReasonUnsupported || !strings.Contains(err.Error(), "no netfilter BPF") {
		t.Errorf("applied: %v", err)
	}
	if _, ok := u.Held(); ok || b.kernel.calls != 0 {
		t.Errorf("holds something: %t; kernel called %d times", ok, b.kernel.calls)
	}
	if e := enforcing(t, b); e.GetHolds() || e.GetReason() != string(host.ReasonKernel) {
		t.Errorf("reports %v", e)
	}
}

// Who only looks at a host finds it of use without packets, as an agent does, and says so.
func TestLook(t *testing.T) {
	if !isolated(t) {
		return
	}
	dir := t.TempDir()
	h := host.Default(filepath.Join(dir, "palisade"))
	says := func(probe error) string { return host.Join(look(h, func() error { return probe })) }
	old := fmt.Errorf("%w: Linux 6.1 has no netfilter BPF", datapath.ErrKernel)
	if got := says(old); !strings.Contains(got, "fatal: programs cannot be pinned") || strings.Contains(got, "packets are not judged") {
		t.Errorf("without a place for pins: %q", got)
	}
	if err := syscall.Mount("bpf", dir, "bpf", 0, ""); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, 0) })
	if judgesAlone(old) == nil || judgesAlone(nil) != nil || judgesAlone(datapath.ErrPrivilege) != nil {
		t.Error("programs that judge processes alone count on old kernels, and on no others")
	}
	all := says(nil)
	for name, tc := range map[string]struct {
		probe error
		want  string
	}{
		"an old kernel": {old, "bypass: packets are not judged, only what processes do: kernel not supported: Linux 6.1 has no netfilter BPF ("},
		"no privilege":  {fmt.Errorf("%w: loading", datapath.ErrPrivilege), "fatal: not permitted: loading ("},
	} {
		if got := says(tc.probe); !strings.Contains(got, tc.want) || strings.Contains(all, tc.want) {
			t.Errorf("%s: %q, want %q; a kernel with all: %q", name, got, tc.want, all)
		}
	}
	if _, err := os.Stat(h.PinDir); err == nil {
		t.Errorf("%s was made", h.PinDir)
	}
}
