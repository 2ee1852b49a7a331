package ctl

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgconn/ctxwatch"
	"github.com/spf13/cobra"

	"tamada/internal/cluster"
)

// querier is one run of query.
type querier struct {
	*app
	group              group
	format, delimiter  string
	file, command, sql string
	role               choice
	member             string
	user, database     string
	askPassword        bool
	password           string
	watch              watching
}

func (a *app) queryCommand() *cobra.Command {
	q := querier{app: a, role: choice{"", roleNames}}
	c := a.command("query", "[OPTIONS] [CLUSTER_NAME]", "Run SQL on a member.")
	f := c.Flags()
	f.Var(&q.group, "group", "Citus group.")
	f.StringVar(&q.format, "format", "tsv", "Format of the output: pretty, tsv, json or yaml.")
	f.StringVarP(&q.file, "file", "f", "", "A file with the SQL.")
	f.BoolVar(&q.askPassword, "password", false, "Ask for the password.")
	f.StringVarP(&q.user, "username", "U", "", "User to connect as.")
	q.watch.flags(c)
	f.VarP(&q.role, "role", "r", "On the first member of this role; on the leader without it.")
	f.StringVarP(&q.member, "member", "m", "", "On this member.")
	f.StringVar(&q.delimiter, "delimiter", "\t", "What separates columns in tsv.")
	f.StringVarP(&q.command, "command", "c", "", "The SQL.")
	f.StringVarP(&q.database, "dbname", "d", "", "Database to connect to.")
	c.RunE = q.run
	return c
}

func (q *querier) run(cmd *cobra.Command, args []string) error {
	switch given := cmd.Flags(); {
	case given.Changed("role") && given.Changed("member"):
		return refuse("--role and --member are mutually exclusive options")
	case given.Changed("file") && given.Changed("command"):
		return refuse("--file and --command are mutually exclusive options")
	case !given.Changed("file") && !given.Changed("command"):
		return refuse("You need to specify either --command or --file")
	case given.Changed("file"):
		data, err := os.ReadFile(q.file)
		if err != nil {
			return fmt.Errorf("read the SQL: %w", err)
		}
		q.sql = string(data)
	default:
		q.sql = q.command
	}
	view, _, err := q.clusterOf(cmd, args, &q.group)
	if err != nil {
		return err
	}
	if q.askPassword {
		if q.password, err = q.secret(cmd.Context(), "Password: "); err != nil {
			return err
		}
	}
	member := anyMember(view, q.role.value, q.member)
	return q.watch.repeat(cmd.Context(), func() {}, func() error {
		columns, cells, failure := q.query(cmd.Context(), member)
		if cmd.Context().Err() != nil {
			return errAborted
		}
		q.show(columns, cells, failure)
		return nil
	})
}

// show prints a result, or the one row that tells of a failure. A word that is
// no format prints nothing, as with the reference's tool.
func (q *querier) show(columns []column, cells rows, failure string) {
	if failure != "" {
		now := q.Now().Format("2006-01-02 15:04:05")
		columns, cells = []column{{name: "Time"}, {name: "Error"}}, rows{{now, failure}}
	}
	switch {
	case q.format == "tsv":
		if failure == "" {
			var header []any
			for _, c := range columns {
				header = append(header, c.name)
			}
			cells = append(rows{header}, cells...)
		}
		for _, r := range cells {
			q.print(strings.Join(texts(r), q.delimiter))
		}
	case q.format == "pretty" && failure != "":
		q.print(pretty("", nil, cells))
	case q.format == "pretty", q.format == "json", q.format == "yaml", q.format == "yml":
		printTable(q.Stdout, q.format, "", columns, cells, false)
	}
}

