// Package random draws clusters and connections, so that judges can be compared
// where nobody thought of a scenario.
//
// The universe is small on purpose: few labels, few addresses, few ports. Rules
// then meet, overlap and contradict each other all the time, and connections are
// drawn from what the rules speak of and from just beside it.
package random
