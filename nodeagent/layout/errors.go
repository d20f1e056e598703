package layout

import "errors"

var (
	// ErrCapacity is wrapped by errors that name a table with no room left.
	ErrCapacity = errors.New("over capacity")
	// ErrIncomplete is wrapped by errors that name what a snapshot refers to and does not hold.
	ErrIncomplete = errors.New("snapshot incomplete")

	errUnbound = errors.New("unbound addresses: want auto, deny or allow")
)
