package main

import "testing"

// TestNoVerdictMixesGenerations is the whole proof, its checks included; make
// test-torn runs it as a program, for its last line.
func TestNoVerdictMixesGenerations(t *testing.T) {
	if err := run(); err != nil {
		t.Fatal(err)
	}
}
