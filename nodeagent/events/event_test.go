package events

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"strings"
	"testing"
	"time"

	"palisade.dev/palisade/nodeagent/flows"
)

var stopped = Event{
	Time: time.Date(2026, 11, 23, 7, 0, 0, 0, time.UTC), Type: TypeExec, Verdict: Kill,
	Decision: flows.Decision{Tier: "Namespace", Policy: "rtp/shop/db", Rule: "executables/shell", Message: "no  shells"},
	Backend:  Signal, Pod: &Pod{Namespace: "shop", Name: "db-0", UID: "u"}, Container: &Container{Name: "postgres"},
	Process: Process{PID: 7, Executable: "/usr/bin/postgres"}, Exec: &Exec{Path: "/bin/sh", Origin: OriginImage},
}

func line(t *testing.T, v any) []byte {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestPrinter(t *testing.T) {
	connect := stopped
	connect.Type, connect.Exec, connect.Verdict = TypeNetwork, nil, flows.Allow
	connect.Network = &Network{Operation: "connect", Protocol: "tcp", Address: netip.MustParseAddr("192.0.2.1"), Port: 443}
	connect.Staged = &flows.Judged{Verdict: flows.Deny, Policy: "rtp/shop/net", Rule: "network/out"}
	stream := [][]byte{
		line(t, flows.Flow{Verdict: flows.Deny}), // of the same stream, not of this reader
		line(t, stopped), line(t, connect), line(t, flows.Losses{Lost: 3, Where: "kernel"}),
		line(t, flows.Losses{Lost: 4, Where: "kernel", Tier: "Namespace", Policy: "rtp/shop/db", Rule: "executables/shell"}),
	}
	tests := map[string]struct {
		filter Filter
		want   []string
		not    []string
	}{
		"all": {Filter{}, []string{
			"Kill", "shop/db-0/postgres", "/bin/sh", "Namespace rtp/shop/db executables/shell (after the fact): no shells",
			"tcp 192.0.2.1:443", "(staged: Deny by rtp/shop/net network/out)", "3 records lost (kernel)", "4 records lost (kernel) by Namespace rtp/shop/db executables/shell",
		}, nil},
		"type":      {Filter{Type: TypeNetwork}, []string{"192.0.2.1", "3 records lost"}, []string{"/bin/sh"}},
		"verdict":   {Filter{Verdict: Kill}, []string{"/bin/sh"}, []string{"192.0.2.1"}},
		"pod":       {Filter{Pod: "shop/db-0"}, []string{"/bin/sh"}, nil},
		"other pod": {Filter{Pod: "db-1"}, nil, []string{"/bin/sh", "192.0.2.1"}},
		"policy":    {Filter{Policy: "rtp/shop/other"}, nil, []string{"/bin/sh"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			p := &Printer{Filter: tc.filter, Out: &out}
			for _, l := range stream {
				if err := p.Line(l); err != nil {
					t.Fatal(err)
				}
			}
			for _, w := range tc.want {
				if !strings.Contains(out.String(), w) {
					t.Errorf("no %q in\n%s", w, out.String())
				}
			}
			for _, w := range tc.not {
				if strings.Contains(out.String(), w) {
					t.Errorf("%q in\n%s", w, out.String())
				}
			}
		})
	}
}

// What a program reads is what the agent wrote.
func TestJSONPassesThrough(t *testing.T) {
	var out bytes.Buffer
	p := &Printer{JSON: true, Out: &out}
	want := line(t, stopped)
	if err := p.Line(want); err != nil || strings.TrimSpace(out.String()) != string(want) {
		t.Errorf("%v: %s, want %s", err, out.String(), want)
	}
	var back Event
	if err := json.Unmarshal(want, &back); err != nil || back.Exec.Path != "/bin/sh" || back.Rule != stopped.Rule || !back.Time.Equal(stopped.Time) {
		t.Errorf("%v: %+v", err, back)
	}
	if err := p.Line([]byte("{")); err == nil || !strings.Contains(err.Error(), `event "{"`) {
		t.Errorf("half a line: %v", err)
	}
}
