package main

import (
	"bytes"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	"golang.org/x/tools/txtar"
)

// TestJudgeDatapath: --judge datapath asks this machine's kernel. Who may not ask it gets
// no other judge's answer instead, and who may gets the answer that the others give.
func TestJudgeDatapath(t *testing.T) {
	for name, tc := range map[string]struct{ archive, question string }{
		"packets":   {"explain", "explain -f shop --from shop/frontend --to shop/db --port 5432/tcp -o json"},
		"reach":     {"reach", "reach -f shop --port 5432/tcp -o json"},
		"processes": {"explain-process", "explain -f shop --pod shop/db --container postgres --exec /usr/bin/dash -o json"},
	} {
		t.Run(name, func(t *testing.T) {
			unpack(t, filepath.Join("testdata", tc.archive+".txtar"))
			want, _, code := ask(t, tc.question+" --judge tables")
			if code == exitError || want == "" {
				t.Fatalf("tables: exit %d", code)
			}
			question := tc.question + " --judge datapath"
			if mayAsk(t) {
				if have, stderr, c := ask(t, question); have != want || c != code {
					t.Errorf("exit %d, %s%s\nwant exit %d, %s", c, have, stderr, code, want)
				}
			}
			var have, stderr string
			powerless(t, func() { have, stderr, code = ask(t, question) })
			if code != exitError || have != "" || !strings.Contains(stderr, "permi") {
				t.Errorf("without capabilities: exit %d, %s%s", code, have, stderr)
			}
		})
	}
}

func ask(t *testing.T, line string) (stdout, stderr string, code int) {
	var out, errs bytes.Buffer
	code = run(t.Context(), &env{stdin: strings.NewReader(""), stdout: &out, stderr: &errs, now: time.Now}, append([]string{"palisade"}, strings.Fields(line)...))
	return out.String(), errs.String(), code
}

// unpack goes to a new directory with the files of an archive.
func unpack(t *testing.T, file string) {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	fsys, err := txtar.FS(archive)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, fsys); err != nil {
		t.Fatal(err)
	}
	t.Chdir(dir)
}

// mayAsk reports whether this process may load programs and test-run them.
func mayAsk(t *testing.T) bool {
	t.Helper()
	header, have := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
	if err := unix.Capget(&header, &have[0]); err != nil {
		t.Fatalf("capget: %v", err)
	}
	all := uint64(have[1].Effective)<<32 | uint64(have[0].Effective)
	for _, c := range []int{unix.CAP_BPF, unix.CAP_PERFMON, unix.CAP_NET_ADMIN, unix.CAP_SYS_ADMIN} {
		if all&(1<<c) == 0 {
			return false
		}
	}
	return true
}

// powerless does something on a thread without capabilities, which ends with it.
func powerless(t *testing.T, do func()) {
	t.Helper()
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread()
		header, none := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, [2]unix.CapUserData{}
		if err = unix.Capset(&header, &none[0]); err == nil {
			do()
		}
	}()
	if <-done; err != nil {
		t.Fatalf("capset: %v", err)
	}
}
