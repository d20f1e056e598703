// Package model is the vocabulary of policy: policies, rules, selectors,
// endpoints, connections, operations and decisions as plain values.
//
// It holds types and their total orders, and no judgement: who matches what is
// package index's business, what decides is package compile's. The slow
// evaluator in package reference shares these types with them and nothing else.
package model
