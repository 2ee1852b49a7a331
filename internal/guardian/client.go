//go:build linux

package guardian

import (
	"fmt"
	"net"
	"os"
	"strconv"
)

// Environment variables by which a guardian tells its agent where the socket
// between them and the socket of the REST API are.
const (
	envSocket = "TAMADA_GUARDIAN_FD"
	envListen = "TAMADA_RESTAPI_FD"
)

// Client is the agent's end of the socket to its guardian.
type Client struct {
	conn *net.UnixConn
	// Inherited is the lease that the previous agent of this node held, nil when
	// there is none.
	Inherited *Armed
	// Acks receives the number of every acknowledged deadline. It is closed when
	// the guardian is gone.
	Acks chan uint64
}

// Underneath tells whether this process was started by a guardian.
func Underneath() bool { return os.Getenv(envSocket) != "" }

// Connect takes up the connection to the guardian that started this process.
func Connect() (*Client, error) {
	f, err := inheritedFile(envSocket)
	if err != nil {
		return nil, err
	}
	conn, err := fileConn(f)
	if err != nil {
		return nil, err
	}
	c := &Client{conn: conn, Acks: make(chan uint64, 16)}
	if err := send(conn, message{Type: msgHello}); err != nil {
		return nil, fmt.Errorf("greet the guardian: %w", err)
	}
	m, err := receive(conn)
	if err != nil {
		return nil, fmt.Errorf("greeting of the guardian: %w", err)
	}
	if m.Type != msgWelcome {
		return nil, fmt.Errorf("greeting of the guardian: unexpected message %q", m.Type)
	}
	if m.Deadline > 0 {
		c.Inherited = &Armed{Deadline: m.Deadline, Session: m.Session, Created: m.Created, TTL: m.TTL}
	}
	go c.read()
	return c, nil
}

// Listener is the socket of the REST API, which the guardian opened; nil when
// there is none.
func Listener() (net.Listener, error) {
	if os.Getenv(envListen) == "" {
		return nil, nil
	}
	f, err := inheritedFile(envListen)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	l, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("socket of the REST API: %w", err)
	}
	return l, nil
}

func inheritedFile(env string) (*os.File, error) {
	fd, err := strconv.Atoi(os.Getenv(env))
	if err != nil || fd < 3 {
		return nil, fmt.Errorf("%s=%q does not name a descriptor: this command is started by `tamada run` only", env, os.Getenv(env))
	}
	os.Unsetenv(env) // not for our children
	return os.NewFile(uintptr(fd), env), nil
}

func (c *Client) read() {
	defer close(c.Acks)
	for {
		m, err := receive(c.conn)
		if err != nil {
			return
		}
		if m.Type == msgAck {
			c.Acks <- m.Seq
		}
	}
}

// Arm tells a deadline; the acknowledgement comes on Acks.
func (c *Client) Arm(seq uint64, a Armed) error {
	return send(c.conn, message{Type: msgArm, Seq: seq, Deadline: a.Deadline, Session: a.Session, Created: a.Created, TTL: a.TTL})
}

// Disarm tells that no primary accepts writes any more.
func (c *Client) Disarm() error { return send(c.conn, message{Type: msgDisarm}) }

// Bye tells that this agent ends on purpose.
func (c *Client) Bye(code int, leavePostgres bool) error {
	return send(c.conn, message{Type: msgBye, Code: code, Leave: leavePostgres})
}
