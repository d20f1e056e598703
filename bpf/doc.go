// Package bpf holds Palisade's kernel programs: their source, the committed
// objects, and the Go mirror of the maps' keys and values.
//
// network/README.md says what each table means and in which order a packet is
// judged. A test compares the mirror with the objects' BTF.
package bpf
