// Package e2e holds the end-to-end tests: a real cluster with Palisade
// installed, real pods, and the kernel's verdict on real connections.
//
// hack/install.sh brings the cluster up and Palisade onto it, once for the whole
// package; the tests talk to it as a user does, by kubectl. KUBECONFIG=… or
// KIND=1 uses a cluster that the user has.
package e2e
