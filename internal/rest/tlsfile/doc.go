// Package tlsfile makes TLS settings of the files and words that the
// configuration names: certificate, key (in clear or encrypted), certificate
// authorities, OpenSSL's names of cipher suites, and whether clients must show a
// certificate. [Server] is the section `restapi`, [Client] the section `ctl`.
//
// Files are read when a configuration is made and never again; who wants a
// renewed certificate makes a new one. Nothing here ever prints a password or a
// key.
package tlsfile
