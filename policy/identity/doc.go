// Package identity says which endpoints no policy can tell apart, and which
// addresses.
//
// A kind is what is left of an endpoint when its addresses are taken away: what
// it is, its namespace, its labels and its namespace's (only those with a key that
// a selector reads), the named ports that some rule names, and a node's
// name where somebody asks for the host. Nothing allocates kinds: equal content
// is the same kind, here and on every other replica. A change of policies that
// reads nothing new renumbers nothing.
//
// A part is what is left of an address: the ranges in use that hold it.
package identity
