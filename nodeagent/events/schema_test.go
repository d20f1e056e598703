package events

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/nodeagent/flows"
)

var update = flag.Bool("update", false, "write testdata/records.jsonl")

// TestRecordsAreDocumented: docs/records.md has each field that a record can have, with its
// type and whether it may be left out, and no others.
func TestRecordsAreDocumented(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("..", "..", "docs", "records.md"))
	if err != nil {
		t.Fatal(err)
	}
	for heading, record := range map[string]any{
		"## Flows": flows.Flow{}, "### Judged": flows.Judged{}, "### Ends": flows.End{}, "## Processes": Event{}, "## Losses": flows.Losses{},
	} {
		want := fields(reflect.TypeOf(record), "")
		if have := documented(t, string(page), heading); !slices.Equal(have, want) {
			for _, f := range want {
				if !slices.Contains(have, f) {
					t.Errorf("%s lacks %s", heading, f)
				}
			}
			for _, f := range have {
				if !slices.Contains(want, f) {
					t.Errorf("%s has %s, which no record has", heading, f)
				}
			}
			if !t.Failed() {
				t.Errorf("%s: %q, want %q", heading, have, want)
			}
		}
	}
}

// documented reads the table below a heading: name and type of each field.
func documented(t *testing.T, page, heading string) []string {
	t.Helper()
	_, rest, ok := strings.Cut(page, "\n"+heading+"\n")
	if !ok {
		t.Fatalf("no %q", heading)
	}
	rest, _, _ = strings.Cut(rest, "\n#")
	var out []string
	for line := range strings.Lines(rest) {
		cells := strings.Split(line, "|")
		if len(cells) < 4 || !strings.HasPrefix(cells[1], " `") {
			continue
		}
		kind := strings.TrimSpace(cells[2])
		kind = strings.NewReplacer("[judged](#judged)", "judged", "[end](#ends)", "end").Replace(kind)
		out = append(out, strings.Trim(cells[1], " `")+" "+kind)
	}
	return out
}

// fields lists what JSON a type becomes, in order.
func fields(typ reflect.Type, prefix string) []string {
	var out []string
	for i := range typ.NumField() {
		f := typ.Field(i)
		if f.Anonymous {
			out = append(out, fields(f.Type, prefix)...)
			continue
		}
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		inner, path := f.Type, prefix+name
		if inner.Kind() == reflect.Pointer {
			inner = inner.Elem()
		}
		kind := jsonKind(inner)
		switch {
		case kind == "" && inner.Kind() == reflect.Slice:
			out = append(out, fields(inner.Elem(), path+"[].")...)
			continue
		case kind == "":
			out = append(out, fields(inner, path+".")...)
			continue
		}
		if options != "" {
			kind += "?"
		}
		out = append(out, path+" "+kind)
	}
	return out
}

// jsonKind is how the page calls a type; empty for one that it takes apart.
func jsonKind(typ reflect.Type) string {
	switch typ {
	case reflect.TypeFor[time.Time]():
		return "time"
	case reflect.TypeFor[netip.Addr]():
		return "address"
	case reflect.TypeFor[flows.Judged]():
		return "judged"
	case reflect.TypeFor[flows.End]():
		return "end"
	}
	switch typ.Kind() {
	case reflect.String:
		return "text"
	case reflect.Bool:
		return "yes or no"
	case reflect.Map:
		return "numbers by name"
	case reflect.Struct:
		return ""
	case reflect.Slice:
		if typ.Elem().Kind() == reflect.Struct {
			return ""
		}
		return "list of " + jsonKind(typ.Elem())
	}
	return "number"
}

