// Package runtime has the ways around a runtime policy that are tried in virtual
// machines, row by row; the tests themselves have the build tag guest.
package runtime
