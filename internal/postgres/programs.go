//go:build linux

package postgres

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"tamada/internal/postgres/conf"
)

// ErrProgram: a program of PostgreSQL cannot be found.
var ErrProgram = errors.New("a program of PostgreSQL is missing")

// ErrVersion: this version of PostgreSQL is not supported.
var ErrVersion = errors.New("unsupported version of PostgreSQL")

// programNames are what we run; pg_rewind and pg_waldump are looked for when
// they are needed.
var programNames = []string{"postgres", "initdb", "pg_controldata", "pg_basebackup"}

// program finds a program by its standard name. The error names the folder that
// was searched and the key that sets it.
func (s *Settings) program(name string) (string, error) {
	file := name
	if n := s.BinName[name]; n != "" {
		file = n
	}
	if s.BinDir == "" {
		path, err := exec.LookPath(file)
		if err != nil {
			return "", fmt.Errorf("%w: %s is not in PATH (%s); set postgresql.bin_dir to the folder of the PostgreSQL programs",
				ErrProgram, file, os.Getenv("PATH"))
		}
		return path, nil
	}
	path := filepath.Join(s.BinDir, file)
	if i, err := os.Stat(path); err != nil || i.IsDir() || i.Mode()&0o111 == 0 {
		return "", fmt.Errorf("%w: no executable %s in %s; correct postgresql.bin_dir", ErrProgram, file, s.BinDir)
	}
	return path, nil
}

// CheckPrograms makes sure that all programs are there and that their version
// is supported.
func (p *Instance) CheckPrograms(ctx context.Context) error {
	s := p.Settings()
	var missing []error
	for _, name := range programNames {
		if _, err := s.program(name); err != nil {
			missing = append(missing, err)
		}
	}
	if err := errors.Join(missing...); err != nil {
		return err
	}
	v, err := p.BinaryVersion(ctx)
	if err != nil {
		return err
	}
	return p.checkVersion(v)
}

// checkVersion refuses what we cannot operate.
func (p *Instance) checkVersion(v int) error {
	major := v / 10000 * 10000
	if major < minVersion || major > toleratedVersion {
		return fmt.Errorf("%w %s: versions %d to %d can be used", ErrVersion, versionText(v), minVersion/10000, maxVersion/10000)
	}
	if major > maxVersion {
		p.log.Warn("this version of PostgreSQL is newer than what was tested", "version", versionText(v), "newest", maxVersion/10000)
	}
	return nil
}

// versionText writes a version number as PostgreSQL spells it.
func versionText(v int) string {
	if v < 100000 {
		return fmt.Sprintf("%d.%d", v/10000, v/100%100)
	}
	if v%10000 == 0 {
		return strconv.Itoa(v / 10000)
	}
	return fmt.Sprintf("%d.%d", v/10000, v%10000)
}

// binaryCache keeps what a server program said about itself, as long as its
// file is the same: starting a program at every start costs time.
type binaryCache struct {
	mu      sync.Mutex
	path    string
	changed time.Time
	size    int64
	version int
	known   map[string]bool // parameters of --describe-config
	rules   conf.Rules      // as a running server said
}

// use empties the cache if the program changed.
func (c *binaryCache) use(path string) error {
	i, err := os.Stat(path)
	if err != nil {
		return err
	}
	if c.path != path || !c.changed.Equal(i.ModTime()) || c.size != i.Size() {
		c.path, c.changed, c.size = path, i.ModTime(), i.Size()
		c.version, c.known, c.rules = 0, nil, nil
	}
	return nil
}

var versionPattern = regexp.MustCompile(`\) (\d+)(?:\.(\d+))?(?:\.(\d+))?`)

