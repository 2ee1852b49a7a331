// Package setup is for what happens before a node runs: is the configuration
// right, for this machine too, and what would one look like for the PostgreSQL
// that is already here?
//
//   - [Strict] is `patroni --validate-config`: the reference's checks, lines and
//     order, driven by the column Strict of the table of keys.
//   - [Validate] is `tamada validate`: everything that [config.Validate] finds in
//     the text, and what only the machine knows: programs, folders, ports,
//     parameters of the PostgreSQL version that is installed.
//   - [Sample] and [FromServer] make a configuration, the latter of a running
//     PostgreSQL, so that a cluster can be taken over with its data and clients.
//   - [Explain] tells what a key means and where its value comes from.
//
// Nothing here changes anything: it reads files, asks programs for their
// version, and connects only where it says so.
package setup
