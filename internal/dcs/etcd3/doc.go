// Package etcd3 is the store on etcd's v3 API, for servers from 3.4 on
// (reference dcs-layout.md 1 and 8). [Open] makes a [Store], which is a
// [dcs.Store].
//
// It speaks gRPC with etcd's own protocol definitions and not through etcd's
// client library, because that one repeats requests, balances over several
// connections and keeps leases alive on its own; here each of these is a
// decision about safety or about time:
//
//   - One lease carries the leader key and the member key. Nothing extends it
//     but a call of Acquire, Renew or Touch.
//   - A renewal is a keepalive and, after it, a linearizable transaction that
//     finds exactly our leader key, both in one raft term (lease.go, leader.go).
//   - One connection is used, to the node that answered last. A request that is
//     not answered soon is sent to the next nodes as well, and the first answer
//     wins; a refusal counts only if no other try can have been carried out
//     (ask.go).
//   - The view is a linearizable read and a watch from its revision, on the same
//     connection; when that fails, so does the view (watch.go).
//
// Load alone costs one dial and one request.
package etcd3
