package setup

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"tamada/internal/cluster"
	"tamada/internal/config"
	"tamada/internal/postgres/conf"
)

// ValidateOptions are those of `tamada validate`.
type ValidateOptions struct {
	IgnoreListenPort bool // a port in use is no mistake: the node runs
	Connect          bool // try to reach stores and hosts
}

// Validate checks a configuration, and the machine against it. Several paths are
// merged as the files of a folder are; without any the environment is the
// source.
func Validate(paths, environ []string, o ValidateOptions) *config.Report {
	r := config.Validate(paths, environ)
	if r.Config == nil {
		return r
	}
	v := &validation{r: r, cfg: r.Config}
	v.programs()
	v.folders()
	v.files()
	v.parameters()
	if !o.IgnoreListenPort {
		v.ports()
	}
	if o.Connect {
		v.connect()
	}
	r.Sort()
	return r
}

// WriteReport prints what was found: lines for people, or one JSON document.
func WriteReport(w io.Writer, r *config.Report, format string) error {
	if format == "json" {
		return writeJSON(w, r)
	}
	for _, p := range r.Errors {
		if _, err := fmt.Fprintln(w, "error:", p); err != nil {
			return err
		}
	}
	for _, p := range r.Warnings {
		if _, err := fmt.Fprintln(w, "warning:", p); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(w io.Writer, r *config.Report) error {
	type finding struct {
		File    string `json:"file"`
		Line    int    `json:"line,omitempty"`
		Column  int    `json:"column,omitempty"`
		Key     string `json:"key,omitempty"`
		Message string `json:"message"`
		// What of the message is what was found, what is expected, and what was
		// probably meant.
		Found    string `json:"found,omitempty"`
		Expected string `json:"expected,omitempty"`
		Meant    string `json:"meant,omitempty"`
		Hint     string `json:"hint,omitempty"`
	}
	list := func(problems []config.Problem) []finding {
		all := []finding{}
		for _, p := range problems {
			f := finding{File: p.Pos.Source, Line: p.Pos.Line, Column: p.Pos.Column, Key: p.Path, Message: p.Text, Hint: p.Hint}
			if i := strings.LastIndex(p.Text, ", expected "); i >= 0 {
				f.Found, f.Expected = strings.TrimPrefix(p.Text[:i], "found "), p.Text[i+len(", expected "):]
				if f.Found == "is missing" {
					f.Found = "nothing"
				}
			}
			if meant, ok := strings.CutPrefix(p.Hint, "did you mean "); ok {
				f.Meant, _, _ = strings.Cut(meant, "?")
			}
			all = append(all, f)
		}
		return all
	}
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(map[string]any{"valid": len(r.Errors) == 0, "errors": list(r.Errors), "warnings": list(r.Warnings)})
}

// validation is one run against the machine. A key that is wrong in itself was
// reported before, and has its default here.
type validation struct {
	r       *config.Report
	cfg     *config.Config
	machine machine
	version int // of PostgreSQL, 0 when unknown
}

func (v *validation) reported(path string) bool {
	return slices.ContainsFunc(v.r.Errors, func(p config.Problem) bool { return p.Path == path })
}

// programs looks for PostgreSQL's programs and asks for their version.
func (v *validation) programs() {
	pg := &v.cfg.Postgresql
	const key = "postgresql.bin_dir"
	if pg.BinDir != "" {
		if i, err := os.Stat(pg.BinDir); err != nil || !i.IsDir() {
			v.r.Fail(key, fmt.Sprintf("there is no folder %s", pg.BinDir), "give the folder of PostgreSQL's programs"+installed())
			return
		}
	}
	var missing []string
	for _, p := range neededPrograms {
		if v.machine.program(pg.BinDir, pg.BinName[p]) == "" {
			missing = append(missing, pg.BinName[p])
		}
	}
	where := pg.BinDir
	if where == "" {
		where = "$PATH"
	}
	if len(missing) > 0 {
		v.r.Fail(key, fmt.Sprintf("%s is missing in %s", strings.Join(missing, ", "), where), "set it to the folder of PostgreSQL's programs"+installed())
	}
	if v.machine.program(pg.BinDir, pg.BinName["pg_rewind"]) == "" && pg.UsePgRewind {
		v.r.Warn(key, "there is no "+pg.BinName["pg_rewind"]+" in "+where+", so use_pg_rewind can do nothing", "")
	}
	path := v.machine.program(pg.BinDir, pg.BinName["postgres"])
	if path == "" {
		return
	}
	version, _, err := v.machine.version(path)
	switch {
	case err != nil:
		v.r.Fail(key, err.Error(), "")
	case version < 130000:
		v.r.Fail(key, fmt.Sprintf("PostgreSQL %d in %s is too old, expected 13 to 18", version/10000, filepath.Dir(path)), "")
	default:
		v.version = version
	}
}

// installed names the folders with PostgreSQL's programs that are there.
func installed() string {
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	more, _ := filepath.Glob("/usr/pgsql-*/bin")
	if dirs = append(dirs, more...); len(dirs) == 0 {
		return ""
	}
	return ", such as " + strings.Join(dirs, " or ")
}

// folders looks at the data folder.
func (v *validation) folders() {
	dir := v.cfg.Postgresql.DataDir
	const key = "postgresql.data_dir"
	if dir == "" || v.reported(key) {
		return
	}
	if !filepath.IsAbs(dir) {
		v.r.Warn(key, dir+" is relative to the folder in which the agent is started", "write the whole path")
	}
	switch text := v.dataDir(dir); {
	case text == "":
	case strings.HasPrefix(text, "is not a"):
		v.r.Fail(key, dir+" "+text, "")
	default:
		v.r.Fail(key, dir+": "+text, "nothing is ever deleted there by itself: empty the folder, or name another one")
	}
}

func (v *validation) dataDir(dir string) string {
	s := strict{doc: v.cfg.Doc}
	if _, err := os.ReadDir(dir); errors.Is(err, fs.ErrPermission) {
		return "" // somebody else's for this user; the node runs as another
	}
	return s.dataDir(dir)
}

// files looks for the files that the configuration names.
func (v *validation) files() {
	for _, key := range []string{"restapi.certfile", "restapi.keyfile", "restapi.cafile", "ctl.cacert", "ctl.certfile", "ctl.keyfile",
		"etcd3.cacert", "etcd3.cert", "etcd3.key", "etcd3.embedded.cacert", "etcd3.embedded.cert", "etcd3.embedded.key", "postgresql.custom_conf"} {
		file := text(v.cfg.Doc, key)
		if file == "" {
			continue
		}
		if key == "postgresql.custom_conf" && !filepath.IsAbs(file) {
			file = filepath.Join(v.cfg.Postgresql.ConfigDir, file)
		}
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
			v.r.Fail(key, "there is no file "+file, "")
		}
	}
	if p := v.cfg.Postgresql.PgPass; p != "" {
		if i, err := os.Stat(p); err == nil && i.IsDir() {
			v.r.Fail("postgresql.pgpass", p+" is a folder, expected the path of a file", "")
		}
	}
}

// text is the text of a dotted key, "" when there is none.
func text(doc *cluster.Object, path string) string {
	names := strings.Split(path, ".")
	for _, n := range names[:len(names)-1] {
		doc = doc.Object(n)
	}
	s, _ := doc.String(names[len(names)-1])
	return s
}

// parameters checks PostgreSQL's parameters against the version that is
// installed.
func (v *validation) parameters() {
	if v.version == 0 {
		return
	}
	rules := conf.RulesOf(v.version)
	local, dynamic := v.cfg.Doc.Object("postgresql"), v.cfg.Doc.Object("bootstrap").Object("dcs").Object("postgresql")
	for _, section := range []string{"parameters", "parameters_primary", "parameters_replica", "parameters_standby_leader"} {
		v.checkParameters("postgresql."+section, local.Object(section), rules)
		v.checkParameters("bootstrap.dcs.postgresql."+section, dynamic.Object(section), rules)
	}
}

func (v *validation) checkParameters(path string, o *cluster.Object, rules conf.Rules) {
	controlled := conf.Controlled()
	for name, value := range o.All() {
		key := join(path, name)
		if value == nil || v.reported(key) || conf.IsRecovery(name) || slices.Contains(controlled, strings.ToLower(name)) {
			continue
		}
		rule, ok := rules.Get(name)
		if !ok {
			if !strings.Contains(name, ".") {
				v.r.Warn(key, fmt.Sprintf("PostgreSQL %d has no such parameter", v.version/10000), nearParameter(name, rules))
			}
			continue
		}
		switch value := value.(type) {
		case *cluster.Object, []any:
			v.r.Fail(key, "found something else than a plain value, expected "+rule.Expected(), "")
		default:
			if verdict, _ := rule.Check(cluster.Text(value)); verdict != conf.ValueGood {
				v.r.Fail(key, fmt.Sprintf("found %s, expected %s", cluster.Text(value), rule.Expected()), "agents would correct it or leave it out")
			}
		}
	}
}

func nearParameter(name string, rules conf.Rules) string {
	near := config.Nearest(strings.ToLower(name), slices.Collect(maps.Keys(rules)))
	if near == "" {
		return "agents leave it out"
	}
	return "did you mean " + near + "?"
}

// ports looks whether somebody listens already.
func (v *validation) ports() {
	listening := func(key string, a config.Address) {
		if v.reported(key) || a.Port == 0 {
			return
		}
		hosts := a.Hosts
		if slices.Contains(hosts, "*") || slices.Contains(hosts, "0.0.0.0") || slices.Contains(hosts, "") {
			hosts = []string{"127.0.0.1"}
		}
		for _, h := range hosts {
			if dial(h, a.Port) == nil {
				v.r.Fail(key, fmt.Sprintf("port %d of %s is in use", a.Port, h), "choose another, or say --ignore-listen-port if it is this node that runs")
				return
			}
		}
	}
	listening("restapi.listen", v.cfg.RestAPI.Listen)
	listening("postgresql.listen", v.cfg.Postgresql.Listen)
	if e := v.cfg.Etcd3.Embedded; e != nil {
		listening("etcd3.embedded.peer", e.Peer)
		listening("etcd3.embedded.client", e.Client)
	}
}

// connect tries what other machines offer.
func (v *validation) connect() {
	try := func(key, address string) {
		if address == "" || v.reported(key) {
			return
		}
		a, err := config.ParseAddress(address, 0)
		if err != nil || len(a.Hosts) == 0 {
			return
		}
		if err := dial(a.Hosts[0], a.Port); err != nil {
			v.r.Fail(key, address+" cannot be reached: "+err.Error(), "")
		}
	}
	hosts := "etcd3.hosts"
	if v.cfg.Doc.Object("etcd3").Value("hosts") == nil {
		hosts = "etcd3"
	}
	for _, h := range v.cfg.Etcd3.Hosts {
		try(hosts, h)
	}
	try("etcd3.proxy", v.cfg.Etcd3.Proxy)
	standby := v.cfg.Doc.Object("bootstrap").Object("dcs").Object("standby_cluster")
	if s, ok := standby.String("host"); ok {
		port := cluster.Text(standby.Value("port"))
		if _, err := strconv.Atoi(port); err != nil {
			port = "5432"
		}
		for h := range strings.SplitSeq(s, ",") {
			try("bootstrap.dcs.standby_cluster.host", strings.TrimSpace(h)+":"+port)
		}
	}
}
