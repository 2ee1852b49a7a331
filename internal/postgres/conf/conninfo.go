package conf

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
)

// keywords of a generated connection string, in the order of the reference
// (postgresql.md 6.1), each with the first version that knows it.
var keywords = []struct {
	name  string
	since int
}{
	{"dbname", 0}, {"user", 0}, {"passfile", 0}, {"password", 0}, {"host", 0}, {"port", 0}, {"sslmode", 0},
	{"sslcompression", 0}, {"sslcert", 0}, {"sslkey", 0}, {"sslpassword", 130000}, {"sslrootcert", 0}, {"sslcrl", 0},
	{"sslcrldir", 140000}, {"application_name", 0}, {"krbsrvname", 0}, {"gssencmode", 0}, {"channel_binding", 0},
	{"target_session_attrs", 0}, {"sslnegotiation", 170000},
}

// Conninfo writes a connection string in the fixed order, leaving out what is
// empty and what the version does not know; other keywords are dropped.
func Conninfo(m map[string]string, version int) string {
	var b strings.Builder
	for _, k := range keywords {
		v := m[k.name]
		if v == "" || version < k.since || k.name == "password" && m["passfile"] != "" {
			continue
		}
		if b.Len() > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(k.name)
		b.WriteByte('=')
		b.WriteString(escapeConninfo(v))
	}
	return b.String()
}

// escapeConninfo needs no quotes: a value that is not empty may be written with
// backslashes alone.
func escapeConninfo(v string) string {
	var b strings.Builder
	for i := range len(v) {
		switch v[i] {
		case ' ', '\'', '\\', '\t', '\n', '\r', '\v', '\f':
			b.WriteByte('\\')
		}
		b.WriteByte(v[i])
	}
	return b.String()
}

// Defaults adds the settings that a replication connection always names, so
// that their defaults in the server's environment cannot change them.
func Defaults(m map[string]string, version int) {
	set := func(k, v string, since int) {
		if m[k] == "" && version >= since {
			m[k] = v
		}
	}
	set("sslmode", "prefer", 0)
	set("gssencmode", "prefer", 120000)
	set("channel_binding", "prefer", 130000)
	set("sslnegotiation", "postgres", 170000)
}

// ParseConninfo reads a connection string of either form, key=value or URI. An
// error never quotes the text, which may hold a password.
func ParseConninfo(s string) (map[string]string, error) {
	if strings.HasPrefix(s, "postgres://") || strings.HasPrefix(s, "postgresql://") {
		return parseURI(s)
	}
	m := map[string]string{}
	for {
		s = strings.TrimLeft(s, connSpace)
		if s == "" {
			return m, nil
		}
		k, rest, ok := strings.Cut(s, "=")
		k = strings.TrimRight(k, connSpace)
		if !ok || k == "" || strings.ContainsAny(k, connSpace) {
			return nil, errors.New("malformed connection string: expected keyword=value")
		}
		v, rest, err := connValue(strings.TrimLeft(rest, connSpace))
		if err != nil {
			return nil, err
		}
		m[k], s = v, rest
	}
}

const connSpace = " \t\n\r\v\f"

func connValue(s string) (value, rest string, err error) {
	quoted := strings.HasPrefix(s, "'")
	if quoted {
		s = s[1:]
	}
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		case c == '\\':
			return "", "", errors.New("malformed connection string: it ends in a backslash")
		case quoted && c == '\'':
			return b.String(), s[i+1:], nil
		case !quoted && strings.IndexByte(connSpace, c) >= 0:
			return b.String(), s[i:], nil
		default:
			b.WriteByte(c)
		}
	}
	if quoted {
		return "", "", errors.New("malformed connection string: unterminated quote")
	}
	return b.String(), "", nil
}

func parseURI(s string) (map[string]string, error) {
	_, rest, _ := strings.Cut(s, "://")
	rest, query, _ := strings.Cut(rest, "?")
	authority, db, _ := strings.Cut(rest, "/")
	m := map[string]string{}
	bad := errors.New("malformed connection URI")
	set := func(k, v string) error {
		v, err := url.PathUnescape(v)
		if err != nil {
			return bad
		}
		if v != "" {
			m[k] = v
		}
		return nil
	}
	var errs []error
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		user, password, _ := strings.Cut(authority[:i], ":")
		errs = append(errs, set("user", user), set("password", password))
		authority = authority[i+1:]
	}
	var hosts, ports []string
	for _, hp := range strings.Split(authority, ",") {
		host, port := hp, ""
		if i := strings.LastIndexByte(hp, ':'); i > strings.LastIndexByte(hp, ']') {
			host, port = hp[:i], hp[i+1:]
		}
		hosts, ports = append(hosts, strings.Trim(host, "[]")), append(ports, port)
	}
	errs = append(errs, set("host", strings.Join(hosts, ",")), set("dbname", db))
	if slices.ContainsFunc(ports, func(p string) bool { return p != "" }) {
		errs = append(errs, set("port", strings.Join(ports, ",")))
	}
	for _, kv := range strings.Split(query, "&") {
		if k, v, ok := strings.Cut(kv, "="); ok {
			errs = append(errs, set(k, v))
		} else if kv != "" {
			errs = append(errs, bad)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, bad
	}
	return m, nil
}

var passwordEscapes = strings.NewReplacer(`\`, `\\`, ":", `\:`)

// PasswordLines are the lines of a password file for the hosts and ports of a
// connection string, either of which may be a comma separated list; none
// without a password.
func PasswordLines(m map[string]string) []string {
	if m["password"] == "" {
		return nil
	}
	part := func(s string) string {
		if s == "" {
			return "*"
		}
		return passwordEscapes.Replace(s)
	}
	hosts, ports := strings.Split(m["host"], ","), strings.Split(m["port"], ",")
	var lines []string
	add := func(host, port string) {
		line := fmt.Sprintf("%s:%s:*:%s:%s", part(host), part(port), part(m["user"]), part(m["password"]))
		if !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	for i, host := range hosts {
		port := ports[0]
		if len(ports) > 1 && i < len(ports) {
			port = ports[i]
		}
		host = strings.TrimSpace(host)
		add(host, strings.TrimSpace(port))
		// libpq looks up "localhost" for a socket in the default folder.
		if strings.HasPrefix(host, "/") {
			add("localhost", strings.TrimSpace(port))
		}
	}
	return lines
}
