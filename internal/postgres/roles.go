//go:build linux

package postgres

import (
	"context"
	"fmt"
	"strings"
)

// quiet keeps the statements of a session out of logs, statistics and the list
// of activities: they carry passwords. The last two belong to extensions and
// are harmless without them.
const quiet = `SET log_statement TO none; SET log_duration TO off; SET log_min_duration_statement TO -1;
 SET log_min_duration_sample TO -1; SET log_transaction_sample_rate TO 0; SET log_min_error_statement TO log;
 SET track_activities TO off; SET pg_stat_statements.track_utility TO off; SET pgaudit.log TO none`

// makeRole creates a role or gives an existing one the password and options.
func (p *Instance) makeRole(ctx context.Context, user Credentials, options ...string) error {
	c, err := p.connect(ctx, connOptions{options: "-c synchronous_commit=local"})
	if err != nil {
		return err
	}
	defer closeConn(c)
	if _, err := c.Exec(ctx, quiet).ReadAll(); err != nil {
		return fmt.Errorf("prepare to make role %s: %w", user.Username, err)
	}
	if _, err := c.Exec(ctx, roleSQL(user, options)).ReadAll(); err != nil {
		return fmt.Errorf("make role %s: %w", user.Username, err)
	}
	return nil
}

func roleSQL(user Credentials, options []string) string {
	with := append([]string{"LOGIN"}, options...)
	if user.Password != "" {
		with = append(with, "PASSWORD "+quoteLiteral(user.Password))
	}
	name, rest := quoteIdent(user.Username), " WITH "+strings.Join(with, " ")
	body := `
BEGIN
 SET LOCAL synchronous_commit = 'local';
 PERFORM FROM pg_catalog.pg_authid WHERE rolname = ` + quoteLiteral(user.Username) + `;
 IF FOUND THEN
  ALTER ROLE ` + name + rest + `;
 ELSE
  CREATE ROLE ` + name + rest + `;
 END IF;
END;
`
	tag := "$tamada$"
	for i := 0; strings.Contains(body, tag); i++ {
		tag = fmt.Sprintf("$tamada%d$", i)
	}
	return "DO " + tag + body + tag
}

func quoteIdent(s string) string { return `"` + strings.ReplaceAll(s, `"`, `""`) + `"` }

// quoteLiteral is safe whatever standard_conforming_strings is.
func quoteLiteral(s string) string {
	q := `'` + strings.ReplaceAll(s, `'`, `''`) + `'`
	if strings.Contains(s, `\`) {
		return " E" + strings.ReplaceAll(q, `\`, `\\`)
	}
	return q
}
