package compile

import "palisade.dev/palisade/snapshot"

// program is a port program that some cell points to.
type program struct {
	id    snapshot.ProgramID
	row   shared
	rules []*ruleInfo
	cells int
}

// programOf judges a set and returns the program of the result.
func (c *Compiler) programOf(j *judge, s set) *program {
	row, rules := j.program(s.groups)
	c.stats.ProgramsComputed++
	row.ID = row.ContentID()
	p := c.programs[row.ID]
	if p == nil {
		p = &program{id: row.ID, row: shared{entry: snapshot.Encode(row)}, rules: rules}
		c.programs[row.ID] = p
	}
	return p
}

func (c *Compiler) releaseProgram(p *program) {
	if p.cells--; p.cells == 0 {
		c.idle.programs = append(c.idle.programs, p)
	}
}
