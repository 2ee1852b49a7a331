// Package why answers the questions of `tamada why`: why did the leader change,
// why is a member not promoted or not streaming, what keeps the cluster from
// switching over, and what would happen if a member died now.
//
//   - [Leader] and the past of [Member] are told from [Ledgers]: what the nodes
//     wrote down when they decided (package ledger).
//   - [IfDies], [Switchover] and the present of [Member] are computed from a
//     [World]: the store's view and what the members say of themselves now. For
//     each node a view is made as its agent would have it, and the decision core
//     itself (ha.Decide) is asked. No rule is written down here a second time.
//
// An answer is a [Story]: sentences, and the facts behind them as a table.
//
// Nothing here does I/O. Whoever asks brings the ledgers and the answers.
package why
