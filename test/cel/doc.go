// Package cel proves the schema of the API against a real API server: what each
// CEL rule accepts and refuses, at every place where it stands; that the bounds
// which the documents state are the bounds that hold; and that a new object's
// status makes tools wait.
package cel
