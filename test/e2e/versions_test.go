//go:build linux

package e2e

import "testing"

// Bootstrap, failover and rewind on the oldest and the newest PostgreSQL.
func TestOldestPostgresFailsOverAndRewinds(t *testing.T) {
	t.Parallel()
	assertDeadNodeComesBack(t, postgres13(t), 2)
}

func TestNewestPostgresFailsOverAndRewinds(t *testing.T) {
	t.Parallel()
	assertDeadNodeComesBack(t, patroni41(t), 2)
}
