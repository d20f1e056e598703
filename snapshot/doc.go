// Package snapshot defines what a node enforces: logical tables as sorted rows,
// the set digest that identifies them, deltas between them, and the signed wire
// form in which they travel. With api it is all that controller and agent share.
//
// README.md beside this file documents the format.
package snapshot
