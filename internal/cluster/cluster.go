package cluster

import (
	"slices"
	"strings"
)

// Cluster is one picture of what the store holds for a scope. A nil part
// means that its key is absent or holds nothing that can be understood.
type Cluster struct {
	Initialize *Initialize
	Config     *DynamicConfig // nil: absent, or not an object
	Leader     *Leader
	Members    []Member // sorted by name
	Failover   *Failover
	Sync       *Sync
	Status     Status
	History    *History
	Failsafe   *Object // member name -> api_url
	// ConfigVersion is that of the key `config`, also of one that cannot be read; 0
	// when it is absent.
	ConfigVersion Version
	// FailsafeVersion is that of the key `failsafe`, 0 when it is absent.
	FailsafeVersion Version
	// Newest is the version of the key that was changed last, of those that are
	// there: the picture is not older than that.
	Newest Version
}

// Member returns the member of a name, nil when there is none.
func (c *Cluster) Member(name string) *Member {
	if c == nil {
		return nil
	}
	i, ok := slices.BinarySearchFunc(c.Members, name, func(m Member, n string) int { return strings.Compare(m.Name, n) })
	if !ok {
		return nil
	}
	return &c.Members[i]
}

// LeaderName is the holder of the leader key, empty when there is none.
func (c *Cluster) LeaderName() string {
	if c == nil || c.Leader == nil {
		return ""
	}
	return c.Leader.Name
}

// LeaderMember is the leader's member; it is nil when nobody leads or when the
// leader has no member key, hence no address (reference ha.md, trap 46).
func (c *Cluster) LeaderMember() *Member {
	if c == nil || c.Leader == nil {
		return nil
	}
	return c.Member(c.Leader.Name)
}

// Empty tells whether the store holds nothing at all for the scope.
func (c *Cluster) Empty() bool {
	return c == nil || c.Initialize == nil && c.Config == nil && c.Leader == nil && len(c.Members) == 0 &&
		c.Failover == nil && c.Sync == nil && c.History == nil && c.Failsafe == nil && c.Status.Version == 0
}

// Keys relative to /NAMESPACE/SCOPE/.
const (
	KeyInitialize = "initialize"
	KeyConfig     = "config"
	KeyLeader     = "leader"
	KeyFailover   = "failover"
	KeySync       = "sync"
	KeyStatus     = "status"
	KeyOptime     = "optime/leader"
	KeyHistory    = "history"
	KeyFailsafe   = "failsafe"
	KeyMembers    = "members/"
)

// Builder collects keys in any order and makes a [Cluster] of them; every
// store decodes through it, so that all of them read alike.
type Builder struct {
	c         Cluster
	optime    []byte
	hasStatus bool
}

// Add takes over one key, relative to the scope. created is the version at
// which the key was made and session the lease it hangs on; both matter for
// the leader and the members only. Keys that are not known are ignored.
func (b *Builder) Add(key string, value []byte, version, created Version, session string) {
	b.c.Newest = max(b.c.Newest, version)
	switch key {
	case KeyInitialize:
		b.c.Initialize = &Initialize{Value: string(value), Version: version}
	case KeyConfig:
		b.c.ConfigVersion = version
		if doc, err := ParseObject(value); err == nil {
			b.c.Config = &DynamicConfig{Doc: doc, Version: version}
		}
	case KeyLeader:
		if len(value) > 0 {
			b.c.Leader = &Leader{Name: string(value), Version: version, Created: created, Session: session}
		}
	case KeyFailover:
		f := ParseFailover(value)
		f.Version = version
		b.c.Failover = &f
	case KeySync:
		s := ParseSync(value)
		s.Version = version
		b.c.Sync = &s
	case KeyStatus:
		b.c.Status = ParseStatus(value)
		b.c.Status.Version = version
		b.hasStatus = true
	case KeyOptime:
		b.optime = value
	case KeyHistory:
		if h, ok := ParseHistory(value); ok {
			h.Version = version
			b.c.History = &h
		}
	case KeyFailsafe:
		b.c.FailsafeVersion = version
		if o, err := ParseObject(value); err == nil {
			b.c.Failsafe = o
		}
	default:
		name, ok := strings.CutPrefix(key, KeyMembers)
		if !ok || name == "" || strings.Contains(name, "/") {
			return
		}
		m := ParseMember(name, value)
		m.Session = session
		b.c.Members = append(b.c.Members, m)
	}
}

// AddMember takes over a member that was read before.
func (b *Builder) AddMember(m Member) { b.c.Members = append(b.c.Members, m) }

// Cluster is the picture. The builder must not be used afterwards.
func (b *Builder) Cluster() *Cluster {
	if !b.hasStatus && b.optime != nil {
		b.c.Status = ParseStatus(b.optime)
	}
	slices.SortFunc(b.c.Members, func(x, y Member) int { return strings.Compare(x.Name, y.Name) })
	return &b.c
}
