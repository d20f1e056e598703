package nodeagent

import (
	"encoding/json"
	"testing"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/nodeagent/events"
	"palisade.dev/palisade/nodeagent/runtime"
	"palisade.dev/palisade/snapshot"
)

// TestObjectTellsWhatRulesCompare: replay asks changed policies about a record, so that
// it holds all that the kernel held against rules.
func TestObjectTellsWhatRulesCompare(t *testing.T) {
	b := newBench(t)
	r := &recorder{names: newNamer(b.holding, b.facts.Bindings)}
	files, executables, network := uint8(runtime.Files), uint8(runtime.Executables), uint8(runtime.Network)
	tests := map[string]struct {
		path, target string
		query        bpf.RuntimeQuery
		want         string
	}{
		"the owner": {
			"/a", "", bpf.RuntimeQuery{Section: files, Operations: 1, Origin: snapshot.OriginModified, Owner: snapshot.OwnerOnly},
			`{"path":"/a","operations":["Read"],"origin":"Modified","owned":true}`,
		},
		"somebody else": {
			"/a", "", bpf.RuntimeQuery{Section: files, Operations: 1, Origin: snapshot.OriginImage, Owner: snapshot.OwnerNot},
			`{"path":"/a","operations":["Read"],"origin":"Image"}`,
		},
		"a directory is renamed": {
			"/a", "/b", bpf.RuntimeQuery{Section: files, Operations: 16, Flags: bpf.RuntimeDirectory},
			`{"path":"/a","target":"/b","operations":["Rename"],"directory":true}`,
		},
		"a file without a path": {
			"", "", bpf.RuntimeQuery{Section: files, Operations: 2, Flags: bpf.RuntimeUnresolvable},
			`{"path":"","operations":["Write"],"unresolvable":true}`,
		},
		"a program without a path": {
			"", "", bpf.RuntimeQuery{Section: executables, Flags: bpf.RuntimeUnresolvable, Origin: snapshot.OriginOutside},
			`{"path":"","unresolvable":true,"origin":"Outside"}`,
		},
		"a mapping": {
			"/lib/a", "", bpf.RuntimeQuery{Section: executables, Flags: bpf.RuntimeMapping, Origin: snapshot.OriginMemory},
			`{"path":"/lib/a","origin":"Memory","mapping":true}`,
		},
		"a socket that the kernel cannot name": {
			"", "", bpf.RuntimeQuery{Section: network, Operations: 4, Protocol: 6, Flags: bpf.RuntimeUnresolvable},
			`{"operation":"Listen","protocol":"tcp","unresolvable":true}`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var e events.Event
			r.object(&e, runtime.Record{RuntimeEvent: bpf.RuntimeEvent{Query: tc.query}, Path: tc.path, Target: tc.target})
			var object any
			switch {
			case e.Exec != nil:
				object = e.Exec
			case e.File != nil:
				object = e.File
			case e.Network != nil:
				object = e.Network
			}
			have, err := json.Marshal(object)
			if err != nil || string(have) != tc.want {
				t.Errorf("have %s, %v; want %s", have, err, tc.want)
			}
		})
	}
}
