// Package embedded runs a member of the cluster's own etcd, so that three
// nodes need no store beside them. It is the real etcd server as a library, in
// a process of its own: [Run] is called from a hidden subcommand and returns
// when the member has stopped. Agents speak to it as to any etcd, by package
// etcd3.
//
// What [Run] decides before it starts the server (start.go):
//
//   - a data folder of another cluster or member is refused;
//   - with an empty folder it asks the other members: if none runs, all begin
//     together; if they list us as a member that has not started yet, we join;
//     if they list us as one that has, our data was lost, and only
//     [Admin.Replace] helps, because a member that forgot its vote must not vote
//     again under the same identity;
//   - data of an identity that was replaced is moved aside, never deleted.
//
// [Admin] has what an operator does: list members, replace one, take a
// snapshot, move etcd's leadership away from a node (MoveLeader, which the
// agent of the primary uses too, so that one node's loss does not cost both).
// [Restore] makes a new cluster's data folder from a snapshot.
package embedded
