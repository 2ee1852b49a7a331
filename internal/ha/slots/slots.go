package slots

import (
	"slices"
	"strings"
	"time"

	"tamada/internal/cluster"
)

// Slot is one replication slot as the server reports it.
type Slot struct {
	Name       string
	Physical   bool
	Active     bool
	RestartLSN cluster.LSN // 0: the slot reserves no WAL
	HasXmin    bool
	Lost       bool // wal_status "lost": its WAL is gone
}

// View is what the decision knows.
type View struct {
	Me       string
	Cluster  *cluster.Cluster
	Tags     *cluster.Tags
	Primary  bool // this node runs as the primary and holds the lock
	UseSlots bool
	TTL      time.Duration // member_slots_ttl; 0: no retention
	Paused   bool
	Existing []Slot
}

// Plan is what to do, each list sorted by name. Recreate are slots that must be
// dropped now and will be created at the next plan.
type Plan struct {
	Create  []string
	Drop    []string
	Advance []cluster.Slot
}

// Empty tells whether there is nothing to do.
func (p Plan) Empty() bool { return len(p.Create)+len(p.Drop)+len(p.Advance) == 0 }

// want is one slot that should exist.
type want struct {
	lsn    cluster.LSN // what it may be advanced to
	active bool        // somebody is expected to use it here
}

// Decide makes the plan.
func Decide(v View) Plan {
	wanted := desired(v)
	existing := map[string]Slot{}
	var p Plan
	theirs := operators(v.Cluster)
	for _, s := range v.Existing {
		existing[s.Name] = s
		w, ok := wanted[s.Name]
		if theirs.ignored(s) {
			continue
		}
		switch {
		case !s.Physical:
			// logical slots are not ours yet
		case !ok || s.Lost:
			// What is not in the list belongs to nobody we know. In maintenance mode
			// people make slots by hand. An active slot is in use, whatever we think.
			if !v.Paused && !s.Active && (ok || !theirs.permanent[s.Name]) {
				p.Drop = append(p.Drop, s.Name)
			}
		default:
			p.tend(v, s, w)
		}
	}
	for name := range wanted {
		if _, ok := existing[name]; !ok {
			p.Create = append(p.Create, name)
		}
	}
	slices.Sort(p.Create)
	slices.Sort(p.Drop)
	slices.SortFunc(p.Advance, func(a, b cluster.Slot) int { return strings.Compare(a.Name, b.Name) })
	return p
}

// tend decides about a slot that exists and should (reference postgresql.md
// 11.3, 3).
func (p *Plan) tend(v View, s Slot, w want) {
	if w.active || s.Active {
		return
	}
	leader := v.Cluster.LeaderName()
	switch {
	case s.HasXmin && leader != "" && (leader != v.Me || v.Primary):
		// Feedback of a replica that has moved elsewhere pins the horizon of vacuum.
		p.Drop = append(p.Drop, s.Name)
	case s.HasXmin:
	case s.RestartLSN == 0:
		p.Drop = append(p.Drop, s.Name) // cannot be advanced: made anew next time
	case w.lsn > s.RestartLSN:
		p.Advance = append(p.Advance, cluster.Slot{Name: s.Name, LSN: w.lsn})
	}
}

// desired are the slots that this node should have, by name.
func desired(v View) map[string]want {
	wanted := map[string]want{}
	if !v.UseSlots || v.Cluster == nil {
		return wanted
	}
	positions := map[string]cluster.LSN{}
	for _, s := range v.Cluster.Status.Slots {
		positions[s.Name] = s.LSN
	}
	own := cluster.SlotName(v.Me)
	noFailover := cluster.NoFailover(v.Tags)
	for i := range v.Cluster.Members {
		m := &v.Cluster.Members[i]
		name := cluster.SlotName(m.Name)
		if m.Name == v.Me || name == own || cluster.NoStream(m.Tags) {
			continue
		}
		here := streamsFromHere(v, m)
		if v.TTL == 0 && !here || noFailover && cluster.ReplicateFrom(m.Tags) != v.Me {
			continue
		}
		w := want{lsn: positions[name], active: here}
		if cluster.ReplicateFrom(m.Tags) != "" {
			w.lsn = max(w.lsn, m.XLogLocation)
		}
		wanted[name] = w
	}
	if v.TTL > 0 && !noFailover {
		for _, name := range v.Cluster.Status.RetainSlots {
			if _, ok := wanted[name]; !ok && name != own {
				wanted[name] = want{lsn: positions[name]}
			}
		}
	}
	return wanted
}

// streamsFromHere tells whether the member is expected to use its slot on this
// node.
func streamsFromHere(v View, m *cluster.Member) bool {
	from := cluster.ReplicateFrom(m.Tags)
	if v.Primary {
		return from == "" || from == v.Me || v.Cluster.Member(from) == nil
	}
	return from == v.Me && m.Name != v.Cluster.LeaderName()
}

// Retention remembers when each member was last seen, so that the slot of one
// that is away is kept for member_slots_ttl and not for ever. The clock restarts
// when a node becomes leader, for every name in the stored list: otherwise the
// former leader's slot would be dropped exactly at a failover (trap 50).
type Retention struct{ seen map[string]time.Duration }

// Reset begins anew at now with the names that the store lists.
func (r *Retention) Reset(now time.Duration, stored []string) {
	r.seen = map[string]time.Duration{}
	for _, n := range stored {
		r.seen[n] = now
	}
}

// Update takes over the members of a view and returns the names to publish as
// `retain_slots`, and those whose time is over.
func (r *Retention) Update(now, ttl time.Duration, c *cluster.Cluster) (retain, expired []string) {
	if r.seen == nil {
		r.seen = map[string]time.Duration{}
	}
	for i := range c.Members {
		if !cluster.NoStream(c.Members[i].Tags) {
			r.seen[cluster.SlotName(c.Members[i].Name)] = now
		}
	}
	for name, at := range r.seen {
		if now-at >= ttl {
			expired = append(expired, name)
			delete(r.seen, name)
			continue
		}
		retain = append(retain, name)
	}
	slices.Sort(retain)
	slices.Sort(expired)
	return retain, expired
}
