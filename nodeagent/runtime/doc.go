// Package runtime is the kernel's half of runtime policies on one node: it finds out by
// which means the kernel can be made to decide, loads and attaches the programs of
// bpf/runtime, tells them which container each cgroup and process is of, and reads what
// they report.
//
//	Open(Config) (*Runtime, error)             // probe, pin, bind what runs already
//	(*Runtime).Load, InUse, Audit              // package datapath's Companion
//	(*Runtime).Backends() map[Section]Backend  // what is prevented, killed, or only seen
//	(*Runtime).Read(ctx, each)                 // names containers, hands on what was judged
//	(*Runtime).Close() error                   // the kernel goes on
//
// The programs judge by the tables of package datapath and by the same active word, so
// that one generation covers both. What stays attached are dispatchers of five
// instructions, one for each hook, which call what stands in an array of their own:
// bigger tables and other versions take place by writes to these arrays, and there is
// no moment without a judge.
package runtime
