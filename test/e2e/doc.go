// Package e2e tests Tamada with real processes: etcd, PostgreSQL and the
// program as it ships, with faults.
//
// The harness, from the outside in:
//
//   - main_test.go: the test binary supervises itself. An outer process, a
//     child subreaper, runs the tests in an inner one and ends whatever the inner
//     one leaves behind, also after a panic or a time-out. The inner one builds
//     the program once.
//   - process_test.go: processes as /proc shows them, and one started process.
//   - place_test.go: where a node lives: on this machine, in a network namespace
//     of its own (netns_test.go), or in a folder with another Debian
//     (roots_test.go).
//   - cluster_test.go, node_test.go: one etcd and its nodes, each with a folder,
//     a configuration and a log; bring up, start, kill, freeze.
//   - views_test.go: what SQL, REST and etcdctl show.
//   - rivals_test.go: one such client for each node, which sees two primaries.
//   - times_test.go: short leases, and those of the defaults with TAMADA_LONG=1.
//   - writer_test.go: a client that commits a row every 5 ms and remembers which
//     rows were acknowledged, when, and by whom.
//
// Tests wait for conditions with eventually, never for time. When a test fails
// the ends of all logs of its cluster are printed. As root, PostgreSQL and
// Tamada run as the user postgres; otherwise as the user who runs the tests.
//
// The environment: TAMADA_E2E_DIR is a folder to work in, which is kept;
// TAMADA_E2E_CACHE is the folder for other Debians, by default in the user's
// cache folder; PG_BINDIR is the folder of PostgreSQL's programs.
package e2e
