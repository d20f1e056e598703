// Package trust keeps what controller and agents recognise each other by: a
// certificate authority of our own for the stream's mutual TLS, and the Ed25519
// keys that sign snapshots.
//
// The private halves lie in the Secret palisade-trust, which only the controller
// may read; the public halves in the ConfigMap of that name, which every agent
// mounts.
package trust
