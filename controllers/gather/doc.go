// Package gather brings what the API server says to the compiler: informers mark
// objects as changed, one goroutine looks at what changed, translates it,
// compiles, decides with package accepted which specs are in force, and
// publishes.
//
// It is level triggered: a mark says only which object to look at again. The
// order of events therefore means nothing, and many marks of one object within a
// window cost one look.
package gather
