package processes

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"golang.org/x/tools/txtar"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/test/corpus"
)

// Scenario is one file.
type Scenario struct {
	Name    string // the file's name without .txtar
	Text    string // what it shows
	Cluster model.Cluster
	Expect  []Expectation
}

// Expectation is one line of expect.
type Expectation struct {
	Line      int // in the file expect
	Text      string
	Who       model.EndpointID
	Container string
	Operation model.Operation
	Want      model.Judgement
}

// Judge answers an operation of a container.
type Judge func(who model.EndpointID, container string, op model.Operation) (model.Judgement, error)

//go:embed *.txtar
var files embed.FS

// All reads the scenarios, sorted by name.
func All(ctx context.Context) ([]*Scenario, error) {
	names, err := fs.Glob(files, "*.txtar")
	if err != nil {
		return nil, err
	}
	var out []*Scenario
	for _, name := range names {
		data, err := files.ReadFile(name)
		if err != nil {
			return nil, err
		}
		s, err := parse(ctx, strings.TrimSuffix(name, ".txtar"), data)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

func parse(ctx context.Context, name string, data []byte) (*Scenario, error) {
	archive := txtar.Parse(data)
	s := &Scenario{Name: name, Text: strings.TrimSpace(string(archive.Comment))}
	fsys, err := txtar.FS(archive)
	if err != nil {
		return nil, err
	}
	objects, err := manifests.FS(ctx, fsys, manifests.Options{})
	if err != nil {
		return nil, err
	}
	world, err := objects.World(corpus.Now)
	if err != nil {
		return nil, err
	}
	s.Cluster = world.Cluster
	for i := range s.Cluster.Endpoints {
		if e := &s.Cluster.Endpoints[i]; e.ID.Kind == model.EndpointExternal {
			e.Node = model.HostOf(e.ID)
		}
	}
	for _, f := range archive.Files {
		if f.Name != "expect" {
			continue
		}
		for i, line := range strings.Split(string(f.Data), "\n") {
			line, _, _ = strings.Cut(line, "#")
			if strings.TrimSpace(line) == "" {
				continue
			}
			e, err := s.expectation(strings.Fields(line))
			if err != nil {
				return nil, fmt.Errorf("expect:%d: %w", i+1, err)
			}
			e.Line, e.Text = i+1, strings.TrimSpace(line)
			s.Expect = append(s.Expect, e)
		}
	}
	if len(s.Expect) == 0 || s.Text == "" {
		return nil, fmt.Errorf("it expects nothing, or does not say what it shows")
	}
	return s, nil
}

// Check asks a judge all that a scenario expects and returns a line for each
// answer that is another one.
func (s *Scenario) Check(judge Judge) ([]string, error) {
	var wrong []string
	for _, e := range s.Expect {
		have, err := judge(e.Who, e.Container, e.Operation)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: expect:%d: %w", s.Name, e.Line, err)
		}
		if have != e.Want {
			wrong = append(wrong, fmt.Sprintf("%s: expect:%d: %s\n  want %s\n  have %s", s.Name, e.Line, e.Text, describe(e.Want), describe(have)))
		}
	}
	return wrong, nil
}

// Ask answers operations of one container together, as the command line's judges do.
type Ask func(who model.Endpoint, container string, operations []model.Operation) ([]model.Judgement, error)

// CheckTogether is Check with one question for each container.
func (s *Scenario) CheckTogether(ask Ask) ([]string, error) {
	type actor struct {
		id        model.EndpointID
		container string
	}
	operations := map[actor][]model.Operation{}
	for _, e := range s.Expect {
		who := actor{e.Who, e.Container}
		operations[who] = append(operations[who], e.Operation)
	}
	answers := map[actor][]model.Judgement{}
	for who, asked := range operations {
		i := slices.IndexFunc(s.Cluster.Endpoints, func(e model.Endpoint) bool { return e.ID == who.id })
		if i < 0 {
			return nil, fmt.Errorf("scenario %s: no endpoint %v", s.Name, who.id)
		}
		have, err := ask(s.Cluster.Endpoints[i], who.container, asked)
		if err != nil || len(have) != len(asked) {
			return nil, errors.Join(fmt.Errorf("scenario %s: %v: %d answers to %d questions", s.Name, who, len(have), len(asked)), err)
		}
		answers[who] = have
	}
	return s.Check(func(id model.EndpointID, container string, _ model.Operation) (model.Judgement, error) {
		who := actor{id, container} // asked in the order of the file, as above
		next := answers[who][0]
		answers[who] = answers[who][1:]
		return next, nil
	})
}

func describe(j model.Judgement) string {
	text := fmt.Sprintf("%s %s/%s", j.Enforced.Verdict, j.Enforced.By.Policy, j.Enforced.By.Rule)
	if j.Staged != j.Enforced {
		text += fmt.Sprintf(" staged %s %s/%s", j.Staged.Verdict, j.Staged.By.Policy, j.Staged.By.Rule)
	}
	return text
}
