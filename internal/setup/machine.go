package setup

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

const (
	connectTimeout = 2 * time.Second
	programTimeout = 10 * time.Second
)

// machine is what the checks ask of the machine they run on. Its answers are
// texts as the reference has them, "" for no objection.
type machine struct{}

func dial(host string, port int) error {
	c, err := net.DialTimeout("tcp", net.JoinHostPort(host, strconv.Itoa(port)), connectTimeout)
	if err == nil {
		c.Close()
	}
	return err
}

// reachable tries to connect. A missing port is taken for 1, as in the
// reference.
func (machine) reachable(hostPort string) string {
	a, err := config.ParseAddress(hostPort, 1)
	if err != nil || len(a.Hosts) != 1 || a.Hosts[0] == "" {
		return "contains a wrong value"
	}
	err = dial(a.Hosts[0], a.Port)
	var dns *net.DNSError
	switch {
	case errors.As(err, &dns):
		return "[Errno -2] Name or service not known"
	case err != nil:
		return hostPort + " is not reachable"
	}
	return ""
}

// listen checks an address to listen on: nobody may answer there. The reference
// connects and does not bind (configuration.md, trap 22).
func (machine) listen(address string, several, ignorePort bool) string {
	a, err := config.ParseAddress(address, 1)
	if err != nil || !several && len(a.Hosts) != 1 {
		return "contains a wrong value"
	}
	hosts := a.Hosts
	if slices.Contains(hosts, "*") {
		if len(hosts) > 1 {
			return "expecting '*' alone"
		}
		hosts = localAddresses()
	}
	for _, h := range hosts {
		if h == "" {
			h = "127.0.0.1"
		}
		if !ignorePort && dial(h, a.Port) == nil {
			return fmt.Sprintf("Port %d is already in use.", a.Port)
		}
	}
	return ""
}

func localAddresses() (list []string) {
	all, _ := net.InterfaceAddrs()
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLinkLocalUnicast() {
			list = append(list, n.IP.String())
		}
	}
	return list
}

// program is the path of an executable in a folder, or in $PATH when dir is
// empty; "" when there is none.
func (machine) program(dir, name string) string {
	if dir == "" {
		path, err := exec.LookPath(name)
		if err != nil {
			return ""
		}
		return path
	}
	path := filepath.Join(dir, name)
	if i, err := os.Stat(path); err != nil || i.IsDir() || i.Mode()&0o111 == 0 {
		return ""
	}
	return path
}

var versionPattern = regexp.MustCompile(`\) (\d+)(?:\.(\d+))?`)

// version asks a server program for its version: 150018, and its major part as
// PG_VERSION spells it.
func (machine) version(path string) (n int, major string, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	out, err := exec.CommandContext(ctx, path, "--version").Output()
	if err != nil {
		return 0, "", fmt.Errorf("%s --version: %w", path, err)
	}
	m := versionPattern.FindStringSubmatch(string(out))
	if m == nil {
		return 0, "", fmt.Errorf("%s --version: cannot read %q", path, strings.TrimSpace(string(out)))
	}
	a, _ := strconv.Atoi(m[1])
	b, _ := strconv.Atoi(m[2])
	if a < 10 {
		return a*10000 + b*100, fmt.Sprintf("%d.%d", a, b), nil
	}
	return a*10000 + b, strconv.Itoa(a), nil
}

// neededPrograms have to be there; pg_rewind may be missing.
var neededPrograms = []string{"pg_ctl", "initdb", "pg_controldata", "pg_basebackup", "postgres", "pg_isready"}

// programName is the name of a program here, after bin_name.
func programName(doc *cluster.Object, program string) string {
	if n, ok := doc.Object("postgresql").Object("bin_name").String(program); ok && n != "" {
		return n
	}
	return program
}

func (v *strict) binDir(path string, value any) {
	dir, ok := value.(string)
	switch {
	case !ok:
		v.report(result{path, cluster.Text(value), "is not a string", true})
		return
	case dir != "":
		i, err := os.Stat(dir)
		if err != nil {
			v.add(path, fmt.Sprintf("Directory '%s' does not exist.", dir))
			return
		}
		if !i.IsDir() {
			v.add(path, fmt.Sprintf("'%s' is not a directory.", dir))
			return
		}
	}
	v.programs(path, dir)
}

func (v *strict) programs(path, dir string) {
	for _, p := range neededPrograms {
		if name := programName(v.doc, p); v.machine.program(dir, name) == "" {
			v.add(path, notThere(name, dir))
		}
	}
}

// dataDir checks the data folder: fit for a new cluster, or one of this version.
func (v *strict) dataDir(dir string) string {
	if dir == "" {
		return "is an empty string"
	}
	info, err := os.Stat(dir)
	if err != nil {
		return ""
	}
	if !info.IsDir() {
		return "is not a directory"
	}
	if emptyFolder(dir) {
		return ""
	}
	b, err := os.ReadFile(filepath.Join(dir, "PG_VERSION"))
	if err != nil {
		return "doesn't look like a valid data directory"
	}
	have := strings.TrimSpace(string(b))
	wal := "pg_wal"
	if f, err := strconv.ParseFloat(have, 64); err == nil && f < 10 {
		wal = "pg_xlog"
	}
	if i, err := os.Stat(filepath.Join(dir, wal)); err != nil || !i.IsDir() {
		return fmt.Sprintf(`data dir for the cluster is not empty, but doesn't contain "%s" directory`, wal)
	}
	bin, _ := v.doc.Object("postgresql").String("bin_dir")
	path := v.machine.program(bin, programName(v.doc, "postgres"))
	if path == "" {
		return "" // told elsewhere
	}
	if _, major, err := v.machine.version(path); err == nil && major != have {
		return fmt.Sprintf("data_dir directory postgresql version (%s) doesn't match with 'postgres --version' output (%s)", have, major)
	}
	return ""
}

// emptyFolder: hidden files and lost+found do not count.
func emptyFolder(dir string) bool {
	if _, err := os.Stat(filepath.Join(dir, "global", "pg_control")); err == nil {
		return false
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return false
	}
	return !slices.ContainsFunc(entries, func(e os.DirEntry) bool { return e.Name()[0] != '.' && e.Name() != "lost+found" })
}
