package config

import (
	"fmt"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
)

// build checks a document and makes the typed configuration of it.
func build(doc *Document, warnings []Problem, environ []string) (*Config, error) {
	if doc.Root.Len() == 0 {
		return nil, append(Errors{emptyProblem(doc)}, warnings...)
	}
	cfg, c := check(doc, warnings, environ, false)
	if len(c.errors) > 0 {
		// A key that is missing is often there with a slip in its name.
		for _, w := range c.warnings {
			if w.Text == unknownKey {
				c.errors = append(c.errors, w)
			}
		}
		c.knownWords()
		return nil, c.errors.inOrder()
	}
	cfg.Warnings = c.warnings
	return cfg, nil
}

// knownWords gives errors that the reference has too the text by which tools and
// people know them.
func (c *checker) knownWords() {
	for i := range c.errors {
		p := &c.errors[i]
		if p.Path != "restapi.listen" {
			continue
		}
		p.Hint = `Can not find "restapi.listen" config`
		if v, _ := c.doc.value(p.Path); v != nil {
			p.Hint = `Invalid "restapi" config: expected <HOST>:<PORT> for "listen", but got "` + cluster.Text(v) + `"`
		}
	}
}

// check collects what is wrong with a document that is not empty. strict:
// what a running node would correct is an error.
func check(doc *Document, warnings []Problem, environ []string, strict bool) (*Config, *checker) {
	doc.translate()
	c := &checker{doc: doc, warnings: warnings, strict: strict}
	c.section(doc.Root, "", trees().local)
	c.joinedLines()
	c.stores(true)
	c.halves("restapi.authentication")
	c.halves("ctl.authentication")
	c.bootstrap()
	c.controlled()
	c.tags()
	c.oddities()
	cfg := typed(doc, environ)
	cfg.Store = "etcd3"
	c.stateDir(cfg)
	c.embedded(cfg)
	c.connectAddresses()
	return cfg, c
}

// joinedLines reports texts that swallowed a line of a list, for want of a blank.
func (c *checker) joinedLines() {
	for _, path := range c.doc.joined {
		const text, hint = "the text goes on in the next line, which begins with a dash", `write "- item" with a blank behind the dash, or quote the text`
		if c.strict {
			c.fail(path, text, hint)
		} else {
			c.warn(path, text, hint)
		}
	}
}

// oddities are what a node would start with and nobody can have meant.
func (c *checker) oddities() {
	if !c.strict {
		return
	}
	if v, _ := c.doc.value("postgresql.listen"); v != nil {
		s, _ := v.(string)
		if a, err := ParseAddress(s, 5432); err == nil && len(a.Hosts) > 1 && slices.Contains(a.Hosts, "*") {
			c.fail("postgresql.listen", "* stands beside other addresses, expected it alone", "it means all addresses")
		}
	}
	for _, path := range []string{"postgresql.pg_hba", "postgresql.pg_ident"} {
		if list, ok := c.listAt(path); ok && len(list) == 0 {
			c.warn(path, "is an empty list, so the file stays as it is", "remove the key, or add lines")
		}
	}
	if v, _ := c.doc.value("log.format"); v != nil {
		_, list := v.([]any)
		kind, _ := c.doc.value("log.type")
		if s, _ := kind.(string); list && !strings.EqualFold(s, "json") {
			c.warn("log.format", "is a list, which counts only where log.type is json", "")
		}
	}
	c.placeholders("", c.doc.Root)
}

func (c *checker) listAt(path string) ([]any, bool) {
	v, _ := c.doc.value(path)
	list, ok := v.([]any)
	return list, ok
}

// placeholders warns of values that generate-config left to the operator.
func (c *checker) placeholders(path string, v any) {
	switch v := v.(type) {
	case string:
		if v == "#FIXME" && !c.reported(path) {
			c.warn(path, "still says #FIXME", "only you know the value")
		}
	case []any:
		for i, e := range v {
			c.placeholders(join(path, strconv.Itoa(i)), e)
		}
	case *cluster.Object:
		for name, e := range v.All() {
			c.placeholders(join(path, name), e)
		}
	}
}

