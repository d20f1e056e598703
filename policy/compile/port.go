package compile

import (
	"encoding/binary"

	"palisade.dev/palisade/policy/model"
)

// portName is a name that endpoints give to ports, with one group for every
// protocol and number that some kind means by it.
type portName struct {
	name   string
	groups dict[*group, model.NamedPort]
	lenses bag[*lens] // that ask for the name
}

func (c *Compiler) portName(name string) *portName {
	n := c.portNames[name]
	if n == nil {
		n = &portName{name: name}
		c.portNames[name] = n
	}
	return n
}

func (c *Compiler) dropPortName(n *portName) {
	if n.groups.len() == 0 && n.lenses.len() == 0 {
		delete(c.portNames, n.name)
	}
}

// portGroup returns the group of the kinds that mean one port by a name.
func (c *Compiler) portGroup(p model.NamedPort) *group {
	content := binary.BigEndian.AppendUint16([]byte{groupNamedPort}, uint16(p.Proto))
	content = binary.BigEndian.AppendUint16(content, uint16(p.Port))
	g, _ := c.group(append(content, p.Name...))
	g.named = true
	return g
}

// openPort lets everybody who asks for a name know of one more port that is
// meant by it.
func (c *Compiler) openPort(p model.NamedPort, g *group) {
	n := c.portName(p.Name)
	n.groups.put(g, p)
	n.lenses.each(func(l *lens) { c.extendLens(l, g) })
}

// closePort takes that back.
func (c *Compiler) closePort(p model.NamedPort, g *group) {
	n := c.portNames[p.Name]
	n.groups.delete(g)
	n.lenses.each(func(l *lens) { c.shrinkLens(l, g) })
	c.dropPortName(n)
	c.idle.groups = append(c.idle.groups, g)
}
