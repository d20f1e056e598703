// Package inside holds the tests that run inside virtual machines: test/vm builds
// them into one static program and runs it on each kernel. They change the machine
// that they are on as they like, so they refuse any other.
package inside