// connectAddresses warns of addresses that mean "this machine" to everybody.
func (c *checker) connectAddresses() {
	if !c.strict {
		return
	}
	for _, path := range []string{"restapi.connect_address", "postgresql.connect_address", "postgresql.proxy_address"} {
		v, _ := c.doc.value(path)
		if s, ok := v.(string); ok && !c.reported(path) {
			if err := CheckConnectAddress(s); err != nil {
				c.warn(path, fmt.Sprintf("%s reaches only this machine, other nodes will not find this one", s), "fine for a try on one machine")
			}
		}
	}
}

// buildClient checks only what a command-line tool needs.
func buildClient(doc *Document, warnings []Problem) (*Config, error) {
	doc.translate()
	c := &checker{doc: doc, warnings: warnings}
	t := trees().local
	for _, name := range []string{"name", "scope", "namespace", "ctl", "etcd3"} {
		if v := doc.Root.Value(name); v != nil {
			c.value(v, name, t.child(name))
		}
	}
	c.stores(false)
	c.halves("restapi.authentication")
	c.halves("ctl.authentication")
	if len(c.errors) > 0 {
		return nil, c.errors
	}
	cfg := typed(doc, nil)
	if doc.Root.Object("etcd3") != nil {
		cfg.Store = "etcd3"
	}
	cfg.Warnings = c.warnings
	return cfg, nil
}

// stores looks for a store's section that can be used.
func (c *checker) stores(needed bool) {
	some := false
	for _, name := range stores {
		if c.doc.Root.Value(name) == nil {
			continue
		}
		some = true
		if k := trees().local.child(name).key; !needed && k.Refused != "" {
			c.fail(name, k.Refused, "")
		}
	}
	if needed && !some {
		c.fail("etcd3", "Can not find suitable configuration of distributed configuration store",
			"Available implementations: etcd3; add a section etcd3 with hosts, or with embedded for an etcd member on this node")
	}
	o := c.doc.Root.Object("etcd3")
	if o == nil {
		return
	}
	where := false
	for _, key := range []string{"host", "hosts", "url", "proxy", "srv", "discovery_srv", "srv_domain", "embedded"} {
		where = where || cluster.Truthy(o.Value(key))
	}
	if !where {
		c.fail("etcd3", "does not tell where etcd is", "give hosts, host, url, srv, proxy or embedded")
	}
	for _, key := range []string{"url", "proxy"} {
		if s, ok := o.String(key); ok {
			if _, err := parseEtcdURL(s); err != nil {
				c.fail("etcd3."+key, err.Error(), "")
			}
		}
	}
}

// halves reports a user without a password and the other way round, also when
// one is an empty text, which the table lets pass.
func (c *checker) halves(path string) {
	v, _ := c.doc.value(path)
	o, ok := v.(*cluster.Object)
	if !ok {
		return
	}
	for _, key := range []string{"username", "password"} {
		at := join(path, key)
		if s := cluster.Text(o.Value(key)); (s == "" || o.Value(key) == nil) && !c.reported(at) {
			c.fail(at, "is missing or empty, expected a text", "both username and password are needed")
		}
	}
}

func (c *checker) reported(path string) bool {
	for _, p := range c.errors {
		if p.Path == path {
			return true
		}
	}
	return false
}

// bootstrap checks what the table cannot say of the section.
func (c *checker) bootstrap() {
	o := c.doc.Root.Object("bootstrap")
	if o == nil {
		return
	}
	if o.Object("dcs") == nil && o.Value("dcs") == nil {
		c.warn("bootstrap", "has no dcs: a new cluster begins with the default settings", "")
	}
	if o.Value("users") != nil {
		c.warn("bootstrap.users", `User creation is not be supported starting from v4.0.0. Please use "bootstrap.post_bootstrap" script to create users.`, "")
	}
	if v := o.Value("method"); v != nil && cluster.Text(v) != "initdb" && !c.reported("bootstrap.method") {
		m := cluster.Text(v)
		if _, ok := o.Object(m).String("command"); !ok {
			// The reference would silently make a new cluster where a restore was meant.
			c.fail("bootstrap.method", fmt.Sprintf("there is no section bootstrap.%s with a command", m), "")
		}
	}
	for _, problem := range Unsupported(o.Object("dcs")) {
		key, text, _ := strings.Cut(problem, ": ")
		c.notYet("bootstrap.dcs."+key, text, "")
	}
	if c.strict {
		c.dynamic(o.Object("dcs"))
		return
	}
	_, warnings, err := cluster.ParseSettingsFor(o.Object("dcs"), cluster.GuardedFloors)
	if err != nil && !c.reported("bootstrap.dcs.ttl") && !c.reported("bootstrap.dcs.loop_wait") && !c.reported("bootstrap.dcs.retry_timeout") {
		c.fail("bootstrap.dcs", err.Error(), "")
	}
	for _, w := range warnings {
		c.warn("bootstrap.dcs", w, "")
	}
}

