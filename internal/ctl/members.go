package ctl

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"net"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// memberColumns of the table of members (reference cli.md 2.2).
var memberColumns = []column{
	{name: "Cluster"}, {name: "Member"}, {name: "Host"}, {name: "Role"}, {name: "State"}, {name: "TL", right: true},
	{name: "Receive LSN", right: true}, {name: "Receive Lag", title: "Lag", right: true},
	{name: "Replay LSN", right: true}, {name: "Replay Lag", title: "Lag", right: true},
	{name: "Pending restart"}, {name: "Pending restart reason"}, {name: "Scheduled restart"}, {name: "Tags"},
}

// optionalColumns are shown only when a member has something in them.
var optionalColumns = []string{"Pending restart", "Pending restart reason", "Scheduled restart", "Tags"}

const (
	formatTopology = "topology"
	// longestReason is the length beyond which a reason for a pending restart
	// would blow up the table.
	longestReason = 50
)

// printMembers writes the table of a cluster's members, with what is going on
// below it in the formats for people, in colours if asked for.
func printMembers(w io.Writer, c *cluster.Cluster, scope, format string, extended, coloured bool) {
	v := newMembersView(c)
	columns := memberColumns
	human := format == "pretty" || format == formatTopology
	var cells rows
	for _, m := range v.ordered(format) {
		row := v.row(m, scope, format)
		if human && coloured {
			v.paint(m, row)
		}
		cells = append(cells, row)
	}
	if !extended {
		hasHost := func(row []any) bool { return row[2] != "" }
		columns, cells = dropEmpty(columns, cells, optionalColumns, hasHost)
	}
	if human {
		columns = columns[1:]
		for i := range cells {
			cells[i] = cells[i][1:]
		}
	}
	printTable(w, format, title(c, scope), columns, cells, true)
	if human {
		printFooter(w, c, v.settings, coloured)
	}
}

func title(c *cluster.Cluster, scope string) string {
	id := "uninitialized"
	if c.Initialize != nil {
		id = cmp.Or(c.Initialize.Value, "initializing")
	}
	return fmt.Sprintf("Cluster: %s (%s)", scope, id)
}

// membersView is a cluster with what is needed to describe each member.
type membersView struct {
	*cluster.Cluster
	settings cluster.Settings
	ports    bool           // hosts are shown with their ports
	depth    map[string]int // in the tree of topology; 0 is the leader
}

func newMembersView(c *cluster.Cluster) *membersView {
	v := &membersView{Cluster: c, settings: settingsOf(c)}
	hosts := map[string]bool{}
	for i := range c.Members {
		host, port, ok := c.Members[i].Address()
		if ok {
			v.ports = v.ports || port != 5432 || hosts[host]
			hosts[host] = true
		}
	}
	return v
}

// role is a member's role as people call it.
func (v *membersView) role(m *cluster.Member) string {
	switch {
	case m.Name == v.LeaderName() && v.settings.StandbyCluster != nil:
		return "Standby Leader"
	case m.Name == v.LeaderName():
		return "Leader"
	case !v.Sync.Matches(m.Name, false):
	case v.settings.SynchronousMode == cluster.SyncQuorum:
		return "Quorum Standby"
	case v.settings.SynchronousMode == cluster.SyncOn:
		return "Sync Standby"
	}
	return "Replica"
}

func (v *membersView) row(m *cluster.Member, scope, format string) []any {
	host := ""
	if h, port, ok := m.Address(); ok {
		host = h
		if v.ports {
			host = net.JoinHostPort(h, strconv.Itoa(port))
		}
	}
	role := v.role(m)
	state := string(m.State)
	if role != "Leader" {
		state = cmp.Or(m.ReplicationState, state)
	}
	var timeline any = ""
	if m.Timeline > 0 {
		timeline = number(m.Timeline)
	}
	name := m.Name
	if d := v.depth[name]; d > 0 {
		name = strings.Repeat("  ", d-1) + "+ " + name
	}
	row := []any{scope, name, host, role, state, timeline}
	row = append(row, v.positions(m)...)
	return append(row, pendingRestart(m), pendingReason(m, format), scheduledRestart(m), tags(m, format))
}

// positions are the four cells of receive and replay positions.
func (v *membersView) positions(m *cluster.Member) []any {
	if m.Name == v.LeaderName() {
		return []any{"", "", "", ""}
	}
	receive, replay := m.ReceiveLSN, m.ReplayLSN
	if receive == 0 && replay == 0 && m.XLogLocation > 0 {
		// An older agent publishes one position only.
		if m.ReplicationState == "streaming" {
			receive = m.XLogLocation
		} else {
			replay = m.XLogLocation
		}
	}
	return append(v.position(receive), v.position(replay)...)
}

