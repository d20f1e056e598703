// Package nodeagent enforces snapshots on one node: it receives them, verifies
// them, has them on disk before the kernel does, and tells what became of them.
//
// The parts have packages of their own: stream talks with the controller, store
// keeps snapshots on disk, facts knows which pod has which address, cni hears of
// pods from the container runtime, host looks after the node's settings, layout
// and datapath bring it all into the kernel, flows tells what the kernel saw.
// This package holds them together and decides nothing about policy.
package nodeagent