// dynamic checks the content of bootstrap.dcs beyond the table.
func (c *checker) dynamic(doc *cluster.Object) {
	for _, p := range CheckDynamic(doc, cluster.GuardedFloors) {
		path := "bootstrap.dcs." + p.Path
		if !c.reported(path) && !slices.ContainsFunc(c.warnings, func(w Problem) bool { return w.Path == path }) {
			c.fail(path, p.Text, p.Hint)
		}
	}
	common := cluster.CommonFloors
	for key, least := range map[string]int{"ttl": common.TTL, "loop_wait": common.LoopWait, "retry_timeout": common.RetryTimeout} {
		n, ok := cluster.ParseInt(doc.Value(key), "")
		if path := "bootstrap.dcs." + key; ok && n < int64(least) && !c.reported(path) {
			c.warn(path, fmt.Sprintf("%d is below %d, which is possible only while every member of the cluster has a guardian", n, least),
				"otherwise agents raise it to "+strconv.Itoa(least))
		}
	}
}

// notYet refuses what a later version will do. It is no mistake: a validation
// only warns of it.
func (c *checker) notYet(path, text, hint string) {
	if !c.strict {
		c.fail(path, text, hint)
		return
	}
	if hint == "" {
		hint = "a node refuses to start with it"
	}
	c.warn(path, text, hint)
}

// controlled warns of parameters that count only in the store.
func (c *checker) controlled() {
	v, _ := c.doc.value("postgresql.parameters")
	o, _ := v.(*cluster.Object)
	for name := range o.All() {
		if g := findControlled(name); g != nil {
			hint := "set it in the dynamic configuration"
			if g.accept == nil {
				hint = "it comes from other keys"
			}
			c.warn("postgresql.parameters."+name, "is ignored here: it must be the same on all nodes", hint)
		}
	}
}

func (c *checker) tags() {
	_, warnings := PublishedTags(c.doc.Root.Object("tags"))
	for _, w := range warnings {
		c.warn("tags", w, "")
	}
}

// stateDir refuses a state folder within the data folder, where base backups
// and pg_rewind would carry it to other nodes and delete it here.
func (c *checker) stateDir(cfg *Config) {
	data := cfg.Postgresql.DataDir
	if data == "" || cfg.StateDir == "" {
		return
	}
	if inside(resolve(cfg.StateDir), resolve(data)) {
		c.fail("state_dir", fmt.Sprintf("%s is inside the data folder %s, expected a folder outside of it", cfg.StateDir, data), "")
	}
}

func (c *checker) embedded(cfg *Config) {
	if cfg.Etcd3.Embedded == nil {
		return
	}
	v, _ := c.doc.value("etcd3.embedded.initial_cluster")
	if _, problem := peers(v); problem != "" && v != nil {
		c.fail("etcd3.embedded.initial_cluster", problem, "write NAME: HOST:PORT for each etcd member")
	}
	if dir := cfg.Etcd3.Embedded.DataDir; dir != "" && cfg.Postgresql.DataDir != "" && inside(resolve(dir), resolve(cfg.Postgresql.DataDir)) {
		c.fail("etcd3.embedded.data_dir", dir+" is inside PostgreSQL's data folder", "")
	}
}

// resolve makes a path absolute and follows links as far as it exists.
func resolve(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	rest := ""
	for dir := path; ; dir = filepath.Dir(dir) {
		if real, err := filepath.EvalSymlinks(dir); err == nil {
			return filepath.Join(real, rest)
		}
		if dir == filepath.Dir(dir) {
			return path
		}
		rest = filepath.Join(filepath.Base(dir), rest)
	}
}

func inside(path, folder string) bool {
	rel, err := filepath.Rel(folder, path)
	return err == nil && rel != ".." && !strings.HasPrefix(rel, "../")
}
