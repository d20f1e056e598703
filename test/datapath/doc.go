// Package datapath asks the kernel's verdict program, by test-run, everything
// that the corpus and random clusters ask the other judges. It needs root.
package datapath
