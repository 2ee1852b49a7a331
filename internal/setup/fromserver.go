package setup

import (
	"context"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tamada/internal/cluster"
	"tamada/internal/postgres/conf"
)

// credentialSettings are the connection settings of a user that a configuration
// has, with the keyword of libpq, the variable that stands for it, and the
// version that brought it.
var credentialSettings = []struct {
	key, keyword, variable string
	since                  int
}{
	{"username", "user", "PGUSER", 0}, {"password", "password", "PGPASSWORD", 0},
	{"sslmode", "sslmode", "PGSSLMODE", 0}, {"sslcert", "sslcert", "PGSSLCERT", 0}, {"sslkey", "sslkey", "PGSSLKEY", 0},
	{"sslrootcert", "sslrootcert", "PGSSLROOTCERT", 0}, {"sslcrl", "sslcrl", "PGSSLCRL", 0}, {"sslcrldir", "sslcrldir", "PGSSLCRLDIR", 140000},
	{"sslpassword", "sslpassword", "", 130000}, {"gssencmode", "gssencmode", "PGGSSENCMODE", 120000},
	{"channel_binding", "channel_binding", "PGCHANNELBINDING", 130000}, {"sslnegotiation", "sslnegotiation", "PGSSLNEGOTIATION", 170000},
}

// FromServer is the configuration for a PostgreSQL that runs on this machine, so
// that the agent can take it over (reference configuration.md 5.4). notes are for
// the operator: what could not be kept.
func FromServer(ctx context.Context, o GenerateOptions) (text string, notes []string, err error) {
	credentials, err := givenCredentials(o)
	if err != nil {
		return "", nil, err
	}
	cfg, err := pgconn.ParseConfig(o.DSN)
	if err != nil {
		return "", nil, refuse("Failed to parse DSN string") // its error would repeat the string, password and all
	}
	cfg.User = credentials["username"]
	if credentials["password"] == "" && cfg.Password == "" && o.Password != nil {
		if credentials["password"], err = o.Password(); err != nil {
			return "", nil, err
		}
	}
	if p := credentials["password"]; p != "" {
		cfg.Password = p
	} else {
		credentials["password"] = cfg.Password // of the password file
	}
	if cfg.Database == "" {
		cfg.Database = "postgres"
	}
	cfg.ConnectTimeout = 10 * time.Second
	s, err := readServer(ctx, cfg)
	if err != nil {
		return "", nil, err
	}
	doc := template()
	lost := s.fill(doc, credentials)
	for _, l := range lost {
		notes = append(notes, l+" cannot stay: a default is used, which needs a restart of PostgreSQL")
	}
	return finish(doc, environment(o.Environ), o), notes, nil
}

// givenCredentials are the superuser's connection settings: of the connection
// string, else of libpq's variables. Without a name it is the user of the
// operating system.
func givenCredentials(o GenerateOptions) (map[string]string, error) {
	given := map[string]string{}
	if o.DSN != "" {
		m, err := parseDSN(o.DSN)
		if err != nil {
			return nil, refuse("Failed to parse DSN string")
		}
		for _, c := range credentialSettings {
			if m[c.keyword] != "" {
				given[c.key] = m[c.keyword]
			}
		}
	} else {
		for _, c := range credentialSettings {
			if v := variable(o.Environ, c.variable); v != "" {
				given[c.key] = v
			}
		}
	}
	if given["username"] == "" {
		u, err := user.Current()
		if err != nil {
			return nil, err
		}
		given["username"] = u.Username
	}
	return given, nil
}

func variable(environ []string, name string) string {
	for _, e := range environ {
		if v, ok := strings.CutPrefix(e, name+"="); ok && name != "" {
			return v
		}
	}
	return ""
}

// parseDSN reads both forms of a connection string.
func parseDSN(dsn string) (map[string]string, error) {
	if !strings.HasPrefix(dsn, "postgres://") && !strings.HasPrefix(dsn, "postgresql://") {
		return conf.ParseConninfo(dsn)
	}
	u, err := url.Parse(dsn)
	if err != nil {
		return nil, err
	}
	m := map[string]string{"user": u.User.Username()}
	m["password"], _ = u.User.Password()
	for k, v := range u.Query() {
		m[k] = v[0]
	}
	return m, nil
}

// server is what a running PostgreSQL says of itself.
type server struct {
	version   int
	settings  map[string]string
	checksums bool
}

