package nodeagent

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/layout"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
)

// Slots of the rules of the recorder's test.
const (
	slotNone bpf.RuleSlot = iota
	slotDeny
	slotKill
	slotTrial
)

// recordedRules are what slots stand for.
var recordedRules = map[bpf.RuleSlot]snapshot.RuleRow{
	slotDeny: {
		ID: snapshot.RuleID{1}, Tier: 2, PolicyKind: 4, Namespace: "shop", Policy: "db", Rule: "privileges/no-mount",
		Severity: "High", Message: "nothing is mounted here", Tags: []string{"T1611"},
	},
	slotKill:  {ID: snapshot.RuleID{2}, Tier: 1, PolicyKind: 1, Policy: "no-shell", Rule: "executables/shell"},
	slotTrial: {ID: snapshot.RuleID{3}, Tier: 3, PolicyKind: 4, Namespace: "shop", Policy: "trial", Rule: "files/(isolated)", Severity: "Low"},
}

// testRecorder knows a pod shop/a of this node, and in proc two processes above.
func testRecorder(t *testing.T) *recorder {
	t.Helper()
	const uid = "11111111-2222-3333-4444-555555555555"
	b := newBench(t)
	rows := set(node, uid)
	rows.Put(snapshot.Encode(snapshot.AddressRow{Addr: netip.MustParseAddr("10.0.0.9"), Endpoint: 0, Namespace: "shop", Name: "cache"}))
	b.mustApply(t, full(1, rows))
	proc := t.TempDir()
	for pid, executable := range map[string]string{"70": "/bin/sh", "60": "/sbin/tini"} {
		if err := os.Mkdir(filepath.Join(proc, pid), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(executable, filepath.Join(proc, pid, "exe")); err != nil {
			t.Fatal(err)
		}
		// It began as long ago as the records say: in the first hundredth of a second.
		stat := pid + " (x) S" + strings.Repeat(" 0", 40) + "\n"
		if err := os.WriteFile(filepath.Join(proc, pid, "stat"), []byte(stat), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	fingerprint := func(path string) uint64 { return uint64(len(path)) }
	return &recorder{
		node: node, pods: podNamer{holding: b.holding}, names: newNamer(b.holding, b.facts.Bindings),
		rule: func(slot bpf.RuleSlot, _ snapshot.Generation) datapath.Attribution {
			if row, ok := recordedRules[slot]; ok {
				return datapath.Attribution{Decision: datapath.Decision{Rule: row.ID}, Row: row}
			}
			return datapath.Attribution{Decision: datapath.Decision{Builtin: "(default)"}}
		},
		processes: runtime.NewProcesses(proc, fingerprint, events.NewRedactor(nil).Redact),
		commands:  commandLines{holding: b.holding, fingerprint: fingerprint, observed: &b.observed},
		rate:      10,
	}
}

// recorded is what the kernel says of a process of that pod, with ends that differ in
// every field.
func recorded(section runtime.Section, query bpf.RuntimeQuery, enforced, staged uint64) runtime.Record {
	uid := layout.PodKey("11111111-2222-3333-4444-555555555555")
	query.Section = uint8(section)
	return runtime.Record{
		At: time.Date(2026, 11, 23, 10, 0, 0, 0, time.UTC),
		RuntimeEvent: bpf.RuntimeEvent{
			Kind: bpf.RuntimeEventJudged, Epoch: 1, Term: 2, Counter: 3, Backend: 1, Query: query, Answer: bpf.RuntimeAnswer{Enforced: enforced, Staged: staged},
			Container: bpf.RuntimeContainer{UIDHigh: uid.High, UIDLow: uid.Low},
			PID:       80, Started: uint64(time.Minute), UID: 1000, GID: 2000, Effective: 1<<21 | 1<<0,
			MountNamespace: 11, ProcessNamespace: 12, NetworkNamespace: 13, UserNamespace: 14,
			Ancestors: [8]bpf.RuntimeAncestor{{PID: 70, Started: 7}, {PID: 60, Started: 6}},
		},
		Container: runtime.Container{ID: "c1", Name: "db", Image: "example.test/db:1"},
	}
}

// TestEvent: one record of each section and one of an end, one process after another, and
// all that their events say.
func TestEvent(t *testing.T) {
	r := testRecorder(t)
	allow := bpf.RuntimeWord(0, 0, slotNone)
	deny := bpf.RuntimeWord(1, bpf.RuntimeDeny, slotDeny)
	kill := bpf.RuntimeWord(1, bpf.RuntimeDeny|bpf.RuntimeKill, slotKill)
	trial := bpf.RuntimeWord(2, bpf.RuntimeDeny, slotTrial)

	exec := recorded(runtime.Executables, bpf.RuntimeQuery{Origin: snapshot.OriginImage}, allow, allow)
	exec.Path, exec.Command = "/usr/bin/mysql", &runtime.Command{Arguments: []string{"mysql", "--password=hunter2"}, Truncated: true}
	shell := recorded(runtime.Executables, bpf.RuntimeQuery{Origin: snapshot.OriginMemory}, kill, kill)
	shell.Path = "/memfd:x"
	mapping := recorded(runtime.Executables, bpf.RuntimeQuery{Origin: snapshot.OriginModified, Flags: bpf.RuntimeMapping}, allow, allow)
	mapping.Path = "/tmp/x.so"
	file := recorded(runtime.Files, bpf.RuntimeQuery{Operations: 1 | 16, Origin: snapshot.OriginOutside, Owner: snapshot.OwnerOnly}, allow, trial)
	file.Path, file.Target = "/etc/passwd", "/etc/moved"
	mount := recorded(runtime.Privileges, bpf.RuntimeQuery{Operations: 1 | 64, Capabilities: 1 << 21}, deny, allow)
	connect := recorded(runtime.Network, bpf.RuntimeQuery{
		Operations: 1 | 8, Protocol: 6, Port: 5432, Family: bpf.FamilyIPv4, Address: bpf.Key6{Low: 10<<24 | 9},
	}, allow, allow)
	connect.Container = runtime.Container{ID: "c0", Sandbox: true}
	exit := recorded(0, bpf.RuntimeQuery{}, 0, 0)
	exit.Kind, exit.ExitCode = bpf.RuntimeEventExit, 3<<8
	killed := recorded(0, bpf.RuntimeQuery{}, 0, 0)
	killed.Kind, killed.ExitCode, killed.PID = bpf.RuntimeEventExit, 9, 81

	const (
		about = `"backend":"lsm","node":"n1","generation":"1.2.3",` +
			`"pod":{"namespace":"shop","name":"11111111-2222-3333-4444-555555555555","uid":"11111111-2222-3333-4444-555555555555"},`
		container = `"container":{"name":"db","id":"c1","image":"example.test/db:1"},`
		rights    = `"uid":1000,"gid":2000,"capabilities":["CHOWN","SYS_ADMIN"],"namespaces":{"mnt":11,"net":13,"pid":12,"user":14}`
		above     = `"ancestors":[{"pid":70,"executable":"/bin/sh"},{"pid":60,"executable":"/sbin/tini"}]`
		client    = `"process":{"pid":80,"executable":"/usr/bin/mysql","arguments":["mysql","--password=***"],"truncated":true,` + rights + `},` + above
		otherwise = `"tier":"Builtin","policy":"builtin/palisade","rule":"(default)",`
	)
	for _, tc := range []struct {
		name   string
		record runtime.Record
		want   string
	}{
		{"a denied program", shell, `"type":"exec","verdict":"Kill","tier":"Admin","policy":"cwp/no-shell","rule":"executables/shell",` + about + container +
			`"process":{"pid":80,"executable":"/bin/sh",` + rights + `},` + above + `,"exec":{"path":"/memfd:x","origin":"Memory"}`},
		{"a program", exec, `"type":"exec","verdict":"Allow",` + otherwise + about + container +
			`"process":{"pid":80,"executable":"/bin/sh",` + rights + `},` + above +
			`,"exec":{"path":"/usr/bin/mysql","origin":"Image","arguments":["mysql","--password=***"],"truncated":true}`},
		{"a mapping", mapping, `"type":"exec","verdict":"Allow",` + otherwise + about + container + client +
			`,"exec":{"path":"/tmp/x.so","origin":"Modified","mapping":true}`},
		{"a file", file, `"type":"file","verdict":"Allow",` + otherwise +
			`"staged":{"verdict":"Deny","tier":"Baseline","policy":"rtp/shop/trial","rule":"files/(isolated)","severity":"Low"},` + about + container + client +
			`,"file":{"path":"/etc/passwd","target":"/etc/moved","operations":["Read","Rename"],"origin":"Outside","owned":true}`},
		{"a privilege", mount, `"type":"privilege","verdict":"Deny","tier":"Namespace","policy":"rtp/shop/db","rule":"privileges/no-mount",` +
			`"severity":"High","message":"nothing is mounted here","tags":["T1611"],` +
			`"staged":{"verdict":"Allow","tier":"Builtin","policy":"builtin/palisade","rule":"(default)"},` + about + container + client +
			`,"privilege":{"operation":"Capability,Mount","capability":"SYS_ADMIN"}`},
		{"a connection of the sandbox", connect, `"type":"network","verdict":"Allow",` + otherwise + about + `"container":{"name":"pause","id":"c0"},` + client +
			`,"network":{"operation":"Connect,Send","protocol":"tcp","address":"10.0.0.9","port":5432,"peer":"shop/cache"}`},
		{"an end", exit, `"type":"exit","verdict":"Allow","tier":"","policy":"","rule":"",` + about + container +
			`"process":{"pid":80,"executable":"/usr/bin/mysql",` + rights + `,"exitCode":3},` + above},
		{"an end by a signal, of whom nothing is known", killed, `"type":"exit","verdict":"Allow","tier":"","policy":"","rule":"",` + about + container +
			`"process":{"pid":81,` + rights + `,"exitCode":137},` + above},
	} {
		e, told := r.event(tc.record)
		if !told {
			t.Errorf("%s: no event", tc.name)
		}
		// The clock that processes are stamped by is this machine's.
		if age := time.Since(e.Process.Started); age < 0 || e.Process.Started.IsZero() {
			t.Errorf("%s: started at %v", tc.name, e.Process.Started)
		}
		e.Process.Started = time.Time{}
		got, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		if want := `{"time":"2026-11-23T10:00:00Z",` + tc.want + `}`; string(got) != want {
			t.Errorf("%s:\n got %s\nwant %s", tc.name, got, want)
		}
	}
}
