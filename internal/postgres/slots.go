//go:build linux

package postgres

import (
	"context"
	"fmt"

	"tamada/internal/cluster"
)

// Slots lists the replication slots, temporary ones left out: they belong to
// running backups.
func (p *Instance) Slots(ctx context.Context) (slots []Slot, err error) {
	err = p.with(ctx, Heartbeat, func(ctx context.Context, l *link) error {
		row, err := l.row(ctx, "slots", "SELECT NULL"+slotsColumn(serverVersion(l.conn)))
		if err != nil {
			return err
		}
		c := &columns{row: row[1:]}
		slots = scanSlots(c)
		return c.err
	})
	if err != nil {
		return nil, fmt.Errorf("list replication slots: %w", err)
	}
	return slots, nil
}

// CreatePhysicalSlot makes a physical slot that reserves WAL from now on, if
// there is none of that name.
func (p *Instance) CreatePhysicalSlot(ctx context.Context, name string) error {
	_, err := p.query(ctx, `SELECT pg_create_physical_replication_slot($1::text::name, true)
 WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = $1::text::name)`, name)
	if err != nil {
		return fmt.Errorf("create replication slot %s: %w", name, err)
	}
	return nil
}

// CreateLogicalSlot makes a logical slot in its database, if there is none of
// that name. It waits for running transactions, hence a connection of its own.
func (p *Instance) CreateLogicalSlot(ctx context.Context, name, database, plugin string) error {
	err := p.execAlone(ctx, database, fmt.Sprintf(`SELECT pg_create_logical_replication_slot(%s, %s)
 WHERE NOT EXISTS (SELECT 1 FROM pg_replication_slots WHERE slot_name = %s)`,
		quoteLiteral(name), quoteLiteral(plugin), quoteLiteral(name)))
	if err != nil {
		return fmt.Errorf("create replication slot %s: %w", name, err)
	}
	return nil
}

// DropSlot drops a slot if it is not in use, in one statement, so that nobody
// can begin to use it in between. Neither dropped nor active: it was not there.
func (p *Instance) DropSlot(ctx context.Context, name string) (dropped, active bool, err error) {
	rows, err := p.query(ctx, `WITH slots AS (SELECT slot_name, active FROM pg_replication_slots WHERE slot_name = $1::text::name),
 dropped AS (SELECT pg_drop_replication_slot(slot_name), true AS done FROM slots WHERE NOT active)
 SELECT coalesce((SELECT done FROM dropped), false), coalesce((SELECT active FROM slots), false)`, name)
	if SQLState(err) == "55006" { // in use after all
		return false, true, nil
	}
	if err != nil {
		return false, false, fmt.Errorf("drop replication slot %s: %w", name, err)
	}
	c := &columns{row: rows[0]}
	dropped, active = c.yes(), c.yes()
	return dropped, active, c.err
}

// AdvanceSlot moves a slot forward; a position behind it changes nothing.
// Logical slots take long (they decode what lies between), so they get a
// connection of their own, to their database and without a time limit. SQLSTATE
// 58P01 and 55000 of the error mean that the WAL is gone.
func (p *Instance) AdvanceSlot(ctx context.Context, s Slot, to cluster.LSN) error {
	var err error
	if s.Type == "logical" {
		err = p.execAlone(ctx, s.Database, fmt.Sprintf("SELECT pg_replication_slot_advance(%s, '%s')", quoteLiteral(s.Name), to))
	} else {
		_, err = p.query(ctx, "SELECT end_lsn FROM pg_replication_slot_advance($1::text::name, $2::text::pg_lsn)", s.Name, to.String())
	}
	if err != nil {
		return fmt.Errorf("advance replication slot %s to %s: %w", s.Name, to, err)
	}
	return nil
}

// execAlone runs a statement on a connection of its own to a local database,
// without a time limit but the context's.
func (p *Instance) execAlone(ctx context.Context, database, sql string) error {
	c, err := p.connect(ctx, connOptions{database: database})
	if err != nil {
		return err
	}
	defer closeConn(c)
	_, err = c.Exec(ctx, sql).ReadAll()
	return err
}
