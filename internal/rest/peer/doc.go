// Package peer asks other members for their status document, as the race for
// the leader key and its checks need it (reference ha.md 9.3 "Polling rule",
// rest-api.md 12).
//
// [Client.Poll] asks once and waits at most two seconds: a member that is slow
// is as good as one that is gone. Whatever is not the expected document counts as
// not reachable, so that no half-understood answer becomes a fact. [Answer] is
// what the rules may know of a peer, and nothing of HTTP.
//
// Connections are not kept: between two races a peer may have been replaced by
// another process, and a connection that hangs must not be found in the second
// in which it matters.
package peer
