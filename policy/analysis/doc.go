// Package analysis answers questions about compiled tables: may this pod reach
// that one, who reaches whom, and which rule says so.
//
// Tables is what a perfect agent would make of a snapshot: it reads encoded rows
// and nothing else, so that an answer of its tells what nodes will enforce, not
// what the policies were meant to say. Explain and Reach put questions to any
// judge: Tables, the reference evaluator, or a node's kernel.
package analysis
