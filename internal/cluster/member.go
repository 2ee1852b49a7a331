package cluster

import (
	"encoding/json"
	"net/url"
	"strconv"
	"strings"
)

// Member is what one agent publishes about itself under members/NAME
// (reference dcs-layout.md 2.1). A field that is absent, or that holds a value
// of the wrong type, has its zero value here; such values and unknown fields
// are kept in Extra and written back unchanged.
type Member struct {
	Name string

	ConnURL  string // postgres://HOST:PORT/DBNAME, no credentials
	APIURL   string // http(s)://HOST:PORT/patroni
	ProxyURL string
	State    State
	Role     Role
	Version  string // level of compatibility, dotted integers

	// CheckpointPending is published after a promotion until the CHECKPOINT that
	// follows it is done (`checkpoint_after_promote: false`): nobody may rewind
	// from this member yet.
	CheckpointPending    bool
	Tags                 *Tags
	PendingRestart       bool
	PendingRestartReason *Object

	XLogLocation     LSN // primary: flushed; standby: max(received, replayed)
	ReceiveLSN       LSN
	ReplayLSN        LSN
	ReplicationState string // "streaming", "in archive recovery" or ""
	Timeline         Timeline
	ScheduledRestart *Object
	Pause            bool

	// Agent is present when the member runs Tamada.
	Agent *AgentInfo

	Extra *Object

	// Session is the lease or session that the key hangs on, as the store spells
	// it; not part of the value.
	Session string
}

// AgentInfo is the one field that Tamada adds to a member key and to the
// status document.
type AgentInfo struct {
	Version  string // version of Tamada itself
	Guardian bool   // a guardian enforces this member's lease
	// ConfigError tells that a new configuration could not be put in force and the
	// one before it still is; "" when all is well. It holds no secrets.
	ConfigError string
	// Crashes is how many agents of this member in a row have ended unexpectedly,
	// each soon after its start; 0 when the present one has lived for a while.
	Crashes int
	Extra   *Object
}

// Object is the value of the field "tamada".
func (a *AgentInfo) Object() *Object {
	o := NewObject("version", a.Version, "guardian", a.Guardian)
	addString(o, "config_error", a.ConfigError)
	if a.Crashes > 0 {
		o.Set("crashes", a.Crashes)
	}
	addExtra(o, a.Extra)
	return o
}

// ParseMember reads a member key. A value that is not a JSON object yields a
// member with nothing but its name; it stays in the list.
func ParseMember(name string, data []byte) Member {
	m := Member{Name: name}
	if strings.HasPrefix(string(data), "postgres") {
		parseAncientMember(&m, string(data))
		return m
	}
	o, err := ParseObject(data)
	if err != nil {
		return m
	}
	for k, v := range o.All() {
		if !m.setField(k, v) {
			if m.Extra == nil {
				m.Extra = &Object{}
			}
			m.Extra.Set(k, v)
		}
	}
	return m
}

// parseAncientMember reads conn_url?application_name=<api_url>.
func parseAncientMember(m *Member, text string) {
	conn, query, _ := strings.Cut(text, "?")
	m.ConnURL = conn
	if v, err := url.ParseQuery(query); err == nil {
		m.APIURL = v.Get("application_name")
	}
}

// setField takes over one field and reports whether it was understood.
func (m *Member) setField(key string, v any) bool {
	switch key {
	case "conn_url":
		return setString(&m.ConnURL, v)
	case "api_url":
		return setString(&m.APIURL, v)
	case "proxy_url":
		return setString(&m.ProxyURL, v)
	case "state":
		return setString((*string)(&m.State), v)
	case "role":
		ok := setString((*string)(&m.Role), v)
		m.Role = ParseRole(string(m.Role))
		return ok
	case "version":
		return setString(&m.Version, v)
	case "checkpoint_after_promote":
		m.CheckpointPending = v == false
		return m.CheckpointPending
	case "tags":
		return setObject(&m.Tags, v)
	case "pending_restart":
		m.PendingRestart = v == true
		return m.PendingRestart
	case "pending_restart_reason":
		return setObject(&m.PendingRestartReason, v)
	case "xlog_location":
		return setLSN(&m.XLogLocation, v)
	case "receive_lsn":
		return setLSN(&m.ReceiveLSN, v)
	case "replay_lsn":
		return setLSN(&m.ReplayLSN, v)
	case "replication_state":
		return setString(&m.ReplicationState, v)
	case "timeline":
		n, ok := uintValue(v, 32)
		m.Timeline = Timeline(n)
		return ok && n > 0
	case "scheduled_restart":
		return setObject(&m.ScheduledRestart, v)
	case "pause":
		m.Pause = v == true
		return m.Pause
	case "tamada":
		return m.setAgent(v)
	}
	return false
}

