// Package candidate judges who may be promoted: whether this node is the
// healthiest of those that answer ([Compare]), and whether anybody could take
// over from a primary that wants to step down ([Possible]).
//
// The rules are those of the reference ("HA cycle" 9.2, 9.3 and 10.3). They
// take values and return values: whom to ask, and how long to wait for answers,
// is the caller's business; a member that did not answer is simply not among
// the answers.
package candidate
