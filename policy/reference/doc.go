// Package reference answers, slowly and obviously, whether a connection or an
// operation of a process is allowed and which rule says so.
//
// It is the yardstick for everything that is fast: compiled tables and the BPF
// program must agree with it, connection by connection. It therefore shares the
// types of package model with them and nothing else, keeps no index and no
// cache, and follows the text of the API in the order in which that is written:
// judge.go is the order of judgement, match.go says which rule matches, and
// selector.go who is selected; runtime.go and runtimematch.go are order and match
// of operations.
package reference