// query runs the SQL on a new connection. The failure is what is printed
// instead of a result.
func (q *querier) query(ctx context.Context, m *cluster.Member) (columns []column, cells rows, failure string) {
	host, port, ok := "", 0, false
	if m != nil {
		host, port, ok = m.Address()
	}
	if !ok {
		return nil, nil, q.unavailable()
	}
	conn, err := q.connect(ctx, host, port)
	if err != nil {
		return nil, nil, "ERROR, SQLSTATE: " + connectFailure(err, host, port)
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if fits, err := q.fits(ctx, conn); err != nil {
		return nil, nil, sqlFailure(err)
	} else if !fits {
		return nil, nil, q.unavailable()
	}
	return execute(ctx, conn, q.sql)
}

func (q *querier) unavailable() string {
	switch {
	case q.member != "":
		return "No connection to member " + q.member + " is available"
	case q.role.value != "":
		return "No connection to role '" + q.role.value + "' is available"
	}
	return "No connection is available"
}

// connect connects as psql would: what is not given comes from the environment,
// the password file or libpq's defaults. Host and port are not passed through a
// connection string, so that nothing in them can be taken for something else.
func (q *querier) connect(ctx context.Context, host string, port int) (*pgconn.PgConn, error) {
	cfg, err := pgconn.ParseConfig(conninfo("host", host, "port", fmt.Sprint(port), "connect_timeout", "5",
		"user", q.user, "password", q.password, "dbname", q.database))
	if err != nil {
		return nil, err
	}
	if cfg.RuntimeParams["application_name"] == "" {
		cfg.RuntimeParams["application_name"] = "Patroni ctl"
	}
	// Ctrl-C ends the statement on the server too.
	cfg.BuildContextWatcherHandler = func(c *pgconn.PgConn) ctxwatch.Handler {
		return &pgconn.CancelRequestContextWatcherHandler{Conn: c, DeadlineDelay: time.Second}
	}
	return pgconn.ConnectConfig(ctx, cfg)
}

// conninfo writes keywords and values, without those that are empty.
func conninfo(pairs ...string) string {
	var b strings.Builder
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			fmt.Fprintf(&b, "%s='%s' ", pairs[i], strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(pairs[i+1]))
		}
	}
	return b.String()
}

// fits tells whether the server is what the role asks for: the store may be
// behind. The leader's role is not doubted, as it is decided by the key.
func (q *querier) fits(ctx context.Context, conn *pgconn.PgConn) (bool, error) {
	var recovery string
	switch q.role.value {
	case "primary":
		recovery = "f"
	case "standby-leader", "replica", "standby":
		recovery = "t"
	default:
		return true, nil
	}
	got, err := conn.Exec(ctx, "SELECT pg_catalog.pg_is_in_recovery()").ReadAll()
	return err == nil && string(got[0].Rows[0][0]) == recovery, err
}

// execute runs statements; the result of the last one counts.
func execute(ctx context.Context, conn *pgconn.PgConn, sql string) (columns []column, cells rows, failure string) {
	results := conn.Exec(ctx, sql)
	for results.NextResult() {
		r := results.ResultReader()
		columns, cells = nil, rows{}
		fields := r.FieldDescriptions()
		for _, f := range fields {
			columns = append(columns, column{name: f.Name})
		}
		for r.NextRow() {
			row := make([]any, len(fields))
			for i, v := range r.Values() {
				if v != nil {
					row[i] = value(fields[i].DataTypeOID, string(v))
				}
			}
			cells = append(cells, row)
		}
	}
	if err := results.Close(); err != nil {
		return nil, nil, sqlFailure(err)
	}
	if len(columns) == 0 {
		return nil, nil, "ERROR, SQLSTATE: no results to fetch"
	}
	return columns, cells, ""
}

func sqlFailure(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return "ERROR, SQLSTATE: " + pg.Code
	}
	return "ERROR, SQLSTATE: " + oneLine(err.Error())
}

func oneLine(s string) string { return strings.ReplaceAll(s, "\n", " ") }

// connectFailure is why no connection was made, in libpq's words where scripts
// may look for them. The library's own text names the user twice and more.
func connectFailure(err error, host string, port int) string {
	reason := err.Error()
	var pg *pgconn.PgError
	switch {
	case errors.As(err, &pg):
		reason = pg.Severity + ":  " + pg.Message + "\n"
	case errors.Is(err, syscall.ECONNREFUSED):
		reason = "Connection refused\n\tIs the server running on that host and accepting TCP/IP connections?\n"
	case errors.Is(err, context.DeadlineExceeded):
		reason = "timeout expired\n"
	}
	return oneLine(fmt.Sprintf("connection to server at %q, port %d failed: %s", host, port, reason))
}
