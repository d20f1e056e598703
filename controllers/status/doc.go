// Package status computes what `kubectl get` shows of a policy: a pure function
// from facts to a status, and the reconcilers that gather the facts and write
// the difference, seldom and evenly.
package status
