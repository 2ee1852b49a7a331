// Package slots decides which physical replication slots a node should have:
// which to create, to advance and to drop. A slot keeps WAL for a replica that
// is away; one too many keeps WAL for ever, and one too few costs a replica its
// place in the stream.
//
// The rules are those of the reference ("PostgreSQL instance" 11.2, 11.3) for
// member slots. Permanent and logical slots come with a later issue; until then
// those, and what `ignore_slots` names, are not touched.
package slots