func (m *Member) setAgent(v any) bool {
	m.Agent = parseAgent(v)
	return m.Agent != nil
}

// parseAgent reads the field "tamada". Fields that a newer agent added are kept;
// without the two that are known it is not understood.
func parseAgent(v any) *AgentInfo {
	o, ok := v.(*Object)
	if !ok {
		return nil
	}
	version, ok1 := o.String("version")
	guardian, ok2 := o.Value("guardian").(bool)
	if !ok1 || !ok2 {
		return nil
	}
	a := &AgentInfo{Version: version, Guardian: guardian}
	for k, v := range o.All() {
		if k == "config_error" && setString(&a.ConfigError, v) {
			continue
		}
		if n, ok := plainInt(v); k == "crashes" && ok && n > 0 {
			a.Crashes = n
			continue
		}
		if k != "version" && k != "guardian" {
			if a.Extra == nil {
				a.Extra = &Object{}
			}
			a.Extra.Set(k, v)
		}
	}
	return a
}

// JSON is the value of the member key: the known fields in the order of the
// reference, then what else was read.
func (m *Member) JSON() []byte {
	o := &Object{}
	addString(o, "conn_url", m.ConnURL)
	addString(o, "api_url", m.APIURL)
	addString(o, "state", string(m.State))
	addString(o, "role", string(m.Role))
	addString(o, "version", m.Version)
	addString(o, "proxy_url", m.ProxyURL)
	if m.CheckpointPending {
		o.Set("checkpoint_after_promote", false)
	}
	if m.Tags.Len() > 0 {
		o.Set("tags", m.Tags)
	}
	if m.PendingRestart {
		o.Set("pending_restart", true)
	}
	if m.PendingRestartReason != nil {
		o.Set("pending_restart_reason", m.PendingRestartReason)
	}
	if m.XLogLocation > 0 {
		o.Set("xlog_location", m.XLogLocation)
	}
	if m.ReplayLSN > 0 {
		o.Set("replay_lsn", m.ReplayLSN)
	}
	if m.ReceiveLSN > 0 {
		o.Set("receive_lsn", m.ReceiveLSN)
	}
	addString(o, "replication_state", m.ReplicationState)
	if m.Timeline > 0 {
		o.Set("timeline", m.Timeline)
	}
	if m.ScheduledRestart != nil {
		o.Set("scheduled_restart", m.ScheduledRestart)
	}
	if m.Pause {
		o.Set("pause", true)
	}
	if m.Agent != nil {
		o.Set("tamada", m.Agent.Object())
	}
	for k, v := range m.Extra.All() {
		if _, known := o.Get(k); !known {
			o.Set(k, v)
		}
	}
	return Compact(o)
}

// Address is host and port of the connection URL; an IPv6 host has no
// brackets. ok is false when there is no usable URL.
func (m *Member) Address() (host string, port int, ok bool) {
	u, err := url.Parse(m.ConnURL)
	if err != nil || u.Hostname() == "" {
		return "", 0, false
	}
	port = 5432
	if p := u.Port(); p != "" {
		if port, err = strconv.Atoi(p); err != nil {
			return "", 0, false
		}
	}
	return u.Hostname(), port, true
}

// ConnURLFor builds the connection URL that a member publishes.
func ConnURLFor(host string, port int, database string) string {
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return "postgres://" + host + ":" + strconv.Itoa(port) + "/" + url.PathEscape(database)
}

// SlotName is the name of the replication slot of a member (reference
// dcs-layout.md 2.3). Two members may share one.
func SlotName(member string) string {
	var b strings.Builder
	for _, r := range strings.ToLower(member) {
		switch {
		case r >= 'a' && r <= 'z', r >= '0' && r <= '9', r == '_':
			b.WriteRune(r)
		case r == '-' || r == '.':
			b.WriteByte('_')
		default:
			n := strconv.Itoa(int(r))
			b.WriteString("u" + strings.Repeat("0", max(0, 4-len(n))) + n)
		}
	}
	s := b.String()
	return s[:min(len(s), 63)]
}

func addString(o *Object, key, v string) {
	if v != "" {
		o.Set(key, v)
	}
}

func setString(to *string, v any) bool {
	s, ok := v.(string)
	if !ok || s == "" {
		return false
	}
	*to = s
	return true
}

func setObject(to **Object, v any) bool {
	o, ok := v.(*Object)
	if !ok {
		return false
	}
	*to = o
	return true
}

func setLSN(to *LSN, v any) bool {
	n, ok := uintValue(v, 64)
	*to = LSN(n)
	return ok && n > 0
}

// uintValue reads a JSON integer that fits the given bits.
func uintValue(v any, bits int) (uint64, bool) {
	n, ok := v.(json.Number)
	if !ok {
		return 0, false
	}
	u, err := strconv.ParseUint(string(n), 10, bits)
	return u, err == nil
}
