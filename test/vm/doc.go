// Package vm runs tests in virtual machines with kernels that this machine does not
// have, and reports each of them as a test here. test/vm/inside has those tests.
//
//	make test-vm
//	go test ./test/vm -update    # records how many instructions the verifiers looked at
package vm
