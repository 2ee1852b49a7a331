//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"tamada/internal/postgres/conf"
	"tamada/internal/postgres/proc"
)

const (
	connectTimeout = 3 * time.Second
	// queryTimeout is the server's statement_timeout on kept connections, and
	// answerTimeout is when we stop waiting for a server that does not keep it.
	queryTimeout  = 2 * time.Second
	answerTimeout = 3 * time.Second
)

// SQLState is the server's code of an error, "" when the error is not the
// server's.
func SQLState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}

// link is one kept connection. mu guards it and serialises its use.
type link struct {
	mu       sync.Mutex
	conn     *pgconn.PgConn
	prepared map[string]bool
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.drop()
}

// drop closes the connection; the caller holds mu.
func (l *link) drop() {
	if l.conn == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
	defer cancel()
	_ = l.conn.Close(ctx)
	l.conn, l.prepared = nil, nil
}

// closeLinks gives up all kept connections, as before each start: what is left
// of a server that was killed answers nobody.
func (p *Instance) closeLinks() {
	for _, l := range p.links {
		l.close()
	}
}

// with runs f on a kept connection and opens it if needed. When the connection
// turns out to be broken f is run once more on a new one.
func (p *Instance) with(ctx context.Context, purpose Purpose, f func(context.Context, *link) error) error {
	l := p.links[purpose]
	l.mu.Lock()
	defer l.mu.Unlock()
	for try := 0; ; try++ {
		fresh := l.conn == nil || l.conn.IsClosed()
		if fresh {
			l.drop()
			c, err := p.connect(ctx, connOptions{purpose: purpose, timeout: queryTimeout})
			if err != nil {
				return err
			}
			p.log.Info("establishing a new patroni " + string(purpose) + " connection to postgres")
			l.conn, l.prepared = c, map[string]bool{}
		}
		qctx, cancel := context.WithTimeout(ctx, answerTimeout)
		err := f(qctx, l)
		cancel()
		if err == nil {
			return nil
		}
		if SQLState(err) != "" && !l.conn.IsClosed() {
			return err
		}
		// Broken, or in an unknown state because the answer did not come in time.
		l.drop()
		if fresh || try > 0 || ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded) {
			return err
		}
	}
}

// row runs a prepared statement that returns one row and copies its values;
// NULL is nil. The caller holds the link.
func (l *link) row(ctx context.Context, name, sql string, params ...string) ([][]byte, error) {
	rows, err := l.rows(ctx, name, sql, params...)
	if err != nil {
		return nil, err
	}
	if len(rows) != 1 {
		return nil, fmt.Errorf("the query returned %d rows instead of one", len(rows))
	}
	return rows[0], nil
}

func (l *link) rows(ctx context.Context, name, sql string, params ...string) ([][][]byte, error) {
	if !l.prepared[name] {
		if _, err := l.conn.Prepare(ctx, name, sql, nil); err != nil {
			return nil, err
		}
		l.prepared[name] = true
	}
	r := l.conn.ExecPrepared(ctx, name, bytesOf(params), nil, nil).Read()
	return r.Rows, r.Err
}

func bytesOf(params []string) [][]byte {
	values := make([][]byte, len(params))
	for i, s := range params {
		values[i] = []byte(s)
	}
	return values
}

// query runs one statement on the heartbeat connection and returns its rows.
func (p *Instance) query(ctx context.Context, sql string, params ...string) (rows [][][]byte, err error) {
	err = p.with(ctx, Heartbeat, func(ctx context.Context, l *link) error {
		r := l.conn.ExecParams(ctx, sql, bytesOf(params), nil, nil, nil).Read()
		rows = r.Rows
		return r.Err
	})
	return rows, err
}

// connOptions say what a connection is for. Zero values mean: local server,
// superuser, our database.
type connOptions struct {
	purpose     Purpose // part of application_name
	replication bool    // a physical replication connection
	user        *Credentials
	host, port  string // another server's
	database    string
	readWrite   bool          // only a server that accepts writes
	timeout     time.Duration // statement_timeout; 0: none
	options     string        // further -c options
}

