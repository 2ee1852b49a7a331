package cluster

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
)

// Version identifies one state of one key for compare-and-swap: etcd's
// mod_revision, Consul's ModifyIndex and so on. Zero means that the key is
// absent (or that its version is not known).
type Version int64

// Initialize is the key that names the cluster's PostgreSQL system identifier.
// Its value is empty while somebody bootstraps.
type Initialize struct {
	Value   string
	Version Version
}

// ValidSysid tells whether a text is a system identifier: at least ten digits
// and nothing else (reference ha.md 3.2).
func ValidSysid(s string) bool {
	return len(s) >= 10 && strings.Trim(s, "0123456789") == ""
}

// Leader is the holder of the leader key.
type Leader struct {
	Name    string
	Version Version // of the key as it is now
	Created Version // of the key when it was created: another holder, another number
	Session string  // lease or session that the key hangs on
}

// DynamicConfig is the key `config`: the dynamic configuration as it was
// written, unknown keys included.
type DynamicConfig struct {
	Doc     *Object
	Version Version
}

// Failover is a pending request to move the leader (reference ha.md 10.1).
// Leader present means switchover, absent manual failover.
type Failover struct {
	Leader      string
	Candidate   string // field "member"
	ScheduledAt string // ISO 8601 with zone as it was given
	Extra       *Object
	Version     Version // also set when nothing is pending
}

// Pending tells whether the key holds a request.
func (f *Failover) Pending() bool {
	return f != nil && (f.Leader != "" || f.Candidate != "" || f.ScheduledAt != "")
}

// ParseFailover reads the key `failover`; anything but an object or the old
// text LEADER:CANDIDATE is no request.
func ParseFailover(data []byte) Failover {
	var f Failover
	o, err := ParseObject(data)
	if err != nil {
		text := strings.TrimSpace(string(data))
		if _, jsonErr := ParseJSON(data); jsonErr == nil || !strings.Contains(text, ":") || strings.ContainsAny(text, "{}[]\"\n") {
			return f
		}
		leader, candidate, _ := strings.Cut(text, ":")
		f.Leader, f.Candidate = strings.TrimSpace(leader), strings.TrimSpace(candidate)
		return f
	}
	for k, v := range o.All() {
		ok := false
		switch k {
		case "leader":
			ok = setString(&f.Leader, v)
		case "member":
			ok = setString(&f.Candidate, v)
		case "scheduled_at":
			ok = setString(&f.ScheduledAt, v)
		}
		if !ok {
			if f.Extra == nil {
				f.Extra = &Object{}
			}
			f.Extra.Set(k, v)
		}
	}
	return f
}

// JSON is the value of the key; an empty request is `{}`.
func (f *Failover) JSON() []byte {
	o := &Object{}
	addString(o, "leader", f.Leader)
	addString(o, "member", f.Candidate)
	addString(o, "scheduled_at", f.ScheduledAt)
	addExtra(o, f.Extra)
	return Compact(o)
}

// Sync is the synchronous state (reference dcs-layout.md 2.2): who accepts
// writes and who has every acknowledged commit. Names compare without regard
// to case.
type Sync struct {
	Leader  string
	Quorum  int
	Members []string // sorted
	Extra   *Object
	Version Version
}

// Active tells whether synchronous mode is in force.
func (s *Sync) Active() bool { return s != nil && s.Leader != "" }

// Matches tells whether a name is among the members or, if asked for, is the
// leader.
func (s *Sync) Matches(name string, leaderToo bool) bool {
	if !s.Active() {
		return false
	}
	if leaderToo && strings.EqualFold(s.Leader, name) {
		return true
	}
	return slices.ContainsFunc(s.Members, func(m string) bool { return strings.EqualFold(m, name) })
}

