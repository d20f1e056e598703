// Package publish brings snapshots to nodes: a store of what every node should
// enforce with the changes that led there, one gRPC stream for each node, and a
// tracker of what nodes answered.
//
// The store numbers states by a counter. Every replica keeps one; only the
// leader serves from it, as generation (epoch, Lease transitions, counter).
// What a node holds is recognised by its digest, so that a new leader goes on
// where the old one stopped, with a delta.
package publish
