// Package rewind decides what to do about local data that may have left the
// history of the cluster's leader. It is pure: facts in, verdict and reason out.
//
// [Decide] takes what package postgres found out ([control.DivergenceFacts])
// and says whether the local data must be rewound (or made anew), may simply
// follow, or that nothing can be said yet. Being wrong in one direction costs a
// needless rewind; in the other it makes a replica that holds transactions which
// nobody else has, so everything that is doubtful about positions counts as
// diverged, and everything that is merely unknown is asked again.
//
// The rules are those of the reference, postgresql.md 10.3.
package rewind
