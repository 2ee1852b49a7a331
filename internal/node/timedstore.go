//go:build linux

package node

import (
	"context"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
)

// operations are the labels of the store's metrics.
var operations = []string{"load", "acquire", "reclaim", "renew", "release", "touch", "put", "delete"}

// timedStore measures a store. A watch has no duration, closing none that
// matters.
type timedStore struct {
	dcs.Store
	m *meters
}

// Load is of dcs.Store, as are the methods below.
func (s timedStore) Load(ctx context.Context) (c *cluster.Cluster, err error) {
	defer func(begun time.Time) { s.m.took("load", begun, err) }(time.Now())
	return s.Store.Load(ctx)
}

// Acquire makes the leader key.
func (s timedStore) Acquire(ctx context.Context) (g dcs.Grant, err error) {
	defer func(begun time.Time) { s.m.took("acquire", begun, err) }(time.Now())
	return s.Store.Acquire(ctx)
}

// Reclaim takes over our own leader key.
func (s timedStore) Reclaim(ctx context.Context, seen cluster.Leader) (g dcs.Grant, err error) {
	defer func(begun time.Time) { s.m.took("reclaim", begun, err) }(time.Now())
	return s.Store.Reclaim(ctx, seen)
}

// Renew extends the lease.
func (s timedStore) Renew(ctx context.Context, h dcs.Hold) (g dcs.Grant, err error) {
	defer func(begun time.Time) { s.m.took("renew", begun, err) }(time.Now())
	return s.Store.Renew(ctx, h)
}

// Release deletes the leader key.
func (s timedStore) Release(ctx context.Context, h dcs.Hold) (err error) {
	defer func(begun time.Time) { s.m.took("release", begun, err) }(time.Now())
	return s.Store.Release(ctx, h)
}

// Touch writes the member key.
func (s timedStore) Touch(ctx context.Context, value []byte) (err error) {
	defer func(begun time.Time) { s.m.took("touch", begun, err) }(time.Now())
	return s.Store.Touch(ctx, value)
}

// Put writes one key.
func (s timedStore) Put(ctx context.Context, key string, value []byte, cond dcs.Condition) (v cluster.Version, err error) {
	defer func(begun time.Time) { s.m.took("put", begun, err) }(time.Now())
	return s.Store.Put(ctx, key, value, cond)
}

// Delete removes one key.
func (s timedStore) Delete(ctx context.Context, key string, cond dcs.Condition) (err error) {
	defer func(begun time.Time) { s.m.took("delete", begun, err) }(time.Now())
	return s.Store.Delete(ctx, key, cond)
}