// BinaryVersion is the version of the server program, as 150018.
func (p *Instance) BinaryVersion(ctx context.Context) (int, error) {
	s := p.Settings()
	path, err := s.program("postgres")
	if err != nil {
		return 0, err
	}
	p.binaries.mu.Lock()
	defer p.binaries.mu.Unlock()
	if err := p.binaries.use(path); err != nil {
		return 0, err
	}
	if p.binaries.version != 0 {
		return p.binaries.version, nil
	}
	out, err := p.output(ctx, command{what: "ask the server program for its version", path: path, args: []string{"--version"}})
	if err != nil {
		return 0, err
	}
	v, ok := parseVersion(out)
	if !ok {
		return 0, fmt.Errorf("%s --version: cannot read %q", path, strings.TrimSpace(out))
	}
	p.binaries.version = v
	return v, nil
}

// parseVersion reads "postgres (PostgreSQL) 15.18 (Debian ...)", also of a
// development version ("19beta1").
func parseVersion(out string) (int, bool) {
	m := versionPattern.FindStringSubmatch(out)
	if m == nil {
		return 0, false
	}
	major, err := strconv.Atoi(m[1])
	if err != nil || major <= 0 || major > 999 {
		return 0, false
	}
	minor, _ := strconv.Atoi(m[2])
	if major < 10 {
		patch, _ := strconv.Atoi(m[3])
		return major*10000 + minor*100 + patch, true
	}
	return major*10000 + minor, true
}

// knownParameters are the names in the output of --describe-config, in lower
// case; nil when it cannot be had.
func (p *Instance) knownParameters(ctx context.Context) map[string]bool {
	s := p.Settings()
	path, err := s.program("postgres")
	if err != nil {
		return nil
	}
	p.binaries.mu.Lock()
	defer p.binaries.mu.Unlock()
	if p.binaries.use(path) != nil {
		return nil
	}
	if p.binaries.known != nil {
		return p.binaries.known
	}
	out, err := p.output(ctx, command{what: "ask the server program for its parameters", path: path, args: []string{"--describe-config"}})
	if err != nil {
		p.log.Warn("cannot list the server's parameters, all configured ones are written", "error", err)
		return nil
	}
	known := map[string]bool{}
	for line := range strings.Lines(out) {
		if name, _, ok := strings.Cut(line, "\t"); ok {
			known[strings.ToLower(name)] = true
		}
	}
	p.binaries.known = known
	return known
}

// rules are what the server accepts for its parameters: by its own word if it
// runs, or has run since we did, else by the table of its version.
func (p *Instance) rules(ctx context.Context, version int) (rules conf.Rules, fromServer bool) {
	s := p.Settings()
	path, err := s.program("postgres")
	if err != nil {
		return conf.RulesOf(version), false
	}
	c := &p.binaries
	c.mu.Lock()
	if err := c.use(path); err == nil {
		rules = c.rules
	}
	c.mu.Unlock()
	if rules != nil {
		return rules, true
	}
	// Not under the lock: the server may take its time.
	if rules, err = p.serverRules(ctx); err != nil {
		return conf.RulesOf(version), false
	}
	c.mu.Lock()
	c.rules = rules
	c.mu.Unlock()
	return rules, true
}

// serverRules asks the running server.
func (p *Instance) serverRules(ctx context.Context) (conf.Rules, error) {
	if _, err := p.Postmaster(); err != nil {
		return nil, err
	}
	rows, err := p.query(ctx, `SELECT name, vartype, context, coalesce(unit, ''), coalesce(min_val, ''), coalesce(max_val, ''),
 coalesce(boot_val, ''), coalesce(array_to_string(enumvals, ','), '') FROM pg_settings WHERE context <> 'internal'`)
	if err != nil {
		return nil, err
	}
	rules := conf.Rules{}
	for _, r := range rows {
		c := &columns{row: r}
		rule := conf.Rule{Name: c.text(), Type: c.text(), Context: c.text(), Unit: c.text(), Min: c.text(), Max: c.text(), Default: c.text()}
		if values := c.text(); rule.Type == "enum" {
			rule.Values = strings.Split(values, ",")
		}
		if c.err != nil {
			return nil, c.err
		}
		rules[strings.ToLower(rule.Name)] = rule
	}
	if len(rules) < 100 {
		return nil, fmt.Errorf("the server lists only %d parameters", len(rules))
	}
	return rules, nil
}
