package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"text/tabwriter"

	"palisade.dev/palisade/policy/analysis"
	"palisade.dev/palisade/policy/model"
)

// answerJSON is one element of the list that explain and reach print. Its fields
// only grow: scripts depend on them.
type answerJSON struct {
	From    string        `json:"from"`
	To      string        `json:"to"`
	Port    string        `json:"port"`
	Family  string        `json:"family,omitempty"` // only where IPv4 and IPv6 differ
	Verdict string        `json:"verdict"`
	Egress  directionJSON `json:"egress"`
	Ingress directionJSON `json:"ingress"`
}

type directionJSON struct {
	decisionJSON
	Staged *decisionJSON `json:"staged,omitempty"` // only where Audit policies would change something
}

type decisionJSON struct {
	Verdict string `json:"verdict"`
	Tier    string `json:"tier"`
	Policy  string `json:"policy"`
	Rule    string `json:"rule"`
}

func decisionOf(d model.Decision) decisionJSON {
	return decisionJSON{d.Verdict.String(), d.By.Tier.String(), d.By.Policy.String(), d.By.Rule}
}

func directionOf(j model.Judgement) directionJSON {
	out := directionJSON{decisionJSON: decisionOf(j.Enforced)}
	if staged := decisionOf(j.Staged); staged != out.decisionJSON {
		out.Staged = &staged
	}
	return out
}

func answerOf(a analysis.Answer) answerJSON {
	out := answerJSON{
		From: a.From, To: a.To, Port: a.Port.String(),
		Verdict: a.Outcome.Verdict().String(),
		Egress:  directionOf(a.Outcome.Egress),
		Ingress: directionOf(a.Outcome.Ingress),
	}
	if a.Family != analysis.AnyFamily {
		out.Family = a.Family.String()
	}
	return out
}

// printList prints a list as JSON, one element a line, so that two outputs can
// be compared by lines.
func printList[T any](w io.Writer, items []T) error {
	var b bytes.Buffer
	b.WriteString("[")
	for i, item := range items {
		data, err := json.Marshal(item)
		if err != nil {
			return err
		}
		if i > 0 {
			b.WriteString(",")
		}
		b.WriteString("\n  ")
		b.Write(data)
	}
	if len(items) > 0 {
		b.WriteString("\n")
	}
	b.WriteString("]\n")
	_, err := w.Write(b.Bytes())
	return err
}

// printAnswers prints a table, or JSON.
func printAnswers(w io.Writer, format string, answers []analysis.Answer) error {
	rows := make([]answerJSON, len(answers))
	for i, a := range answers {
		rows[i] = answerOf(a)
	}
	if format == "json" {
		return printList(w, rows)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "FROM\tTO\tPORT\tVERDICT\tEGRESS\tINGRESS")
	for _, r := range rows {
		port := r.Port
		if r.Family != "" {
			port += " (" + r.Family + ")"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\n", r.From, r.To, port, r.Verdict, r.Egress, r.Ingress)
	}
	return t.Flush()
}

// String is a decision as the table shows it: Deny Namespace pnp/shop/db/(isolated).
func (d directionJSON) String() string {
	text := d.decisionJSON.String()
	if d.Staged != nil {
		text += " [staged: " + d.Staged.String() + "]"
	}
	return text
}

func (d decisionJSON) String() string {
	if d.Policy == model.BuiltinPolicy.String() {
		return d.Verdict + " " + d.Rule
	}
	return d.Verdict + " " + d.Tier + " " + d.Policy + "/" + d.Rule
}

// checkFormat refuses an output format that a command does not have.
func checkFormat(format string, known ...string) error {
	for _, k := range known {
		if format == k {
			return nil
		}
	}
	return fmt.Errorf("-o %q: write %s", format, oneOf(known))
}

func oneOf(words []string) string {
	text := words[0]
	for i, w := range words[1:] {
		if i == len(words)-2 {
			text += " or " + w
		} else {
			text += ", " + w
		}
	}
	return text
}
