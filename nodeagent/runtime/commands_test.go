package runtime

import (
	"slices"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// TestArguments: the kernel tells what was executed with which arguments, however short
// the process is, and by whom.
func TestArguments(t *testing.T) {
	n := newNode(t)
	b := newBox(t)
	n.apply([]*box{b}, snapshot.RuntimeRuleRow{
		Section: snapshot.SectionExecutables, Action: snapshot.RuntimeDeny, Staged: true, Arguments: []string{"-x"},
	})
	got, _ := n.read()
	long := strings.Repeat("x", 5000)
	for _, args := range [][]string{
		{"/bin/app", "exec", "/bin/denied"},
		{"/bin/app", "exec", "/bin/denied", "exec", "/bin/app", "read", "/etc/secret", ""},
		{"/bin/app", "exec", "/bin/denied", "read", "/etc/secret", long},
	} {
		out, err := b.run(t, args...)
		n.goes(strings.Join(args[:3], " "), out, err)
	}
	var list []Record
	until(t, "three executions", func() bool { list = got.of("/bin/denied"); return len(list) >= 3 })
	tests := []struct {
		want      []string
		truncated bool
	}{
		{[]string{"/bin/denied"}, false},
		{[]string{"/bin/denied", "exec", "/bin/app", "read", "/etc/secret", ""}, false},
		{[]string{"/bin/denied", "read", "/etc/secret", long[:ShownArguments-len("/bin/denied read /etc/secret ")]}, true},
	}
	if len(list) != len(tests) {
		t.Fatalf("%d executions, want %d", len(list), len(tests))
	}
	for i, rec := range list {
		c, want := rec.Command, tests[i]
		switch {
		case c == nil:
			t.Errorf("execution %d: no arguments", i)
		case !slices.Equal(c.Arguments, want.want) || c.Truncated != want.truncated:
			t.Errorf("execution %d: %q, truncated %v", i, c.Arguments, c.Truncated)
		case c.Chain == nil || c.Chain.Count != 1 || c.Chain.Executable[0] != n.d.Fingerprint("/bin/app"):
			t.Errorf("execution %d: executed by %+v", i, c.Chain)
		}
	}
	first := got.of("/bin/app")[0]
	if first.Command == nil || first.Command.Chain == nil || first.Command.Chain.Count != 0 {
		t.Errorf("the first program: %+v", first.Command)
	}
}

// executed is a record of a program.
func executed(pid uint32, path string, change ...func(*Record)) Record {
	r := Record{Path: path}
	r.Kind, r.PID, r.Started, r.Query.Section, r.Backend = bpf.RuntimeEventJudged, pid, 7, uint8(Executables), bpf.BackendLSM
	for _, f := range change {
		f(&r)
	}
	return r
}

func denied(r *Record)  { r.Answer.Enforced = bpf.RuntimeWord(1, bpf.RuntimeDeny, 40) }
func mapping(r *Record) { r.Query.Flags = bpf.RuntimeMapping }
func by(n uint8) func(*Record) {
	return func(r *Record) { r.Backend = n }
}

func runs(pid uint32, arguments ...string) Record {
	var r Record
	r.Kind, r.PID, r.Started = bpf.RuntimeEventExec, pid, 7
	r.Path = strings.Join(arguments, "\x00") + "\x00"
	r.Arguments = uint32(len(r.Path))
	r.Target = string(make([]byte, 8+8*bpf.RuntimeChain))
	return r
}

func exits(pid uint32) Record {
	var r Record
	r.Kind, r.PID, r.Started = bpf.RuntimeEventExit, pid, 7
	return r
}

// TestJoin: what is executed waits for its arguments, and for nothing else.
func TestJoin(t *testing.T) {
	show := func(records []Record) string {
		var out []string
		for _, r := range records {
			s := r.Path
			if r.Kind == bpf.RuntimeEventExit {
				s = "exit"
			}
			if r.InterpreterOf != "" {
				s += "<-" + r.InterpreterOf
			}
			if r.Command != nil {
				s += "(" + strings.Join(r.Command.Arguments, ",") + ")"
			}
			out = append(out, s)
		}
		return strings.Join(out, " ")
	}
	tests := map[string]struct {
		records []Record
		want    string // in order
		late    string // when nothing comes any more
	}{
		"in time":              {[]Record{executed(1, "/a"), runs(1, "a", "-x")}, "/a(a,-x)", ""},
		"two processes":        {[]Record{executed(1, "/a"), executed(2, "/b"), runs(2, "b"), runs(1, "a")}, "/b(b) /a(a)", ""},
		"script":               {[]Record{executed(1, "/s"), executed(1, "/sh"), runs(1, "sh", "/s")}, "/s(sh,/s) /sh<-/s(sh,/s)", ""},
		"script of a script":   {[]Record{executed(1, "/s"), executed(1, "/t"), executed(1, "/sh"), runs(1, "sh", "-e", "/t", "./s")}, "/s(sh,-e,/t,./s) /t<-/s(sh,-e,/t,./s) /sh<-/t(sh,-e,/t,./s)", ""},
		"script by its name":   {[]Record{executed(1, "/d/s"), executed(1, "/sh"), runs(1, "sh", "s")}, "/d/s(sh,s) /sh<-/d/s(sh,s)", ""},
		"denied":               {[]Record{executed(1, "/a", denied)}, "/a", ""},
		"denied after script":  {[]Record{executed(1, "/s"), executed(1, "/sh", denied)}, "/s /sh<-/s", ""},
		"mapping":              {[]Record{executed(1, "/a", mapping)}, "/a", ""},
		"killed by a signal":   {[]Record{executed(1, "/a", denied, by(bpf.BackendSignal)), runs(1, "a", "b")}, "/a(a,b)", ""},
		"it failed":            {[]Record{executed(1, "/a")}, "", "/a"},
		"it failed, then ends": {[]Record{executed(1, "/a"), exits(1)}, "/a exit", ""},
		"it failed, another":   {[]Record{executed(1, "/a"), executed(1, "/b"), runs(1, "b")}, "/a(b) /b(b)", ""},
		"another's end":        {[]Record{executed(1, "/a"), exits(2), runs(1, "a")}, "exit /a(a)", ""},
		"nothing was judged":   {[]Record{runs(1, "a")}, "", ""},
		"nothing can be read":  {[]Record{executed(1, "/a"), func() Record { r := runs(1); r.Path, r.Arguments = "", 4; return r }()}, "/a", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			now := time.Unix(1000, 0)
			c := commands{proc: t.TempDir()}
			var got []Record
			for _, r := range tc.records {
				got = append(got, c.join(r, now)...)
			}
			if show(got) != tc.want {
				t.Errorf("got %q, want %q", show(got), tc.want)
			}
			if early := c.overdue(now.Add(awaitArguments - 1)); len(early) > 0 {
				t.Errorf("too early: %q", show(early))
			}
			if late := show(c.overdue(now.Add(awaitArguments))); late != tc.late || len(c.waiting) > 0 {
				t.Errorf("late: %q, want %q; %d wait", late, tc.late, len(c.waiting))
			}
		})
	}
}