// connect opens a connection. Errors never have the password: pgconn names user
// and database only.
func (p *Instance) connect(ctx context.Context, o connOptions) (*pgconn.PgConn, error) {
	cfg, err := p.connConfig(o)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	return pgconn.ConnectConfig(ctx, cfg)
}

func (p *Instance) connConfig(o connOptions) (*pgconn.Config, error) {
	s := p.Settings()
	user := s.Superuser
	if o.user != nil {
		user = *o.user
	}
	m := user.keywords()
	m["host"], m["port"] = o.host, o.port
	if o.host == "" {
		m["host"], m["port"] = p.localAddress(s.UseUnixSocket && !o.replication || s.UseUnixSocketRepl && o.replication)
	}
	m["dbname"] = o.database
	if o.database == "" {
		m["dbname"] = s.database()
	}
	// What pgx does not know it would send to the server as a parameter.
	for _, k := range []string{"sslcrl", "sslcrldir", "gssencmode"} {
		delete(m, k)
	}
	if o.readWrite {
		m["target_session_attrs"] = "read-write"
	}
	cfg, err := pgconn.ParseConfig(conf.Conninfo(m, toleratedVersion))
	if err != nil {
		return nil, errors.New("the connection settings for user " + user.Username + " cannot be used; check postgresql.authentication")
	}
	cfg.RuntimeParams["application_name"] = "Patroni"
	if o.purpose != "" {
		cfg.RuntimeParams["application_name"] = "Patroni " + string(o.purpose)
	}
	if o.replication {
		cfg.RuntimeParams["replication"] = "1"
		return cfg, nil
	}
	options := []string{"-c search_path=pg_catalog", "-c pg_stat_statements.track=none"}
	if o.timeout > 0 {
		options = append(options, "-c statement_timeout="+strconv.FormatInt(o.timeout.Milliseconds(), 10))
	} else {
		options = append(options, "-c statement_timeout=0")
	}
	if o.options != "" {
		options = append(options, o.options)
	}
	cfg.RuntimeParams["options"] = strings.Join(options, " ")
	return cfg, nil
}

// localAddress is where the local server is reached; host "" means the
// default socket folder. What runs is asked first (postmaster.pid): a changed
// address in the configuration counts from the next start (reference
// configuration.md 4.7).
func (p *Instance) localAddress(unixSocket bool) (host, port string) {
	s := p.Settings()
	n := s.Port
	if n == 0 {
		n = 5432
	}
	f, err := proc.ReadPidFile(s.DataDir)
	running := err == nil && f.Port > 0
	if running {
		n = f.Port
	}
	port = strconv.Itoa(n)
	if unixSocket {
		if running && strings.HasPrefix(f.SocketDir, "/") {
			return f.SocketDir, port
		}
		dirs, set := s.parameter("unix_socket_directories")
		if !set {
			return "", port
		}
		for d := range strings.SplitSeq(dirs, ",") {
			if d = strings.Trim(strings.TrimSpace(d), `"'`); strings.HasPrefix(d, "/") {
				return d, port
			}
		}
	}
	listen := s.ListenAddresses
	if running && f.Listen != "" && !slices.Contains(splitList(listen), f.Listen) {
		listen = f.Listen
	}
	return localHost(listen), port
}

// localHost picks from listen_addresses what a local client uses.
func localHost(listen string) string {
	list := splitList(listen)
	for _, a := range list {
		switch a {
		case "*", "localhost", "0.0.0.0", "127.0.0.1":
			return "localhost"
		}
	}
	if len(list) > 0 && list[0] != "" {
		return list[0]
	}
	return "localhost"
}

func splitList(s string) []string {
	var list []string
	for x := range strings.SplitSeq(s, ",") {
		list = append(list, strings.TrimSpace(x))
	}
	return list
}

// ConnURL is what the member publishes: postgres://HOST:PORT/DATABASE, without
// credentials.
func (p *Instance) ConnURL() string {
	s := p.Settings()
	host := s.ConnectAddress
	if host == "" {
		h := localHost(s.ListenAddresses)
		if strings.Contains(h, ":") {
			h = "[" + h + "]"
		}
		host = h + ":" + strconv.Itoa(s.Port)
	}
	return "postgres://" + host + "/" + s.database()
}
