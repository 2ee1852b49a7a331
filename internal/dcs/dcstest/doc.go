// Package dcstest is the conformance suite of the stores: what every backend
// of package dcs must do, so that the rest of the program can rely on it.
//
// A backend's test calls [Run] with a function that makes a [Factory]: an empty
// store of its own for each test, with real servers where there are any. The
// suite waits for conditions and lets time pass only through the factory, so
// that a store with virtual time takes none.
//
// It does not test what only one kind of store has; that belongs to the
// backend's own tests.
package dcstest
