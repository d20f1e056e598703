// Package layout turns the logical rows of a snapshot, and the facts of a node,
// into the lines that the kernel reads.
//
// A Layout holds the decoded rows, gives out the dense local numbers (slots of
// endpoints, classes of peers, rows, records, rules) and keeps one image of 64-byte
// lines that package datapath copies to whichever side of the kernel's tables is
// idle. It is pure: no kernel, clock or file; equal calls give equal images.
//
//	l := layout.New(layout.Options{Unbound: layout.UnboundAuto})
//	err := l.Apply(layout.Update{Generation: g, Digest: d, Delta: delta, Facts: bindings})
//
// Apply either takes the whole update or leaves everything as it was: a rule set
// without a row for a set of groups that some peer has, or a table beyond its
// limit, is refused by name.
//
// What costs what. An endpoint of a kind and part that the node has met before
// costs one line per address, and one for its slot if it is hosted here. A change of
// policy costs the lines whose content changes. Outgrowing a table rebuilds the
// image with twice the room.
package layout