func (v *membersView) position(at cluster.LSN) []any {
	if at == 0 {
		return []any{"unknown", ""}
	}
	lag := 0.0
	if v.Status.LSN > at {
		lag = math.RoundToEven(float64(v.Status.LSN-at) / (1 << 20))
	}
	return []any{at.String(), number(int64(lag))}
}

func pendingRestart(m *cluster.Member) string {
	if m.PendingRestart {
		return "*"
	}
	return ""
}

func pendingReason(m *cluster.Member, format string) string {
	var lines []string
	for name, v := range m.PendingRestartReason.All() {
		change, _ := v.(*cluster.Object)
		line := fmt.Sprintf("%s: %s->%s", name, cluster.Text(change.Value("old_value")), cluster.Text(change.Value("new_value")))
		if (format == "pretty" || format == formatTopology) && len([]rune(line)) > longestReason {
			line = name + ": [hidden - too long]"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func scheduledRestart(m *cluster.Member) string {
	at, _ := m.ScheduledRestart.String("schedule")
	if version := m.ScheduledRestart.Value("postgres_version"); at != "" && cluster.Truthy(version) {
		at += " if version < " + cluster.Text(version)
	}
	return at
}

func tags(m *cluster.Member, format string) any {
	switch {
	case m.Tags.Len() == 0:
		return ""
	case format == "pretty":
		return strings.TrimSuffix(config.DumpYAML(m.Tags), "\n")
	case format == formatTopology || format == "tsv":
		return strings.TrimSuffix(config.DumpFlowYAML(m.Tags), "\n")
	}
	return m.Tags
}

// ordered are the members to show: by name, or for topology as a tree from the
// leader. Members whose replicatefrom tags form a circle have no place in it.
func (v *membersView) ordered(format string) []*cluster.Member {
	var all []*cluster.Member
	for i := range v.Members {
		all = append(all, &v.Members[i])
	}
	if format != formatTopology {
		return all
	}
	children := map[string][]*cluster.Member{}
	for _, m := range all {
		if m.Name == v.LeaderName() {
			continue
		}
		parent := v.LeaderName()
		from := cluster.ReplicateFrom(m.Tags)
		if from != m.Name && from != v.LeaderName() && v.Member(from) != nil {
			parent = from
		}
		children[parent] = append(children[parent], m)
	}
	var tree []*cluster.Member
	if m := v.LeaderMember(); m != nil {
		tree = append(tree, m)
	}
	v.depth = map[string]int{}
	var add func(parent string, depth int)
	add = func(parent string, depth int) {
		for _, m := range children[parent] {
			v.depth[m.Name] = depth
			tree = append(tree, m)
			add(m.Name, depth+1)
		}
	}
	add(v.LeaderName(), 1)
	return slices.Clip(tree)
}

// crashLoop is how many crashes in a row are worth a line: one or two may have
// been somebody's kill.
const crashLoop = 3

// printFooter tells of maintenance mode, of members that are not well and of a
// scheduled switchover.
func printFooter(w io.Writer, c *cluster.Cluster, s cluster.Settings, coloured bool) {
	if s.Pause {
		on := "Maintenance mode: on"
		if coloured {
			on = yellow.paint(on)
		}
		fmt.Fprintln(w, " "+on)
	}
	for i := range c.Members {
		if a := c.Members[i].Agent; a != nil && a.ConfigError != "" {
			fmt.Fprintf(w, " Configuration of %s not in force: %s\n", c.Members[i].Name, a.ConfigError)
		}
		if a := c.Members[i].Agent; a != nil && a.Crashes >= crashLoop {
			fmt.Fprintf(w, " The agent of %s keeps crashing: %d times in a row, its log says why\n", c.Members[i].Name, a.Crashes)
		}
	}
	if c.Failover == nil || c.Failover.ScheduledAt == "" {
		return
	}
	fmt.Fprintf(w, " Switchover scheduled at: %s\n", c.Failover.ScheduledAt)
	if c.Failover.Leader != "" {
		fmt.Fprintf(w, "%24s: %s\n", "from", c.Failover.Leader)
	}
	if c.Failover.Candidate != "" {
		fmt.Fprintf(w, "%24s: %s\n", "to", c.Failover.Candidate)
	}
}
