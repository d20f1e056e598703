// Package accepted keeps the last accepted spec of every policy in
// ControllerRevisions, so that a spec that is refused leaves the one before it
// in force, also after every controller has restarted.
//
// The revisions stand in the controller's own namespace, where nobody who may
// write policies can change them. A record is written before what it holds is
// published, and it is what standbys compile.
package accepted
