// Package memory is a store in memory for tests and for the simulation.
//
// [Server] is the store, one for a cluster; [Server.Open] makes the client of
// one member, a [dcs.Store]. Nothing happens by itself and nothing waits: every
// call is answered at once, there is no goroutine, and time is what the function
// given to [New] says. The same calls in the same order give the same history.
//
// What can go wrong with a real store can be made to go wrong here:
//
//   - [Store.Disconnect] cuts one member off, [Server.Stop] everybody.
//   - [Server.SetFate] decides for each call whether it is answered, not done,
//     or done with the answer lost.
//   - [Store.Hold] makes the watch of one member lag; [Store.Deliver] lets it
//     catch up change by change.
//   - [Server.Expire] ends a session early, [Server.NewEpoch] is an election
//     inside the store.
//
// Sessions end when time has passed: seen at the next call, or at
// [Server.Advance], which a simulation calls at [Server.NextExpiry].
package memory
