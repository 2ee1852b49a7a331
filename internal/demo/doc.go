// Package demo is the playground of one command: a whole cluster with its own
// etcd on this machine, to be watched, crashed and frozen.
//
//   - [Run] is `tamada demo`: it makes the folder, starts a guardian per node,
//     tells how the cluster forms and what happens to it, and clears up.
//   - [Inject] is `tamada demo crash|freeze|thaw|stop|start NODE` in another
//     terminal. It asks the running demo over a socket in the folder, which does
//     it and tells the story until the cluster is healthy again.
//
// The nodes are ordinary ones: what runs is `tamada run FILE`, and what is told
// comes from their REST API, as anybody could read it. As root everything runs as
// the user postgres, because PostgreSQL refuses root; the demo itself stays root
// to supervise and to remove the folder, and runs nothing else as root.
//
// The nodes end with the demo: on Ctrl-C by its word, and when it is killed by a
// signal that the kernel sends to the guardians then. What could not hear that
// (a frozen node) is ended by the next demo in the same folder.
package demo
