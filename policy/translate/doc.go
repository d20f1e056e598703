// Package translate turns Kubernetes objects, ours and upstream's, into values
// of package model: defaults filled in, references to a policy's own namespace
// resolved, lists in one order.
//
// An object is translated whole or not at all. What the schema would refuse is
// refused here too, because manifests also come from files that no API server
// has seen: the error names the object, the field and what to do. Nothing here
// reads a clock: a policy is expired when its condition Expired says so.
package translate
