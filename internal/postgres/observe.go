//go:build linux

package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tamada/internal/cluster"
)

// observeHead are the columns that every observation has, in the order in which
// [scanObservation] reads them. Everything is qualified by search_path.
const observeHead = `SELECT current_setting('server_version_num'),
 (extract(epoch FROM pg_postmaster_start_time()) * 1000000)::bigint,
 r.rec,
 CASE WHEN r.rec THEN 0 ELSE ('x' || substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8))::bit(32)::int END,
 CASE WHEN r.rec THEN NULL ELSE pg_current_wal_flush_lsn() END,
 pg_last_wal_replay_lsn(), pg_last_wal_receive_lsn(),
 CASE WHEN r.rec THEN pg_is_wal_replay_paused() ELSE false END,
 (extract(epoch FROM pg_last_xact_replay_timestamp()) * 1000000)::bigint,
 w.pid, w.status, w.slot_name, w.conninfo, w.written_lsn, w.latest_end_lsn, w.received_tli,
 current_setting('restore_command'), current_setting('synchronous_commit'),
 current_setting('synchronous_standby_names')`

const observeTail = ` FROM (SELECT pg_is_in_recovery() AS rec) r LEFT JOIN pg_stat_get_wal_receiver() w ON w.pid IS NOT NULL`

// Optional columns, each one value.
const (
	columnSenders = `, (SELECT json_agg(s) FROM (SELECT pid, usename::text AS "user", application_name AS app,
 host(client_addr) AS addr, state, sync_state AS sync, sync_priority AS prio, write_lsn AS w, flush_lsn AS f, replay_lsn AS r
 FROM pg_stat_replication) s)`
	columnSlots = `, (SELECT json_agg(s) FROM (SELECT slot_name AS name, slot_type AS type, plugin, database, active,
 xmin IS NOT NULL AS xmin, catalog_xmin::text::bigint AS cxmin, restart_lsn AS restart, confirmed_flush_lsn AS flush,
 wal_status AS wal, %s FROM pg_replication_slots WHERE NOT temporary) s)`
	columnPending = `, (SELECT json_agg(name) FROM pg_settings WHERE pending_restart)`

	slotSync     = `failover, synced`
	slotSyncNone = `false AS failover, false AS synced`
)

// observeSQL is the monitoring query with the optional parts that are wanted.
func observeSQL(o ObserveOptions, version int) string {
	var b strings.Builder
	b.WriteString(observeHead)
	if o.Senders {
		b.WriteString(columnSenders)
	}
	if o.Slots {
		b.WriteString(slotsColumn(version))
	}
	if o.PendingGUCs {
		b.WriteString(columnPending)
	}
	b.WriteString(observeTail)
	return b.String()
}

func slotsColumn(version int) string {
	if version >= 170000 {
		return fmt.Sprintf(columnSlots, slotSync)
	}
	return fmt.Sprintf(columnSlots, slotSyncNone)
}

