package rest

import (
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/common/expfmt"

	"tamada/internal/cluster"
)

// showMetrics is GET /metrics (section 7), followed by what else the program
// registered.
//
// The compatible part is written by hand: order, spelling of numbers and a
// comment between HELP and TYPE are part of the contract, and the client
// library sorts by name, writes 6.7108864e+07 and has no such comments.
func (s *Server) showMetrics(a *answer) {
	st := s.collect(a.ctx, true)
	var b bytes.Buffer
	st.writeMetrics(&b, a.o)
	if a.o.Metrics != nil {
		families, err := a.o.Metrics.Gather()
		if err != nil { // what could be gathered is still there
			s.log.WarnContext(a.ctx, "some metrics are missing", "error", err)
		}
		for _, f := range families {
			_, _ = expfmt.MetricFamilyToText(&b, f) // a buffer takes everything
		}
	}
	a.write(200, contentMetrics, b.Bytes())
}

// stateValues is the comment that explains the numbers of the state.
const stateValues = "0=initdb, 1=initdb_failed, 2=custom_bootstrap, 3=custom_bootstrap_failed, 4=creating_replica, " +
	"5=running, 6=starting, 7=bootstrap_starting, 8=start_failed, 9=restarting, 10=restart_failed, 11=stopping, " +
	"12=stopped, 13=stop_failed, 14=crashed"

// writeMetrics writes the compatible metrics in the order of section 7.
func (st *status) writeMetrics(b *bytes.Buffer, o *settled) {
	labels := fmt.Sprintf(`{scope="%s",name="%s"}`, labelValue(o.Scope), labelValue(o.Name))
	comment := ""
	metric := func(kind, name, value, help string) {
		fmt.Fprintf(b, "# HELP patroni_%s %s\n%s# TYPE patroni_%s %s\npatroni_%s%s %s\n",
			name, help, comment, name, kind, name, labels, value)
	}
	gauge := func(name, value, help string) { metric("gauge", name, value, help) }
	counter := func(name string, v cluster.LSN, help string) {
		metric("counter", name, strconv.FormatUint(uint64(v), 10), help)
	}
	flag := func(name string, v bool, help string) { gauge(name, bit(v), help) }

	snap, sql := st.snap, st.sql
	if sql == nil {
		sql = &SQLStatus{}
	}
	flushed, received, replayed := sql.Flushed, sql.Received, sql.Replayed
	if sql.InRecovery {
		flushed = 0
	} else {
		received, replayed = 0, 0
	}
	role, mode := st.role(), st.syncMode(o.Name)
	gauge("version", versionNumber(o.Version), "Compatible version, two digits for each part.")
	flag("postgres_running", st.state() == cluster.StateRunning, "1 if PostgreSQL is running.")
	gauge("postmaster_start_time", epoch(sql.PostmasterStart), "When PostgreSQL was started, in seconds of the epoch, 0 if not known.")
	flag("primary", role == cluster.RolePrimary, "1 if PostgreSQL is not in recovery. This is not ownership of the leader key.")
	counter("xlog_location", flushed, "WAL flush position of a primary in bytes, else 0.")
	flag("standby_leader", role == cluster.RoleStandbyLeader, "1 if this node leads a standby cluster.")
	flag("replica", role == cluster.RoleReplica, "1 if this node is a replica.")
	flag("sync_standby", mode == cluster.SyncOn, "1 if this node is a synchronous standby.")
	flag("quorum_standby", mode == cluster.SyncQuorum, "1 if this node is a member of the quorum.")
	counter("xlog_received_location", received, "WAL received by a standby in bytes, else 0.")
	counter("xlog_replayed_location", replayed, "WAL replayed by a standby in bytes, else 0.")
	gauge("xlog_replayed_timestamp", epoch(sql.ReplayedAt), "Commit time of the last transaction replayed, in seconds of the epoch, 0 if not known.")
	flag("xlog_paused", sql.ReplayPaused, "1 if replay is paused.")
	if sql.ServerVersion >= 90600 {
		flag("postgres_streaming", sql.ReplicationState == "streaming", "1 if a standby is streaming.")
		flag("postgres_in_archive_recovery", sql.ReplicationState == "in archive recovery", "1 if a standby replays from the archive.")
	}
	gauge("postgres_server_version", strconv.Itoa(sql.ServerVersion), "Version of the running PostgreSQL, 0 if not known.")
	flag("cluster_unlocked", st.unlocked(), "1 if nobody is known to hold the leader key.")
	flag("failsafe_mode_is_active", st.failsafe, "1 while the failsafe mode keeps the primary.")
	flag("failsafe_mode_enabled", snap.Settings.FailsafeMode, "1 if failsafe_mode is on in the dynamic configuration.")
	_, failsafeMember := snap.Failsafe.Get(o.Name)
	flag("failsafe_member", failsafeMember, "1 if this node is a member of the failsafe topology.")
	gauge("postgres_timeline", strconv.FormatUint(uint64(sql.Timeline), 10), "Timeline of PostgreSQL, 0 if not known.")
	gauge("dcs_last_seen", strconv.FormatInt(snap.DCSLastSeen, 10), "When the store last answered, in seconds of the epoch.")
	flag("pending_restart", snap.PendingRestart, "1 if parameters wait for a restart.")
	flag("is_paused", snap.Settings.Pause, "1 in maintenance mode.")
	comment = "# Values: " + stateValues + "\n"
	gauge("postgres_state", strconv.Itoa(st.state().Index()), "State of PostgreSQL as a number, -1 if not known.")
	comment = ""
	gauge("failover_priority", strconv.Itoa(cluster.FailoverPriority(snap.Tags)), "Rank among equal candidates, 0 if this node never leads.")
}

func bit(v bool) string {
	if v {
		return "1"
	}
	return "0"
}

// epoch is a time in seconds with its fraction, 0 for none.
func epoch(t time.Time) string {
	if t.IsZero() {
		return "0"
	}
	return strconv.FormatFloat(float64(t.UnixMicro())/1e6, 'f', -1, 64)
}

// versionNumber is 040104 for 4.1.4.
func versionNumber(version string) string {
	var b strings.Builder
	for part := range strings.SplitSeq(version, ".") {
		if len(part) < 2 {
			b.WriteByte('0')
		}
		b.WriteString(part)
	}
	return b.String()
}

var labelEscapes = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

func labelValue(s string) string { return labelEscapes.Replace(s) }
