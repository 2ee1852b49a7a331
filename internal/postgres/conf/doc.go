// Package conf knows the contents of the files that steer a PostgreSQL
// instance: postgresql.conf, pg_hba.conf, the password file, connection
// strings, the parameters that only the agent sets, recovery parameters.
//
// The functions to know:
//
//   - [Compute] makes the server's parameters of what was configured, with the
//     rules of the running version; [MainFile] writes them.
//   - [Conninfo] and [PasswordLines] write what a standby connects with;
//     [ParseConninfo] reads what it uses now.
//   - [Equal] compares a value with one of pg_settings, units and all.
//   - [ShellSplit] and [Options] turn configuration into argument lists.
//
// It is pure: values in, values out. Reading and writing files, and knowing
// which version runs, is up to package postgres. Versions are numbers like
// 150000 (reference configuration.md 4).
package conf