// Observe runs the monitoring query. It costs one round trip on a kept
// connection with a statement prepared once; a broken connection is replaced
// once.
func (p *Instance) Observe(ctx context.Context, o ObserveOptions) (*Observation, error) {
	purpose := o.Over
	if purpose == "" {
		purpose = Heartbeat
	}
	o.Over = ""
	var ob *Observation
	err := p.with(ctx, purpose, func(ctx context.Context, l *link) error {
		name := fmt.Sprintf("observe%t%t%t", o.Senders, o.Slots, o.PendingGUCs)
		row, err := l.row(ctx, name, observeSQL(o, serverVersion(l.conn)))
		if err != nil {
			return err
		}
		ob, err = scanObservation(row, o)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("observe PostgreSQL: %w", err)
	}
	return ob, nil
}

// versions are the server_versions read so far, of which a process meets one or
// two.
var versions sync.Map

// serverVersion is what the server said when the connection was made, as 150000
// (the minor number is not always in it).
func serverVersion(c *pgconn.PgConn) int {
	said := c.ParameterStatus("server_version")
	if known, ok := versions.Load(said); ok {
		return known.(int)
	}
	v, _ := parseVersion(") " + said)
	versions.Store(said, v)
	return v
}

// columns reads a row from left to right.
type columns struct {
	row [][]byte
	err error
}

func (c *columns) text() string {
	if len(c.row) == 0 {
		c.err = fmt.Errorf("the server returned too few columns")
		return ""
	}
	v := c.row[0]
	c.row = c.row[1:]
	return string(v)
}

func (c *columns) number() int64 {
	t := c.text()
	if t == "" {
		return 0
	}
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil {
		c.err = fmt.Errorf("the server returned %q instead of a number", t)
	}
	return n
}

func (c *columns) yes() bool { return c.text() == "t" }

func (c *columns) lsn() cluster.LSN {
	t := c.text()
	if t == "" {
		return 0
	}
	l, err := cluster.ParseLSN(t)
	if err != nil {
		c.err = err
	}
	return l
}

func (c *columns) time() time.Time {
	us := c.number()
	if us == 0 {
		return time.Time{}
	}
	return time.UnixMicro(us)
}

func (c *columns) json(to any) {
	t := c.text()
	if t == "" {
		return
	}
	if err := json.Unmarshal([]byte(t), to); err != nil {
		c.err = err
	}
}

func scanObservation(row [][]byte, o ObserveOptions) (*Observation, error) {
	c := &columns{row: row}
	ob := &Observation{
		ServerVersion:     int(c.number()),
		PostmasterStarted: c.time(),
		InRecovery:        c.yes(),
		Timeline:          cluster.Timeline(c.number()),
		FlushLSN:          c.lsn(),
		ReplayLSN:         c.lsn(),
		ReceiveLSN:        c.lsn(),
		ReplayPaused:      c.yes(),
		ReplayedAt:        c.time(),
	}
	r := Receiver{
		PID:          int(c.number()),
		State:        c.text(),
		Slot:         c.text(),
		ConnInfo:     c.text(),
		WrittenLSN:   c.lsn(),
		LatestEndLSN: c.lsn(),
		Timeline:     cluster.Timeline(c.number()),
	}
	if r.LatestEndLSN == 0 {
		r.Timeline = 0 // asked for, not yet received
	}
	if r.PID != 0 && ob.InRecovery {
		ob.Receiver = &r
	}
	ob.RestoreCommand, ob.SyncCommit, ob.SyncNames = c.text(), c.text(), c.text()
	if o.Senders {
		var list []senderJSON
		c.json(&list)
		for _, s := range list {
			ob.Senders = append(ob.Senders, s.sender())
		}
	}
	if o.Slots {
		ob.Slots = scanSlots(c)
	}
	if o.PendingGUCs {
		c.json(&ob.PendingGUCs)
	}
	if c.err != nil {
		return nil, fmt.Errorf("read the monitoring row: %w", c.err)
	}
	return ob, nil
}

// lsnText is an LSN in JSON: text or null.
type lsnText cluster.LSN

// UnmarshalJSON implements [json.Unmarshaler].
func (l *lsnText) UnmarshalJSON(b []byte) error {
	s := strings.Trim(string(b), `"`)
	if s == "null" || s == "" {
		*l = 0
		return nil
	}
	v, err := cluster.ParseLSN(s)
	*l = lsnText(v)
	return err
}

type senderJSON struct {
	PID                          int
	User, App, Addr, State, Sync string
	Prio                         int
	Write                        lsnText `json:"w"`
	Flush                        lsnText `json:"f"`
	Replay                       lsnText `json:"r"`
}

func (s senderJSON) sender() Sender {
	return Sender{PID: s.PID, User: s.User, ApplicationName: s.App, ClientAddr: s.Addr, State: s.State, SyncState: s.Sync,
		SyncPriority: s.Prio, Write: cluster.LSN(s.Write), Flush: cluster.LSN(s.Flush), Replay: cluster.LSN(s.Replay)}
}

type slotJSON struct {
	Name, Type, Plugin, Database string
	Active, Xmin                 bool
	CXmin                        uint32
	Restart, Flush               lsnText
	WAL                          string
	Failover, Synced             bool
}

func scanSlots(c *columns) []Slot {
	var list []slotJSON
	c.json(&list)
	slots := make([]Slot, 0, len(list))
	for _, s := range list {
		slots = append(slots, Slot{Name: s.Name, Type: s.Type, Plugin: s.Plugin, Database: s.Database, Active: s.Active,
			Xmin: s.Xmin, CatalogXmin: s.CXmin, RestartLSN: cluster.LSN(s.Restart), ConfirmedFlush: cluster.LSN(s.Flush),
			WALStatus: s.WAL, Failover: s.Failover, Synced: s.Synced})
	}
	return slots
}

// LocalTimeline is the timeline that a running standby replays, by
// IDENTIFY_SYSTEM over a local replication connection: received WAL may be of a
// later one. The answer is kept while it equals the leader's timeline, because
// opening such a connection each cycle is too expensive (reference
// postgresql.md 3).
func (p *Instance) LocalTimeline(ctx context.Context, leader cluster.Timeline) (cluster.Timeline, error) {
	h, err := p.Postmaster()
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	kept := p.timeline
	p.mu.Unlock()
	if kept.known != 0 && kept.known == leader && kept.started == h.Start() {
		return kept.known, nil
	}
	user := p.Settings().Replication
	id, err := p.identify(ctx, connOptions{replication: true, user: &user})
	if err != nil {
		return 0, err
	}
	p.mu.Lock()
	p.timeline.known, p.timeline.started = id.Timeline, h.Start()
	p.mu.Unlock()
	return id.Timeline, nil
}

// Identity is a server's answer to IDENTIFY_SYSTEM.
type Identity struct {
	SystemIdentifier string
	Timeline         cluster.Timeline
	LSN              cluster.LSN
}

// identify asks over a new replication connection.
func (p *Instance) identify(ctx context.Context, o connOptions) (Identity, error) {
	c, err := p.connect(ctx, o)
	if err != nil {
		return Identity{}, err
	}
	defer closeConn(c)
	return identifyOver(ctx, c)
}

func identifyOver(ctx context.Context, c *pgconn.PgConn) (Identity, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	rs, err := c.Exec(ctx, "IDENTIFY_SYSTEM").ReadAll()
	if err != nil {
		return Identity{}, err
	}
	if len(rs) != 1 || len(rs[0].Rows) != 1 {
		return Identity{}, fmt.Errorf("IDENTIFY_SYSTEM: unexpected answer")
	}
	cols := &columns{row: rs[0].Rows[0]}
	id := Identity{cols.text(), cluster.Timeline(cols.number()), cols.lsn()}
	if cols.err == nil && (id.Timeline == 0 || id.SystemIdentifier == "") {
		cols.err = fmt.Errorf("no timeline in the answer")
	}
	if cols.err != nil {
		return Identity{}, fmt.Errorf("IDENTIFY_SYSTEM: %w", cols.err)
	}
	return id, nil
}

func closeConn(c *pgconn.PgConn) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_ = c.Close(ctx)
}
