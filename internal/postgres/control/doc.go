// Package control reads the formats in which PostgreSQL tells about a data
// folder without a connection: pg_controldata's output, the beginning of
// pg_control itself, timeline history files, pg_waldump's output.
//
// It is pure: text and bytes in, values out; no I/O, no clock. Parsers accept
// what PostgreSQL 13 to 19 write and leave what they cannot read at its zero
// value, which never is a valid position, timeline or identifier.
package control