const settingsQuery = `SELECT name, current_setting(name) FROM pg_settings
 WHERE context <> 'internal' AND source IN ('configuration file', 'command line', 'environment variable')
   AND category <> 'Write-Ahead Log / Recovery Target' AND setting <> '(disabled)'
   AND name NOT LIKE 'lc\_messages' OR name = ANY(string_to_array($1, ','))`

func readServer(ctx context.Context, cfg *pgconn.Config) (s server, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	conn, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return s, refuse("Failed to establish PostgreSQL connection: %w", err)
	}
	defer conn.Close(ctx)
	ask := func(sql string, params ...[]byte) [][][]byte {
		if err != nil {
			return nil
		}
		r := conn.ExecParams(ctx, sql, params, nil, nil, nil).Read()
		if r.Err != nil {
			err = refuse("Unexpected exception: %w", r.Err)
		}
		return r.Rows
	}
	first := ask("SELECT current_setting('server_version_num'), current_setting('is_superuser'), current_setting('data_checksums')")
	if err != nil || len(first) != 1 {
		return s, err
	}
	if string(first[0][1]) != "on" {
		return s, errNotSuperuser
	}
	s.version, _ = strconv.Atoi(string(first[0][0]))
	s.checksums = string(first[0][2]) == "on"
	wanted := append(conf.Controlled(), "data_directory", "hba_file", "ident_file", "config_file")
	s.settings = map[string]string{}
	for _, row := range ask(settingsQuery, []byte(strings.Join(wanted, ","))) {
		s.settings[string(row[0])] = string(row[1])
	}
	return s, err
}

// fill puts what the server says into the template; lost are parameters whose
// value the agent does not accept.
func (s server) fill(doc *cluster.Object, credentials map[string]string) (lost []string) {
	dataDir := s.settings["data_directory"]
	pg := doc.Object("postgresql")
	pg.Set("data_dir", dataDir)
	pg.Set("bin_dir", binDirOf(dataDir))
	if n := s.settings["cluster_name"]; n != "" {
		doc.Set("scope", n)
	}
	port, listen := s.settings["port"], s.settings["listen_addresses"]
	if listen == "" {
		listen = "localhost" // sockets only; the others need TCP
	}
	pg.Set("listen", listen+":"+port)
	host := text(doc, "postgresql.connect_address")
	if i := strings.LastIndexByte(host, ':'); i >= 0 {
		pg.Set("connect_address", host[:i]+":"+port)
	}
	superuser := &cluster.Object{}
	for _, c := range credentialSettings {
		if v := credentials[c.key]; v != "" && s.version >= c.since {
			superuser.Set(c.key, v)
		}
	}
	if credentials["password"] == "" {
		superuser.Set("password", fixMe)
	}
	pg.Set("authentication", cluster.NewObject("superuser", superuser,
		"replication", cluster.NewObject("username", fixMe, "password", fixMe)))
	local, dynamic, lost := placeParameters(s.settings)
	if local.Len() > 0 {
		pg.Set("parameters", local)
	}
	dcs := doc.Object("bootstrap").Object("dcs").Object("postgresql")
	dcs.Set("parameters", dynamic)
	dcs.Set("use_pg_rewind", s.checksums || s.settings["wal_log_hints"] == "on")
	for _, f := range []struct{ guc, key string }{{"hba_file", "pg_hba"}, {"ident_file", "pg_ident"}} {
		file := s.settings[f.guc]
		if file != defaultFile(dataDir, f.guc) {
			continue
		}
		if lines := linesOf(file); len(lines) > 0 {
			pg.Set(f.key, lines)
		}
	}
	return lost
}

// linesOf are the lines of a file that say something.
func linesOf(file string) (lines []any) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil
	}
	for line := range strings.Lines(string(b)) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' {
			lines = append(lines, line)
		}
	}
	return lines
}

// binDirOf is the folder of the program that serves a data folder.
func binDirOf(dataDir string) string {
	b, err := os.ReadFile(filepath.Join(dataDir, "postmaster.pid"))
	if err != nil {
		return ""
	}
	pid, _, _ := strings.Cut(string(b), "\n")
	exe, err := os.Readlink(filepath.Join("/proc", strings.TrimSpace(pid), "exe"))
	if err != nil {
		return ""
	}
	return filepath.Dir(exe)
}
