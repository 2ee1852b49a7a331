//go:build linux

package postgres_test

import (
	"testing"

	"tamada/internal/ha/rewind"
	"tamada/internal/postgres"
	"tamada/internal/postgres/pgtest"
)

// A number that somebody announced and nobody saw is passed over, and replicas
// follow across the gap.
func TestPromotionPassesOverAnnouncedTimelines(t *testing.T) {
	t.Parallel()
	a := pgtest.NewPrimary(t, "pg-a")
	b := pgtest.NewReplica(t, "pg-b", a)
	a.SQL(t, "create table x as select 1 as a")
	pgtest.Eventually(t, "pg-b has the table", func() bool { out, err := b.TrySQL(t, "select a from x"); return err == nil && out == "1" })
	ctx := pgtest.Context(t)
	if _, err := a.Stop(ctx, postgres.StopOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := b.Promote(ctx, 4); err != nil {
		t.Fatal(err)
	}
	if o, err := b.Observe(ctx, postgres.ObserveOptions{}); err != nil || o.Timeline != 4 {
		t.Fatalf("after the promotion: %+v %v", o, err)
	}
	b.SQL(t, "insert into x values (2)")
	if err := b.Checkpoint(ctx); err != nil {
		t.Fatal(err)
	}
	if err := b.CreatePhysicalSlot(ctx, "pg_a"); err != nil {
		t.Fatal(err)
	}
	up := b.Upstream()
	facts, err := a.DivergenceFacts(ctx, *up)
	if v, why := rewind.Decide(facts); err != nil || v != rewind.NotNeeded {
		t.Fatalf("comparison with a cleanly stopped former primary: %v %s %v", v, why, err)
	}
	if _, err := a.Start(ctx, postgres.StartOptions{Role: "replica", Upstream: up}); err != nil {
		t.Fatal(err)
	}
	pgtest.Eventually(t, "the former primary follows across the gap", func() bool {
		out, err := a.TrySQL(t, "select count(*) from x")
		return err == nil && out == "2"
	})
}
