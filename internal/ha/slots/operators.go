package slots

import "tamada/internal/cluster"

// ofOperators are the slots that the dynamic configuration takes out of our
// hands. They keep WAL for somebody whom we do not see, such as an archiver or
// another cluster: one that is dropped cannot be got again.
type ofOperators struct {
	permanent map[string]bool // by name
	matchers  []*cluster.Object
}

// operators reads `slots` and `ignore_slots` from the store's document itself,
// whether it is in force or not: a document that was refused because of its
// permanent slots must not be the reason why they are dropped.
func operators(c *cluster.Cluster) ofOperators {
	o := ofOperators{permanent: map[string]bool{}}
	if c == nil || c.Config == nil {
		return o
	}
	for _, key := range []string{"permanent_replication_slots", "permanent_slots", "slots"} {
		for name := range c.Config.Doc.Object(key).All() {
			o.permanent[name] = true
		}
	}
	list, _ := c.Config.Doc.Value("ignore_slots").([]any)
	for _, m := range list {
		if m, ok := m.(*cluster.Object); ok {
			o.matchers = append(o.matchers, m)
		}
	}
	return o
}

// ignored tells whether a matcher of ignore_slots fits (reference
// configuration.md 3.3): what it does not name fits any slot. Logical slots, of
// which alone database and plugin are known, are not ours in any case.
func (o ofOperators) ignored(s Slot) bool {
	kind := "logical"
	if s.Physical {
		kind = "physical"
	}
	for _, m := range o.matchers {
		name, named := m.Get("name")
		if named && cluster.Text(name) != s.Name || !fits(m, "type", kind) {
			continue
		}
		if !s.Physical || fits(m, "database", "") && fits(m, "plugin", "") {
			return true
		}
	}
	return false
}

// fits tells whether a matcher says nothing about a property, or what it is.
func fits(m *cluster.Object, key, value string) bool {
	v := m.Value(key)
	return !cluster.Truthy(v) || cluster.Text(v) == value
}
