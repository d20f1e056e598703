package flows

import (
	"bytes"
	"context"
	"encoding/json"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"palisade.dev/palisade/snapshot"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var at = time.Date(2026, 11, 23, 4, 5, 6, 0, time.UTC)

func denied() Flow {
	d := DecisionOf(snapshot.RuleRow{Tier: 2, PolicyKind: 2, Namespace: "shop", Policy: "db", Rule: "(isolated)", Severity: "High", Message: "only backend may reach the database"})
	return Flow{
		Time: at, Verdict: Deny, Direction: Ingress, Decision: d, Protocol: Protocol(6), Generation: "0.1.7",
		From:   End{Kind: EndKind(0), Namespace: "other", Name: "outsider", Addr: netip.MustParseAddr("fd00::9"), Port: 40000},
		To:     End{Kind: EndKind(0), Namespace: "shop", Name: "db", Addr: netip.MustParseAddr("fd00::3"), Port: 5432},
		Egress: Builtin("(no-subject)").Judge(Allow), Ingress: d.Judge(Deny), State: "new", Bytes: 80,
	}
}

func TestRecord(t *testing.T) {
	const want = `{"time":"2026-11-23T04:05:06Z","verdict":"Deny","direction":"Ingress","tier":"Namespace","policy":"pnp/shop/db","rule":"(isolated)",` +
		`"severity":"High","message":"only backend may reach the database",` +
		`"from":{"kind":"pod","namespace":"other","name":"outsider","addr":"fd00::9","port":40000},` +
		`"to":{"kind":"pod","namespace":"shop","name":"db","addr":"fd00::3","port":5432},"protocol":"tcp",` +
		`"egress":{"verdict":"Allow","tier":"Builtin","policy":"builtin/palisade","rule":"(no-subject)"},` +
		`"ingress":{"verdict":"Deny","tier":"Namespace","policy":"pnp/shop/db","rule":"(isolated)"},"generation":"0.1.7","bytes":80,"state":"new"}`
	b, err := json.Marshal(denied())
	if err != nil || string(b) != want {
		t.Errorf("record:\n got %s\nwant %s\n%v", b, want, err)
	}
}

func TestFilter(t *testing.T) {
	tests := map[string]struct {
		f    Filter
		want bool
	}{
		"all":               {Filter{}, true},
		"verdict":           {Filter{Verdict: Deny}, true},
		"other verdict":     {Filter{Verdict: Allow}, false},
		"client namespace":  {Filter{Namespace: "other"}, true},
		"server namespace":  {Filter{Namespace: "shop"}, true},
		"no such namespace": {Filter{Namespace: "sho"}, false},
		"pod":               {Filter{Pod: "shop/db"}, true},
		"pod by name":       {Filter{Pod: "outsider"}, true},
		"pod elsewhere":     {Filter{Pod: "other/db"}, false},
		"policy":            {Filter{Policy: "pnp/shop/db"}, true},
		"all must match":    {Filter{Policy: "pnp/shop/db", Verdict: Allow}, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.f.Match(denied()); got != tc.want {
				t.Errorf("Match = %t", got)
			}
		})
	}
}

func TestPrinter(t *testing.T) {
	var out bytes.Buffer
	p := Printer{Filter: Filter{Verdict: Deny}, Out: &out}
	allowed := denied()
	allowed.Verdict = Allow
	for _, r := range []any{denied(), allowed, Losses{Time: at, Lost: 3, Where: "kernel"}} {
		if err := p.Line(bytes.TrimSpace(marshal(r))); err != nil {
			t.Fatal(err)
		}
	}
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 || !strings.HasPrefix(lines[0], "TIME") || lines[2] != "-- 3 records lost (kernel) --" {
		t.Fatalf("output:\n%s", out.String())
	}
	for _, want := range []string{"Deny", "other/outsider", "shop/db", "5432/tcp", "Ingress Namespace pnp/shop/db (isolated): only backend"} {
		if !strings.Contains(lines[1], want) {
			t.Errorf("row lacks %q: %s", want, lines[1])
		}
	}
	if err := p.Line([]byte("{")); err == nil {
		t.Error("half a record is no error")
	}
}

// A reader that does not read loses lines, is told how many, and holds up nobody.
func TestSlowReader(t *testing.T) {
	h := NewHub(func() time.Time { return at })
	slow := h.Subscribe(0)
	for range queueLines + 10 {
		h.Publish(denied())
	}
	for range 5 {
		<-slow.Lines
	}
	h.Publish(denied())
	slow.Close()
	var flows, told uint64
	for line := range slow.Lines {
		var l Losses
		if err := json.Unmarshal(line, &l); err != nil {
			t.Fatal(err)
		}
		if told += l.Lost; l.Lost == 0 {
			flows++
		}
		if (l.Type == TypeLost) != (l.Lost > 0) {
			t.Errorf("a line of type %q with %d lost", l.Type, l.Lost)
		}
	}
	if told != 10 || flows != queueLines-5+1 {
		t.Errorf("lost %d, got %d; want 10, %d", told, flows, queueLines-4)
	}
}

func TestRecentIsARing(t *testing.T) {
	h := NewHub(time.Now)
	for i := range recentLines + 3 {
		f := denied()
		f.Bytes = uint32(i)
		h.Publish(f)
	}
	r := h.Subscribe(2)
	r.Close()
	var got []uint32
	for line := range r.Lines {
		var f Flow
		if err := json.Unmarshal(line, &f); err != nil {
			t.Fatal(err)
		}
		got = append(got, f.Bytes)
	}
	if len(got) != 2 || got[0] != recentLines+1 || got[1] != recentLines+2 {
		t.Errorf("last two = %v", got)
	}
}

func TestSocket(t *testing.T) {
	h := NewHub(time.Now)
	socket := filepath.Join(t.TempDir(), "flows.sock")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- h.Serve(ctx, l) }()
	h.Publish(denied())

	n := 0
	if err := Read(ctx, socket, Query{Last: 10}, func([]byte) error { n++; return nil }); err != nil || n != 1 {
		t.Errorf("past lines = %d, %v", n, err)
	}
	follow, stop := context.WithCancel(ctx)
	n = 0
	err = Read(follow, socket, Query{Last: 10, Follow: true}, func([]byte) error {
		n++
		h.Publish(denied()) // comes in while we follow
		if n == 3 {
			stop()
		}
		return nil
	})
	if err != nil || n < 3 {
		t.Errorf("followed lines = %d, %v", n, err)
	}
	stop()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := Read(context.Background(), socket, Query{}, nil); err == nil || !strings.Contains(err.Error(), socket) {
		t.Errorf("no agent: %v", err)
	}
}
