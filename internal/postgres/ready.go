//go:build linux

package postgres

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"time"
)

// Readiness is pg_isready's answer.
type Readiness int

// The answers, in pg_isready's words.
const (
	NoResponse Readiness = iota
	Rejecting            // starting, recovering without hot standby, or shutting down
	Accepting
)

// String is for logs.
func (r Readiness) String() string {
	return [...]string{"no response", "rejecting", "running"}[r]
}

// Ready asks the server over its socket, as pg_isready does but without
// starting a program: no login is needed. The error says why there was no
// response.
func (p *Instance) Ready(ctx context.Context) (Readiness, error) {
	s := p.Settings()
	ctx, cancel := context.WithTimeout(ctx, connectTimeout)
	defer cancel()
	host, port := p.localAddress(s.UseUnixSocket)
	network, address := "tcp", net.JoinHostPort(host, port)
	if host == "" {
		host = defaultSocketDir()
	}
	if strings.HasPrefix(host, "/") {
		network, address = "unix", host+"/.s.PGSQL."+port
	}
	c, err := (&net.Dialer{}).DialContext(ctx, network, address)
	if err != nil {
		return NoResponse, err
	}
	defer c.Close()
	if d, ok := ctx.Deadline(); ok {
		_ = c.SetDeadline(d)
	}
	user := s.Superuser.Username
	if user == "" {
		user = userName(os.Geteuid())
	}
	return probe(c, user, s.database())
}

func defaultSocketDir() string {
	for _, dir := range []string{"/var/run/postgresql", "/tmp"} {
		if i, err := os.Stat(dir); err == nil && i.IsDir() {
			return dir
		}
	}
	return "/tmp"
}

const (
	protocolVersion  = 3 << 16
	maxProbeMessage  = 64 << 10
	maxProbeMessages = 100
	cannotConnectNow = "57P03"
)

// probe sends a start-up packet. A server that asks for authentication, or
// refuses us for any reason but "cannot connect now", is up.
func probe(c net.Conn, user, database string) (Readiness, error) {
	body := "user\x00" + user + "\x00database\x00" + database + "\x00\x00"
	msg := binary.BigEndian.AppendUint32(nil, uint32(8+len(body)))
	msg = append(binary.BigEndian.AppendUint32(msg, protocolVersion), body...)
	if _, err := c.Write(msg); err != nil {
		return NoResponse, err
	}
	answers := bufio.NewReaderSize(c, 1<<10)
	for i := 0; i < maxProbeMessages; i++ {
		kind, body, err := readMessage(answers)
		if err != nil {
			return NoResponse, err
		}
		switch kind {
		case 'E':
			if errorCode(body) == cannotConnectNow {
				return Rejecting, nil
			}
			return Accepting, nil
		case 'R':
			if len(body) >= 4 && binary.BigEndian.Uint32(body) != 0 {
				return Accepting, nil // it wants a password; going away is not an error there
			}
			// Let in without one: read until it is done, or it would log a broken pipe.
		case 'Z':
			_, _ = c.Write([]byte{'X', 0, 0, 0, 4})
			return Accepting, nil
		}
	}
	return NoResponse, errors.New("the server does not come to an end")
}

func readMessage(c io.Reader) (kind byte, body []byte, err error) {
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if n < 4 || n > maxProbeMessage {
		return 0, nil, fmt.Errorf("not a PostgreSQL server: message of %d bytes", n)
	}
	body = make([]byte, n-4)
	_, err = io.ReadFull(c, body)
	return head[0], body, err
}

// errorCode is field C of an error message.
func errorCode(body []byte) string {
	for f := range strings.SplitSeq(string(body), "\x00") {
		if len(f) > 1 && f[0] == 'C' {
			return f[1:]
		}
	}
	return ""
}

// adaptive is a row of pauses for a short poll: dense at first, because most
// waits are short, then wider.
type adaptive struct{ next, limit time.Duration }

// wait sleeps; false when the context ended.
func (a *adaptive) wait(ctx context.Context, wake <-chan struct{}) bool {
	t := time.NewTimer(a.next)
	defer t.Stop()
	a.next = min(a.next*5/4+time.Millisecond/4, a.limit)
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return true
}