// TestJoinBound: a crowd of failing executions does not fill the memory.
func TestJoinBound(t *testing.T) {
	c := commands{proc: t.TempDir()}
	told := 0
	for i := range uint32(3 * maxAwaited) {
		told += len(c.join(executed(i+1, "/a"), time.Unix(1000, 0)))
		if len(c.waiting) > maxAwaited {
			t.Fatalf("%d wait", len(c.waiting))
		}
	}
	if told+len(c.waiting) != 3*maxAwaited {
		t.Errorf("%d told and %d waiting of %d", told, len(c.waiting), 3*maxAwaited)
	}
}

// TestProcesses: a record names the executable that asks, also when it has become
// another since, and its arguments.
func TestProcesses(t *testing.T) {
	fingerprint := func(path string) uint64 { return uint64(len(path)) }
	p := NewProcesses(t.TempDir(), fingerprint, slices.Clone)
	command := func(chain *bpf.RuntimeChainOf, arguments ...string) func(*Record) {
		return func(r *Record) { r.Command = &Command{Arguments: arguments, Chain: chain} }
	}
	steps := []struct {
		rec  Record
		want string
	}{
		{executed(1, "/first", command(&bpf.RuntimeChainOf{}, "first", "1")), " []"},
		{executed(1, "/se", command(&bpf.RuntimeChainOf{Count: 1, Executable: [16]uint64{6}}, "se")), "/first [first 1]"},
		{executed(2, "/child", command(&bpf.RuntimeChainOf{Count: 2, Executable: [16]uint64{3, 6}}, "child")), "/se []"},
		{executed(1, "/x", denied), "/se [se]"},
		{executed(3, "/signal", command(&bpf.RuntimeChainOf{}, "s", "y"), denied, by(bpf.BackendSignal)), " []"},
		{executed(1, "/signal", command(&bpf.RuntimeChainOf{Count: 1, Executable: [16]uint64{3}}, "s"), denied, by(bpf.BackendSignal)), "/se [se]"},
		{exits(1), "/se []"},
	}
	for _, s := range steps {
		got := p.Process(s.rec)
		p.Note(s.rec)
		if have := got.Executable + " [" + strings.Join(got.Arguments, " ") + "]"; have != s.want {
			t.Errorf("%s of %d: %q, want %q", s.rec.Path, s.rec.PID, have, s.want)
		}
	}
}
