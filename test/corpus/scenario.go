package corpus

import (
	"context"
	"embed"
	"fmt"
	"io/fs"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/tools/txtar"

	"palisade.dev/palisade/cmd/palisade/manifests"
	"palisade.dev/palisade/policy/model"
)

// Now is the time at which every scenario plays.
var Now = time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)

// Scenario is one file of the corpus.
type Scenario struct {
	Name    string // the file's name without .txtar
	Text    string // what it shows
	Archive *txtar.Archive
	Objects *manifests.Objects // for judges that make real objects of them
	Cluster model.Cluster
	Expect  []Expectation
}

// Expectation is one line of expect, with the connections that it is about.
type Expectation struct {
	Line        int // in the file expect
	Text        string
	From, To    string // as the line names them
	Connections []model.Connection
	Want        model.Outcome
}

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
		s, err := Parse(ctx, strings.TrimSuffix(name, ".txtar"), data)
		if err != nil {
			return nil, fmt.Errorf("scenario %s: %w", name, err)
		}
		out = append(out, s)
	}
	return out, nil
}

// Parse reads one scenario.
func Parse(ctx context.Context, name string, data []byte) (*Scenario, error) {
	archive := txtar.Parse(data)
	s := &Scenario{Name: name, Text: strings.TrimSpace(string(archive.Comment)), Archive: archive}
	fsys, err := txtar.FS(archive)
	if err != nil {
		return nil, err
	}
	if s.Objects, err = manifests.FS(ctx, fsys, manifests.Options{}); err != nil {
		return nil, err
	}
	world, err := s.Objects.World(Now)
	if err != nil {
		return nil, err
	}
	s.Cluster = world.Cluster
	p := &parser{world: world}
	for _, f := range archive.Files {
		if f.Name != "expect" {
			continue
		}
		for i, line := range strings.Split(string(f.Data), "\n") {
			line, _, _ = strings.Cut(line, "#")
			if strings.TrimSpace(line) == "" {
				continue
			}
			e, err := p.expectation(line)
			if err != nil {
				return nil, fmt.Errorf("expect:%d: %w", i+1, err)
			}
			e.Line = i + 1
			s.Expect = append(s.Expect, e)
		}
	}
	if len(s.Expect) == 0 {
		return nil, fmt.Errorf("it expects nothing")
	}
	if s.Text == "" {
		return nil, fmt.Errorf("it does not say what it shows")
	}
	return s, nil
}

// owner is the endpoint that has an address, if any. That two claim one is
// the business of scenarios that name addresses.
func owner(c *model.Cluster, a netip.Addr) *model.Endpoint {
	var found *model.Endpoint
	for i := range c.Endpoints {
		for _, b := range c.Endpoints[i].Addresses {
			if a == b && (found == nil || model.CompareEndpointIDs(c.Endpoints[i].ID, found.ID) < 0) {
				found = &c.Endpoints[i]
			}
		}
	}
	return found
}
