// Package ledger keeps what a node decided, refused and met with, and the facts
// that it was taken on, so that `tamada why` can tell later (docs/why.md).
//
//   - [Writer] appends entries to the ledger in the state folder. It never keeps
//     its caller waiting: what does not fit into its queue is dropped, counted, and
//     noted in the ledger itself.
//   - [Read] finds the newest entries of a span of time. It reads file by file and
//     line by line, keeps no more than it is asked for, and passes over what it
//     cannot understand: the last line may be torn.
//   - [Document] and [ParseDocument] are the body of GET /tamada/ledger.
//   - [Merge] puts the ledgers of several nodes in order.
//
// The ledger is a row of files of JSON lines, 16 MB in all; the oldest file goes
// when a new one is begun. An entry is an [tamada/internal/ha.Record] with the
// node, the wall clock and the time since boot. There are no secrets in it.
//
// It is not a log for machines to act on: no decision ever reads it.
package ledger
