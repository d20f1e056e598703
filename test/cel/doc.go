// Package cel proves the API against a real API server and against the tools
// that read it: what each CEL rule accepts and refuses, at every place where it
// stands; that the bounds which the documents state are the bounds that hold;
// that a new object's status makes kstatus and Argo CD wait; what kubectl prints.
package cel
