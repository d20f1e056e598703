// Package cli runs the palisade command against a real API server: the same
// objects, from files and from a cluster, must give the same answers.
package cli