// ParseSync reads the key `sync`. A value that is not an object with a leader,
// or whose members or quorum cannot be read, means "not active".
func ParseSync(data []byte) Sync {
	var s Sync
	o, err := ParseObject(data)
	if err != nil {
		return s
	}
	leader, _ := o.String("leader")
	members, ok := o.Value("sync_standby").(string)
	if !ok && o.Value("sync_standby") != nil {
		return s
	}
	quorum, ok := uintValue(o.Value("quorum"), 31)
	if !ok && o.Value("quorum") != nil {
		return s
	}
	s.Leader, s.Quorum = leader, int(quorum)
	for m := range strings.SplitSeq(members, ",") {
		if m = strings.TrimSpace(m); m != "" {
			s.Members = append(s.Members, m)
		}
	}
	for k, v := range o.All() {
		if k != "leader" && k != "quorum" && k != "sync_standby" {
			if s.Extra == nil {
				s.Extra = &Object{}
			}
			s.Extra.Set(k, v)
		}
	}
	return s
}

// JSON is the value of the key: names sorted, null when there are none.
func (s *Sync) JSON() []byte {
	o := NewObject("leader", s.Leader, "quorum", s.Quorum)
	if s.Leader == "" {
		o.Set("leader", nil)
	}
	o.Set("sync_standby", nil)
	if len(s.Members) > 0 {
		o.Set("sync_standby", strings.Join(slices.Sorted(slices.Values(s.Members)), ","))
	}
	addExtra(o, s.Extra)
	return Compact(o)
}

// Slot is one replication slot's position as the leader publishes it.
type Slot struct {
	Name string
	LSN  LSN
}

// Status is what the leader publishes with each renewal (reference
// dcs-layout.md 4).
type Status struct {
	LSN         LSN // field "optime": the leader's position, 0 when not known
	Slots       []Slot
	RetainSlots []string
	Agent       *AgentInfo
	Promotion   *Promotion
	Extra       *Object
	Version     Version
}

// Promotion is the promotion that was begun last, as its leader wrote it down
// before it began (field "tamada_promotion", which Patroni does not write and
// ignores). The history tells of a promotion only some time after it; a leader
// that vanishes before has left this.
type Promotion struct {
	Timeline Timeline // that nobody else must choose
	Leader   string
	Tenure   Version // creation of the leader key under which it was begun
}

func (p *Promotion) object() *Object {
	return NewObject("timeline", p.Timeline, "leader", p.Leader, "tenure", int64(p.Tenure))
}

// parsePromotion reads the field; anything incomplete is none.
func parsePromotion(v any) *Promotion {
	o, ok := v.(*Object)
	if !ok {
		return nil
	}
	tli, ok1 := uintValue(o.Value("timeline"), 31)
	tenure, ok2 := uintValue(o.Value("tenure"), 63)
	leader, ok3 := o.String("leader")
	if !ok1 || !ok2 || !ok3 {
		return nil
	}
	return &Promotion{Timeline(tli), leader, Version(tenure)}
}

// ParseStatus reads the key `status`: an object, or a bare number, which is
// the position alone. Parts that cannot be read are absent.
func ParseStatus(data []byte) Status {
	var s Status
	v, err := ParseJSON(data)
	if err != nil {
		return s
	}
	o, ok := v.(*Object)
	if !ok {
		setLSN(&s.LSN, v)
		return s
	}
	for k, v := range o.All() {
		ok := false
		switch k {
		case "optime":
			ok = setLSN(&s.LSN, v)
		case "slots":
			s.Slots, ok = parseSlots(v)
		case "retain_slots":
			s.RetainSlots, ok = parseNames(v)
		case "tamada":
			s.Agent = parseAgent(v)
			ok = s.Agent != nil
		case "tamada_promotion":
			s.Promotion = parsePromotion(v)
			ok = s.Promotion != nil
		}
		if !ok {
			if s.Extra == nil {
				s.Extra = &Object{}
			}
			s.Extra.Set(k, v)
		}
	}
	return s
}

// parseSlots reads name -> LSN, also when the object was encoded as text.
func parseSlots(v any) ([]Slot, bool) {
	if s, ok := v.(string); ok {
		v, _ = ParseJSON([]byte(s))
	}
	o, ok := v.(*Object)
	if !ok {
		return nil, false
	}
	var slots []Slot
	for name, v := range o.All() {
		n, ok := uintValue(v, 64)
		if !ok {
			return nil, false
		}
		slots = append(slots, Slot{name, LSN(n)})
	}
	return slots, len(slots) > 0
}

