// Package index knows which label selectors match which sets of labels, and
// keeps knowing it while either comes and goes.
//
// A target is something with labels in a namespace with labels; a query is a
// condition on both. Neither changes once it is in the index: what changes is
// taken out and put in anew. Targets are filed under each of their labels, and
// queries under one label that they require, first by namespace and then inside
// it, so that adding either looks at those that could match and not at all.
package index
