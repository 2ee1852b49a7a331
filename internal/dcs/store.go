package dcs

import (
	"context"
	"errors"
	"fmt"
	"time"

	"tamada/internal/cluster"
)

// Refusals: the store answered, and the answer is no.
var (
	// ErrConflict: a compare-and-swap did not find the version that it wanted.
	ErrConflict = errors.New("the key was changed by somebody else")
	// ErrHeld: the leader key belongs to another holder, or to another lease of
	// ours.
	ErrHeld = errors.New("the leader key is held by another")
	// ErrOtherTenure is an ErrHeld: the key has the name of this member, but is not
	// the one that it knows. An agent that ended before it heard the answer may
	// have made it.
	ErrOtherTenure = fmt.Errorf("%w tenure of this member", ErrHeld)
	// ErrAbsent: there is no leader key (renewal and release never create one), or
	// the lease that carried it is gone.
	ErrAbsent = errors.New("the leader key does not exist")
)

// Held is the refusal for a leader key that names holder, which is not the one
// that the member me asked for.
func Held(holder, me string) error {
	if holder == me {
		return ErrOtherTenure
	}
	return fmt.Errorf("%w: %s", ErrHeld, holder)
}

// Refused tells whether an error is a definite refusal and not an outage.
func Refused(err error) bool {
	return errors.Is(err, ErrConflict) || errors.Is(err, ErrHeld) || errors.Is(err, ErrAbsent)
}

// Store is the part of a distributed configuration store that belongs to one
// cluster, as one member sees it. All methods may be called at the same time;
// all end when their context does.
//
// A backend keeps one session (an etcd lease) for this member. The member key
// and, when we lead, the leader key hang on it and vanish when it expires.
type Store interface {
	// Load reads the whole cluster from the store itself, linearizably where the
	// store can.
	Load(ctx context.Context) (*cluster.Cluster, error)

	// Watch returns the channel on which the store delivers its view of the
	// cluster: first the complete one, then a new one after every change. Only the
	// newest is kept for a slow reader. After an error the view must be considered
	// unknown until the next one without. The channel is closed when ctx ends.
	// Watch is called once.
	Watch(ctx context.Context) <-chan Update

	// Acquire extends the session, or begins one, and makes the leader key with our
	// name if there is none: ErrHeld when there is one, whoever owns it. After an
	// outage the key may turn up as ours later; the view tells.
	Acquire(ctx context.Context) (Grant, error)

	// Reclaim moves a leader key that has our name but hangs on another session,
	// left by an earlier agent of this node, to our session, if it is still exactly
	// as seen: ErrHeld if it is somebody else's or has changed, ErrAbsent if it is
	// gone.
	Reclaim(ctx context.Context, seen cluster.Leader) (Grant, error)

	// Renew extends the session and proves, in this order, that the leader key
	// still has our name, the session and the creation of h. It never makes or
	// changes a key. ErrHeld: another holds the key. ErrAbsent: nobody does, or the
	// session is gone. The grant's hold replaces h: its session differs when Touch
	// has moved the key to a new one (see SetTimes).
	Renew(ctx context.Context, h Hold) (Grant, error)

	// Release deletes the leader key if it is exactly h's; ErrHeld or ErrAbsent
	// otherwise.
	Release(ctx context.Context, h Hold) error

	// Touch extends the session, making one if there is none, and writes our own
	// member key if its value or session differ from the last successful write, or
	// if the view shows that the key has vanished.
	Touch(ctx context.Context, value []byte) error

	// Put writes one key (one of the Key constants of package cluster, not leader
	// and members) and returns its new version; ErrConflict when cond does not
	// hold.
	Put(ctx context.Context, key string, value []byte, cond Condition) (cluster.Version, error)

	// Delete removes one key under a condition; an absent key is ErrConflict unless
	// the condition is Any.
	Delete(ctx context.Context, key string, cond Condition) error

	// RemoveCluster deletes everything below the scope.
	RemoveCluster(ctx context.Context) error

	// SetTimes tells the times in force. A changed ttl makes the next Touch or
	// Acquire begin a new session. Touch moves our leader key to it along
	// with the member key: same creation, another session; Renew and Release understand
	// the old hold until they are told the new one.
	SetTimes(t Times)

	// Close gives up the connections. The session is left to expire: closing is
	// not releasing.
	Close() error
}

// Times are the three times of the dynamic configuration.
type Times struct {
	TTL, LoopWait, RetryTimeout time.Duration
}

// Update is one delivery of a watch: a view, or the reason why there is none.
type Update struct {
	Cluster *cluster.Cluster
	Err     error
}

// Hold identifies one tenure of the leader key: the session that it hangs on
// and the version at which it was made. With it a new agent can go on with the
// lease that its predecessor took.
type Hold struct {
	Session string
	Created cluster.Version
}

// Grant is what a successful acquisition or renewal proved.
type Grant struct {
	Hold
	// TTL is what the store granted from the moment the request was sent; it may
	// be shorter than what was asked for.
	TTL time.Duration
	// Epoch is the store's own term of leadership (etcd: raft term), 0 where there
	// is no such thing. Two renewals in a row count only if it is the same.
	Epoch uint64
}

// Condition is what must hold for a write to happen.
type Condition struct {
	kind    byte
	version cluster.Version
}

// Any writes whatever is there.
func Any() Condition { return Condition{} }

// IfAbsent writes only if the key does not exist.
func IfAbsent() Condition { return Condition{kind: 1} }

// IfVersion writes only if the key is at the version that was read. Version 0,
// the version of an absent key, is the same as IfAbsent.
func IfVersion(v cluster.Version) Condition {
	if v == 0 {
		return IfAbsent()
	}
	return Condition{kind: 2, version: v}
}

// Want tells what the condition asks for: anything (any), an absent key
// (absent), or exactly a version.
func (c Condition) Want() (any, absent bool, version cluster.Version) {
	return c.kind == 0, c.kind == 1, c.version
}

// Lister is a store that can also name the clusters beside its own. It serves
// the command line's completion; nothing else needs it, and a store may do
// without.
type Lister interface {
	// Scopes names the clusters in the store's namespace, sorted.
	Scopes(ctx context.Context) ([]string, error)
}
