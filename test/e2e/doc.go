// Package e2e holds the end-to-end tests: a real cluster with Palisade
// installed, real pods, and the kernel's verdict on real connections.
//
// hack/install.sh brings the cluster up and Palisade onto it, once for the whole
// package; the tests talk to it as a user does, by kubectl. KUBECONFIG=… or
// KIND=1 uses a cluster that the user has, and skips what must work inside a node.
//
// Tests that take parts of Palisade away, or count what all of it does, come one
// after the other; the rest run beside each other, in namespaces of their own.
// The last one takes Palisade off the local cluster. Every test first shows that the
// connection is made without the policy.
//
//	PALISADE_FULL=1          all scenarios of the corpus that real pods can play
//	PALISADE_INSTALLED=1     what is installed, without building and installing anew
//	KEEP=1                   leaves the local cluster up
package e2e
