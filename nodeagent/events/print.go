package events

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"

	"palisade.dev/palisade/nodeagent/flows"
)

// Filter says which events to show; empty fields do not matter.
type Filter struct {
	Type      Type
	Verdict   flows.Verdict
	Namespace string
	Pod       string // NAMESPACE/NAME or NAME
	Policy    string // KIND/NAMESPACE/NAME
}

// Match reports whether an event is to be shown.
func (f Filter) Match(e Event) bool {
	var pod Pod
	if e.Pod != nil {
		pod = *e.Pod
	}
	return (f.Type == "" || f.Type == e.Type) &&
		(f.Verdict == "" || f.Verdict == e.Verdict) &&
		(f.Namespace == "" || f.Namespace == pod.Namespace) &&
		(f.Pod == "" || f.Pod == pod.Name || f.Pod == pod.Namespace+"/"+pod.Name) &&
		(f.Policy == "" || f.Policy == e.Policy)
}

// Read calls each with every event of a stream of JSON lines, and lost with the
// losses in between. Flow records in the same stream are passed over.
func Read(line []byte, each func(Event) error, lost func(flows.Losses) error) error {
	var probe struct {
		Lost *uint64 `json:"lost"`
		Type Type    `json:"type"`
	}
	if err := json.Unmarshal(line, &probe); err != nil {
		return fmt.Errorf("event %.80q: %w", line, err)
	}
	switch {
	case probe.Lost != nil:
		var l flows.Losses
		if err := json.Unmarshal(line, &l); err != nil {
			return fmt.Errorf("event %.80q: %w", line, err)
		}
		return lost(l)
	case flows.IsFlow(string(probe.Type)):
		return nil
	}
	var e Event
	if err := json.Unmarshal(line, &e); err != nil {
		return fmt.Errorf("event %.80q: %w", line, err)
	}
	return each(e)
}

// Printer writes lines of events for people or for programs.
type Printer struct {
	Filter Filter
	JSON   bool
	Out    io.Writer

	headed bool
}

// Line takes one line as an agent gives it out.
func (p *Printer) Line(line []byte) error {
	raw := func() error {
		_, err := fmt.Fprintf(p.Out, "%s\n", line)
		return err
	}
	return Read(line, func(e Event) error {
		switch {
		case !p.Filter.Match(e):
			return nil
		case p.JSON:
			return raw()
		}
		return p.row(e)
	}, func(l flows.Losses) error {
		// Losses are always shown: what was lost might have matched.
		if p.JSON {
			return raw()
		}
		_, err := fmt.Fprintln(p.Out, l)
		return err
	})
}

// row is padded on its own so that a stream can be followed.
func (p *Printer) row(e Event) error {
	w := tabwriter.NewWriter(p.Out, 24, 0, 2, ' ', 0)
	if !p.headed {
		p.headed = true
		fmt.Fprintln(w, "TIME\tVERDICT\tWHO\tPROCESS\tOPERATION\tOBJECT\tDECIDED BY")
	}
	by := strings.TrimSpace(e.Tier + " " + e.Policy + " " + e.Rule)
	if e.Staged != nil {
		by += fmt.Sprintf(" (staged: %s by %s %s)", e.Staged.Verdict, e.Staged.Policy, e.Staged.Rule)
	}
	if e.Backend == Signal && e.Verdict != flows.Allow {
		by += " (after the fact)"
	}
	if e.Message != "" {
		by += ": " + strings.Join(strings.Fields(e.Message), " ")
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", e.Time.Format("15:04:05.000"), e.Verdict, e, e.Process.Executable, e.Operation(), e.Object(), by)
	return w.Flush()
}
