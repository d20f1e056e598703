package compile

import "palisade.dev/palisade/snapshot"

// shared is a row that several nodes may have.
type shared struct {
	entry    snapshot.Entry
	installs int             // how many nodes may take it in this commit, at most
	block    *snapshot.Block // if these are many
}

// manyInstalls is from how many nodes on it pays to sum rows up beforehand.
const manyInstalls = 3

// share counts nodes that may take the row in this commit.
func (s *shared) share(nodes int) {
	s.installs += nodes
	if s.block == nil && s.installs >= manyInstalls {
		s.block = snapshot.NewBlock(s.entry)
	}
}

func (s *shared) settle() { s.installs, s.block = 0, nil }

// share sums up beforehand what many nodes will take of a ruleset.
func (c *Compiler) share(r *ruleset) {
	for i := range r.cells.items {
		p := r.cells.items[i].val
		c.shareRow(&p.row, r.installs)
		for _, x := range p.rules {
			c.shareRow(&x.row, r.installs)
		}
	}
	if r.installs < manyInstalls {
		return
	}
	entries := []snapshot.Entry{r.entry}
	for i := range r.cells.items {
		entries = append(entries, r.cellRow(r.cells.items[i].key, r.cells.items[i].val))
	}
	r.block = snapshot.NewBlock(entries...)
}

func (c *Compiler) shareRow(s *shared, nodes int) {
	if s.installs == 0 {
		c.shared = append(c.shared, s)
	}
	s.share(nodes)
}

func (r *ruleset) cellRow(set snapshot.SetID, p *program) snapshot.Entry {
	return snapshot.Encode(snapshot.CellRow{Ruleset: r.id, Set: set, Program: p.id})
}
