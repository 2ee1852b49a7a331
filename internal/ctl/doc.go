// Package ctl is the command line for operators: `tamada list` and the others,
// and the same commands under the name patronictl with exactly that program's
// arguments, output and exit codes.
//
// [Root] makes the command tree for one of the two names and [Execute] runs it;
// the caller opens stores ([Deps].Open), so that tests run on a store in memory.
// Each command has a file. What they share: the member table (members.go,
// table.go, colour.go), choice of members and the frame of a command (select.go),
// prompts (prompt.go), requests to members' REST API (rest.go), times
// (schedule.go), dry runs (dryrun.go), examples and completion.
//
// Scripts read this output: tables, texts, exit codes and which of them go to
// which stream are kept as the reference (cli.md) has them, oddities included.
// Errors are printed as "Error: …" with exit code 1, mistakes in arguments with
// a line of usage and exit code 2.
package ctl
