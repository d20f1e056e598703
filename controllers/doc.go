// Package controllers is the shell around the policy core on the side of the
// cluster: it gathers objects by informers, publishes snapshots to nodes and
// writes status. It does I/O and decides nothing that a function of values could
// decide.
//
//   - gather: informers, the compiler's goroutine, which specs are in force
//   - accepted: the last accepted spec of every policy, kept in the cluster
//   - publish: what every node should enforce, one gRPC stream for each
//   - trust: certificates of the stream, keys that sign snapshots
//   - status: what kubectl shows, computed and written
//
// Every replica gathers and compiles. The leader alone accepts specs, serves
// nodes and writes; this package puts the parts together and runs the leader's.
package controllers
