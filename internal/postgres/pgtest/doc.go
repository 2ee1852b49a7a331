//go:build linux

// Package pgtest runs real PostgreSQL instances in tests.
//
// PostgreSQL refuses to run as root, so a test binary that is started as root
// runs itself again as the user postgres: call [Main] from TestMain. [New] makes
// an instance in a temporary folder on a free port of 127.0.0.1; everything is
// ended and removed with the test. The programs come from the folder in
// PG_BINDIR, else from the newest installed version.
package pgtest