func parseNames(v any) ([]string, bool) {
	if s, ok := v.(string); ok {
		v, _ = ParseJSON([]byte(s))
	}
	list, ok := v.([]any)
	if !ok {
		return nil, false
	}
	var names []string
	for _, e := range list {
		s, ok := e.(string)
		if !ok {
			return nil, false
		}
		names = append(names, s)
	}
	return names, len(names) > 0
}

// JSON is the value of the key; absent parts are left out.
func (s *Status) JSON() []byte {
	o := &Object{}
	if s.LSN > 0 {
		o.Set("optime", s.LSN)
	}
	if len(s.Slots) > 0 {
		slots := &Object{}
		for _, x := range s.Slots {
			slots.Set(x.Name, x.LSN)
		}
		o.Set("slots", slots)
	}
	if len(s.RetainSlots) > 0 {
		o.Set("retain_slots", s.RetainSlots)
	}
	if s.Agent != nil {
		o.Set("tamada", s.Agent.Object())
	}
	if s.Promotion != nil {
		o.Set("tamada_promotion", s.Promotion.object())
	}
	addExtra(o, s.Extra)
	return Compact(o)
}

// HistoryLine is one promotion: the timeline that ended and where.
type HistoryLine struct {
	Timeline Timeline
	LSN      LSN
	Reason   string
	Time     string // ISO 8601; "" in old lines
	Leader   string // who was promoted; "" in old lines
	// raw is the line as it was read, so that lines of other agents are written
	// back verbatim.
	raw []any
}

// History is the key `history`.
type History struct {
	Lines   []HistoryLine
	Version Version
}

// ParseHistory reads the key `history`; ok is false when it is not a list of
// lines, which is not the same as an empty list.
func ParseHistory(data []byte) (h History, ok bool) {
	v, err := ParseJSON(data)
	if err != nil {
		return h, false
	}
	list, ok := v.([]any)
	if !ok {
		return h, false
	}
	for _, e := range list {
		line, ok := parseHistoryLine(e)
		if !ok {
			return History{}, false
		}
		h.Lines = append(h.Lines, line)
	}
	return h, true
}

func parseHistoryLine(v any) (HistoryLine, bool) {
	f, ok := v.([]any)
	if !ok || len(f) < 3 {
		return HistoryLine{}, false
	}
	tli, ok1 := uintValue(f[0], 31)
	lsn, ok2 := uintValue(f[1], 64)
	reason, ok3 := f[2].(string)
	if !ok1 || !ok2 || !ok3 {
		return HistoryLine{}, false
	}
	l := HistoryLine{Timeline: Timeline(tli), LSN: LSN(lsn), Reason: reason, raw: f}
	if len(f) > 3 {
		l.Time, _ = f[3].(string)
	}
	if len(f) > 4 {
		l.Leader, _ = f[4].(string)
	}
	return l, true
}

// JSON is the value of the key.
func (h *History) JSON() []byte { return Compact(h.List()) }

// List is the history as a JSON value.
func (h *History) List() []any {
	list := []any{}
	for _, l := range h.Lines {
		f := l.raw
		if f == nil {
			f = []any{json.Number(strconv.FormatUint(uint64(l.Timeline), 10)),
				json.Number(strconv.FormatUint(uint64(l.LSN), 10)), l.Reason}
			if l.Time != "" {
				f = append(f, l.Time, l.Leader)
			}
		}
		list = append(list, f)
	}
	return list
}

// Complete tells whether a line has its time and its leader.
func (l HistoryLine) Complete() bool {
	return l.Time != "" && l.Leader != "" || len(l.raw) >= 5
}

// Timeline is the cluster's timeline by the history: one more than its last
// line's, 1 for an empty history, 0 (not known) for none.
func (h *History) Timeline() Timeline {
	switch {
	case h == nil:
		return 0
	case len(h.Lines) == 0:
		return 1
	}
	return h.Lines[len(h.Lines)-1].Timeline + 1
}

func addExtra(o, extra *Object) {
	for k, v := range extra.All() {
		if _, known := o.Get(k); !known {
			o.Set(k, v)
		}
	}
}