// records are one of each type, with all that such a record can say.
func records() []any {
	at := time.Date(2026, 11, 23, 7, 0, 0, 5e8, time.UTC)
	by := flows.Decision{
		Tier: "Namespace", Policy: "rtp/shop/db", Rule: "executables/shell", Severity: "High", Message: "no shells here", Tags: []string{"T1059.004"},
	}
	exit := 137
	process := func(kind Type, change func(*Event)) Event {
		e := Event{
			Time: at, Type: kind, Verdict: Kill, Decision: by, Backend: LSM, Node: "n1", Generation: "3.1.42",
			Staged: by.Stage(flows.Deny),
			Pod:    &Pod{Namespace: "shop", Name: "db-0", UID: "6b1f0a3e-0000-4000-8000-000000000001"}, Container: &Container{Name: "postgres", ID: "0123abcd", Image: "postgres:18"},
			Process: Process{
				PID: 4711, Executable: "/usr/bin/postgres", Arguments: []string{"postgres", "-D", "/data"}, Truncated: true, UID: 999, GID: 998,
				Capabilities: []string{"NET_BIND_SERVICE"}, Namespaces: map[string]uint32{"mnt": 4026532001, "net": 4026532002, "pid": 4026532003, "user": 4026531837},
				Started: at.Add(-time.Hour),
			},
			Ancestors: []Ancestor{{PID: 4700, Executable: "/usr/bin/tini"}},
		}
		change(&e)
		return e
	}
	end := func(name, addr string) flows.End {
		return flows.End{Kind: "pod", Namespace: "shop", Name: name, Addr: netip.MustParseAddr(addr), Port: 5432}
	}
	return []any{
		flows.Flow{
			Time: at, Type: flows.TypeFlow, Verdict: flows.Deny, Direction: flows.Ingress, Decision: by, Staged: by.Stage(flows.Allow),
			From: end("web-0", "10.0.0.7"), To: end("db-0", "10.0.0.8"), Protocol: "icmp", ICMP: &flows.ICMP{Type: 8, Code: 1},
			Egress: by.Judge(flows.Allow), Ingress: by.Judge(flows.Deny), Generation: "3.1.42", Node: "n1", Interface: "eth0", Bytes: 84, State: "new",
		},
		process(TypeExec, func(e *Event) {
			e.Exec = &Exec{
				Path: "/usr/bin/dash", Unresolvable: true, InterpreterOf: "/tmp/x.sh", Origin: OriginImage, Mapping: true,
				Arguments: []string{"sh", "/tmp/x.sh", "--password=" + Redacted}, Truncated: true,
			}
		}),
		process(TypeExit, func(e *Event) {
			e.Verdict, e.Decision, e.Staged, e.Process.ExitCode = flows.Allow, flows.Decision{}, nil, &exit
		}),
		process(TypeFile, func(e *Event) {
			e.File = &File{Path: "/data/a", Target: "/data/b", Operations: []string{"Rename", "Create"}, Origin: OriginModified, Unresolvable: true, Owned: true, Directory: true}
		}),
		process(TypePrivilege, func(e *Event) {
			e.Privilege = &Privilege{Operation: "Capability,JoinNamespace", Capability: "SYS_ADMIN"}
		}),
		process(TypeNetwork, func(e *Event) {
			e.Network = &Network{Operation: "Connect,Send", Protocol: "tcp", Address: netip.MustParseAddr("10.0.0.9"), Port: 443, Peer: "shop/api-0", Unresolvable: true}
		}),
		flows.Losses{Time: at, Type: flows.TypeLost, Lost: 57, Where: "kernel", Tier: by.Tier, Policy: by.Policy, Rule: by.Rule},
	}
}

// TestRecords: programs of others read these lines, so that they change only where
// somebody meant it; and they are read as what they are.
func TestRecords(t *testing.T) {
	var b bytes.Buffer
	var counts []string
	for _, r := range records() {
		text := line(t, r)
		b.Write(append(text, '\n'))
		var isEvent, isLoss bool
		if err := Read(text, func(e Event) error { isEvent = reflect.DeepEqual(e, r); return nil }, func(l flows.Losses) error { isLoss = l == r; return nil }); err != nil {
			t.Errorf("%s: %v", text, err)
		}
		var f flows.Flow
		isFlow := json.Unmarshal(text, &f) == nil && reflect.DeepEqual(f, r)
		counts = append(counts, fmt.Sprintf("%t %t %t", isFlow, isEvent, isLoss))
		unfilled(t, reflect.ValueOf(r), fmt.Sprintf("%T", r))
	}
	if event := "false true false"; !slices.Equal(counts, []string{"true false false", event, event, event, event, event, "false false true"}) {
		t.Errorf("read as flow, event, loss: %q", counts)
	}
	path := filepath.Join("testdata", "records.jsonl")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if b.String() != string(want) {
		t.Errorf("records are\n%s, on file\n%s: if that is meant, go test ./nodeagent/events -update", b.String(), want)
	}
}

// unfilled finds fields of a record that the golden file would not show. Of an Event there
// is one record for each type, and of Judged severity, message and tags are those of staged.
func unfilled(t *testing.T, v reflect.Value, path string) {
	t.Helper()
	for i := range v.NumField() {
		f, name := v.Field(i), path+"."+v.Type().Field(i).Name
		switch {
		case f.IsZero() && (v.Type() == reflect.TypeFor[Event]() || name == "flows.Flow.Egress.Severity" || v.Type() == reflect.TypeFor[flows.Judged]() || name == "events.Event.Process.ExitCode"):
			continue
		case f.IsZero():
			t.Errorf("%s is empty", name)
			continue
		}
		for f.Kind() == reflect.Pointer {
			f = f.Elem()
		}
		if f.Kind() == reflect.Struct && jsonKind(f.Type()) == "" {
			unfilled(t, f, name)
		}
	}
}

// TestOldRecordings: flows and losses of agents that gave them no type are read alike.
func TestOldRecordings(t *testing.T) {
	flow := []byte(`{"time":"2026-11-23T04:05:06Z","verdict":"Deny","direction":"Ingress","tier":"Namespace","policy":"pnp/shop/db","rule":"(isolated)","from":{"kind":"pod","name":"a","namespace":"shop","addr":"10.0.0.7"},"to":{"kind":"pod","name":"b","namespace":"shop","addr":"10.0.0.8"},"protocol":"tcp"}`)
	lost := []byte(`{"time":"2026-11-23T04:05:06Z","lost":3,"where":"kernel"}`)
	for name, old := range map[string][]byte{"flow": flow, "lost": lost} {
		typed := append([]byte(`{"type":"`+name+`",`), old[1:]...)
		var was, is bytes.Buffer
		for line, out := range map[*[]byte]*bytes.Buffer{&old: &was, &typed: &is} {
			if err := (&flows.Printer{Out: out}).Line(*line); err != nil {
				t.Errorf("%s: %v", *line, err)
			}
			if err := (&Printer{Out: out}).Line(*line); err != nil {
				t.Errorf("%s: %v", *line, err)
			}
		}
		if was.String() != is.String() || was.Len() == 0 {
			t.Errorf("%s without a type: %q, with one: %q", name, was.String(), is.String())
		}
	}
}
