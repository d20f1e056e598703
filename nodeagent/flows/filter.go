package flows

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// Filter says which flows to show; empty fields do not matter.
type Filter struct {
	Verdict   Verdict
	Namespace string // of either end
	Pod       string // NAMESPACE/NAME or NAME of either end
	Policy    string // KIND/NAMESPACE/NAME
}

// Match reports whether a flow is to be shown.
func (f Filter) Match(x Flow) bool {
	either := func(ok func(End) bool) bool { return ok(x.From) || ok(x.To) }
	return (f.Verdict == "" || f.Verdict == x.Verdict) &&
		(f.Namespace == "" || either(func(e End) bool { return e.Namespace == f.Namespace })) &&
		(f.Pod == "" || either(func(e End) bool { return e.Name != "" && (e.String() == f.Pod || e.Name == f.Pod) })) &&
		(f.Policy == "" || x.Policy == f.Policy)
}

// Printer writes lines of flows for people or for programs.
type Printer struct {
	Filter Filter
	JSON   bool
	Out    io.Writer

	headed bool
}

// Line takes one line as an agent gives it out.
func (p *Printer) Line(line []byte) error {
	var probe struct {
		Lost *uint64 `json:"lost"`
		Type string  `json:"type"`
	}
	if err := json.Unmarshal(line, &probe); err != nil {
		return fmt.Errorf("flow record %.80q: %w", line, err)
	}
	switch {
	case probe.Lost != nil:
		// Losses are always shown: what was lost might have matched.
		return p.losses(line)
	case !IsFlow(probe.Type):
		return nil // about a process: see package events
	}
	var f Flow
	if err := json.Unmarshal(line, &f); err != nil {
		return fmt.Errorf("flow record %.80q: %w", line, err)
	}
	if !p.Filter.Match(f) {
		return nil
	}
	if p.JSON {
		_, err := fmt.Fprintf(p.Out, "%s\n", line)
		return err
	}
	return p.row(f)
}

func (p *Printer) losses(line []byte) error {
	if p.JSON {
		_, err := fmt.Fprintf(p.Out, "%s\n", line)
		return err
	}
	var l Losses
	if err := json.Unmarshal(line, &l); err != nil {
		return fmt.Errorf("flow record %.80q: %w", line, err)
	}
	_, err := fmt.Fprintln(p.Out, l)
	return err
}

// row is padded on its own so that a stream can be followed.
func (p *Printer) row(f Flow) error {
	w := tabwriter.NewWriter(p.Out, 24, 0, 2, ' ', 0)
	if !p.headed {
		p.headed = true
		fmt.Fprintln(w, "TIME\tVERDICT\tFROM\tTO\tPORT\tDECIDED BY")
	}
	by := fmt.Sprintf("%s %s %s %s", f.Direction, f.Tier, f.Policy, f.Rule)
	if f.Staged != nil {
		by += fmt.Sprintf(" (staged: %s by %s %s)", f.Staged.Verdict, f.Staged.Policy, f.Staged.Rule)
	}
	if f.Message != "" {
		by += ": " + strings.Join(strings.Fields(f.Message), " ")
	}
	fmt.Fprintf(w, "%s\t%s\t%s\t%s\t%s\t%s\n", f.Time.Format("15:04:05.000"), f.Verdict, f.From, f.To, port(f), by)
	return w.Flush()
}

// port is what a rule would have to name.
func port(f Flow) string {
	switch {
	case f.ICMP != nil:
		return fmt.Sprintf("%d.%d/%s", f.ICMP.Type, f.ICMP.Code, f.Protocol)
	case f.To.Port == 0:
		return f.Protocol
	}
	return fmt.Sprintf("%d/%s", f.To.Port, f.Protocol)
}
