// Package datapath keeps the kernel's half of Palisade on one node: it loads and
// attaches the programs, applies snapshots and facts by one flip, and reads events
// and counters.
//
// The whole of its API:
//
//	Open(Config) (*Datapath, error)       // load, pin, attach; adopts what an earlier agent left
//	(*Datapath).Apply(ctx, layout.Update) (Result, error)
//	(*Datapath).Generation() (snapshot.Generation, snapshot.Digest)   // what the kernel uses
//	(*Datapath).Events() (*Events, error) // Read() (Event, error), Lost(), Close()
//	(*Datapath).Counters() ([]Counter, error)
//	(*Datapath).CameIn([]Cell) (map[Cell]Traffic, error) // by interfaces, as the guard saw it
//	(*Datapath).Pairs() ([]Pair, error)   // new connections by subject, peer class and rule
//	(*Datapath).Audit(ctx) (Drift, error) // compare with the kernel, repair, report
//	(*Datapath).Stats() Stats
//	(*Datapath).Close() error             // goes away; the kernel keeps enforcing
//	(*Datapath).Uninstall() error         // detaches and removes the pins: traffic is open
//	Probe() error                         // one line: what this kernel lacks and how to mend it
//	Judge(own, common *snapshot.Set, facts, connections) ([]Outcome, error)
//
// Apply takes an update entirely or not at all. It writes the idle side of the
// tables, reads it back, flips the active word, waits until no processor uses the
// old side, and brings that side up to date as well. Calls are serialised; the
// caller coalesces. After a Close or a crash the pinned programs judge by the side
// that the active word names; Open waits for one drain, checks that side and
// rebuilds the other one from the next Update, which must be Full.
//
// How the tables look and why is in bpf/network/README.md.
package datapath
