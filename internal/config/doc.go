// Package config loads the configuration of a node: a YAML file or a folder of
// them, the environment, and what the store's dynamic configuration adds.
//
// The things to know:
//
//   - [Load] reads and checks everything and returns a [Config], or an [Errors]
//     that lists every problem at once, each with file, line and column.
//   - [LoadClient] does the same for command-line tools, which need only to
//     find the store.
//   - [Keys] is the one table of all keys: type, default, meaning, place and
//     how a change takes effect. Checks, environment and defaults come from it.
//   - [Merge] combines a local configuration with a dynamic document to what
//     PostgreSQL shall run with (reference configuration.md 1.4).
//   - [Unsupported] tells what in a dynamic document this version refuses.
//
// Values follow YAML 1.1, because the files were written for it: `off` is
// false, 0644 is octal. The YAML library only parses; what a scalar means is
// decided here ([ResolveScalar]).
//
// The package does not touch PostgreSQL or the store, and starts nothing. The
// environment is an argument, captured once by the caller, so that a reload
// sees the same one.
package config
