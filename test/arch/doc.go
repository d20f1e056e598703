// Package arch holds tests of the house itself: who imports whom, that every
// package says its purpose, that make help is complete. It has no other code.
package arch
