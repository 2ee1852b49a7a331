// Package rest is the HTTP API of one node: health checks for load balancers,
// the status document that peers and operators read, cluster-level reads, the
// dynamic configuration and metrics. It answers what Patroni 4.1 answers
// (reference rest-api.md; section numbers in comments are that file's).
//
// The types to know:
//
//   - [Server] serves the API on a listener that somebody else opened: the
//     guardian owns the socket, so that an agent can be replaced without
//     refusing a connection.
//   - [Source] is all that the API may ask of the agent. [Snapshot] is the
//     loop's picture, read anew for every request because the lock's deadline
//     passes between two turns of the loop; [SQLStatus] is what PostgreSQL says
//     about itself.
//
// Nothing here decides anything about the cluster, and nothing the loop needs
// is held while a request is answered: a client that is slow, or a PostgreSQL
// that hangs, costs this package a goroutine and nobody else anything. At most
// one SQL query and one read of the store are under way, however many clients
// ask; connections beyond a limit replace those that wait idle.
//
// Sub-package peer is the client's side of the status document, tlsfile makes
// TLS settings of files.
package rest
