//go:build linux

package guardian

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/postgres/proc"
	"tamada/internal/watchdog"
)

// Environment variables by which a guardian tells its agent that it is one, and
// where the socket of the REST API is.
const (
	envAgent  = "TAMADA_GUARDIAN"
	envListen = "TAMADA_RESTAPI_FD"
)

const (
	greetTimeout   = 3 * time.Second
	replaceTimeout = 10 * time.Second
)

// Client is the agent's end of the connection to its guardian. Its methods may
// be called at the same time.
type Client struct {
	stateDir string
	listener *os.File
	// Replies receives what the guardian says, and Lost when it is gone.
	Replies chan Reply

	// Inherited is the lease that the previous agent of this node held, nil when
	// there is none.
	Inherited *Armed
	// Crashes is how many agents before this one have ended unexpectedly in a row.
	Crashes int

	mu       sync.Mutex // guards the rest
	conn     *net.UnixConn
	guardian *proc.Handle
}

// Reply is one thing that the guardian says. Exactly one of its fields, not
// counting Device, is set.
type Reply struct {
	Ack uint64
	// Device comes with an acknowledgement: the state of the watchdog device.
	Device watchdog.Status
	Pong   bool
	LetGo  bool
	Lost   bool
}

// Underneath tells whether this process was started by a guardian.
func Underneath() bool { return os.Getenv(envAgent) != "" }

// Connect takes up the connection to the guardian that started this process. The
// listener is the socket of the REST API, which the guardian opened.
func Connect(stateDir string) (*Client, net.Listener, error) {
	l, file, err := inheritedListener()
	if err != nil {
		return nil, nil, err
	}
	os.Unsetenv(envAgent) // not for our children
	c := &Client{stateDir: stateDir, listener: file, Replies: make(chan Reply, 64)}
	w, err := c.greet(message{Type: msgHello})
	if err != nil {
		return nil, nil, err
	}
	c.Inherited, c.Crashes = w.armed(), w.Crashes
	return c, l, nil
}

func inheritedListener() (net.Listener, *os.File, error) {
	fd, err := strconv.Atoi(os.Getenv(envListen))
	if err != nil || fd < 3 {
		return nil, nil, fmt.Errorf("%s=%q does not name a descriptor: this command is started by `tamada run` only", envListen, os.Getenv(envListen))
	}
	os.Unsetenv(envListen)
	unix.CloseOnExec(fd)
	f := os.NewFile(uintptr(fd), "restapi")
	l, err := net.FileListener(f)
	if err != nil {
		return nil, nil, fmt.Errorf("socket of the REST API: %w", err)
	}
	return l, f, nil
}

// greet connects, says hello and waits for the welcome.
func (c *Client) greet(hello message) (message, error) {
	conn, err := dial(c.stateDir)
	if err != nil {
		return message{}, err
	}
	var file *os.File
	if hello.Handover {
		file = c.listener
	}
	if err := send(conn, hello, file); err != nil {
		conn.Close()
		return message{}, fmt.Errorf("greet the guardian: %w", err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(greetTimeout))
	w, _, err := receive(conn)
	if err == nil && w.Type != msgWelcome {
		err = fmt.Errorf("unexpected message %q", w.Type)
	}
	if err != nil {
		conn.Close()
		return message{}, fmt.Errorf("greeting of the guardian: %w", err)
	}
	_ = conn.SetReadDeadline(time.Time{})
	cred, err := peer(conn)
	if err != nil {
		conn.Close()
		return message{}, err
	}
	h, _ := proc.Open(int(cred.Pid), 0)
	c.mu.Lock()
	c.conn, c.guardian = conn, h
	c.mu.Unlock()
	go c.read(conn)
	return w, nil
}

func (c *Client) read(conn *net.UnixConn) {
	defer conn.Close()
	for in := new(envelope); ; {
		m, _, err := in.receive(conn)
		if err != nil {
			c.mu.Lock()
			current := c.conn == conn
			c.mu.Unlock()
			if current {
				c.Replies <- Reply{Lost: true}
			}
			return
		}
		switch m.Type {
		case msgAck:
			c.Replies <- Reply{Ack: m.Seq, Device: m.Device}
		case msgPong:
			c.Replies <- Reply{Pong: true}
		case msgLetGo:
			c.Replies <- Reply{LetGo: true}
		}
	}
}

func (c *Client) send(m message) error {
	c.mu.Lock()
	conn := c.conn
	c.mu.Unlock()
	if conn == nil {
		return errors.New("there is no guardian")
	}
	return send(conn, m, nil)
}

// Arm tells a deadline; the acknowledgement comes as a reply.
func (c *Client) Arm(seq uint64, a Armed) error {
	m := armedMessage(msgArm, &a)
	m.Seq = seq
	return c.send(m)
}

// Sign gives a sign of life; the next comes within next.
func (c *Client) Sign(next time.Duration, answer bool) error {
	return c.send(message{Type: msgSign, Next: next, Answer: answer})
}

// Works tells that this agent does its work.
func (c *Client) Works() error { return c.send(message{Type: msgWorks}) }

// Disarm tells that no primary accepts writes any more.
func (c *Client) Disarm() error { return c.send(message{Type: msgDisarm}) }

// Bye tells that this agent ends on purpose.
func (c *Client) Bye(code int, leavePostgres bool) error {
	return c.send(message{Type: msgBye, Code: code, Leave: leavePostgres})
}

// MakeRoom tells that this agent ends for its successor, and leaves everything
// as it is.
func (c *Client) MakeRoom() error { return c.send(message{Type: msgBye, Handover: true}) }

// Replace finds another guardian, or starts one with command. With kill the
// present one is frozen and is ended first; it can do nothing for us, and two
// guardians at a time would both start agents. The new one adopts this agent:
// it gets the socket of the REST API, and the deadline with the next [Client.Arm].
func (c *Client) Replace(kill bool, command []string) error {
	c.mu.Lock()
	conn, old := c.conn, c.guardian
	c.conn, c.guardian = nil, nil
	c.mu.Unlock()
	if kill && old != nil {
		if err := old.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
			return fmt.Errorf("end the frozen guardian: %w", err)
		}
		old.WaitFor(sendTimeout)
	}
	if old != nil {
		old.Close()
	}
	if conn != nil {
		conn.Close()
	}
	hello := message{Type: msgHello, Handover: true}
	// One may be there already: the service manager's, or the same one after it
	// replaced its own program.
	for end := time.Now().Add(300 * time.Millisecond); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err := c.greet(hello); err == nil {
			return nil
		}
	}
	if err := startDetached(command); err != nil {
		return err
	}
	var err error
	for end := time.Now().Add(replaceTimeout); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if _, err = c.greet(hello); err == nil {
			return nil
		}
	}
	return fmt.Errorf("start another guardian: %w", err)
}

// startDetached starts a guardian in a session of its own.
func startDetached(command []string) error {
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := proc.Punctual(cmd.Start); err != nil {
		return fmt.Errorf("start another guardian: %w", err)
	}
	go func() { _ = cmd.Wait() }()
	return nil
}

// RequestUpgrade asks the guardian of a state folder to run agents of another
// program, and waits for how that ended. The error of a new version that does
// not work says that the old one runs again.
func RequestUpgrade(stateDir, binary string, wait time.Duration) error {
	c, err := dial(stateDir)
	if err != nil {
		return fmt.Errorf("%w (does `tamada run` run here, as this user?)", err)
	}
	defer c.Close()
	if err := send(c, message{Type: msgUpgrade, Binary: binary}, nil); err != nil {
		return fmt.Errorf("ask the guardian for the upgrade: %w", err)
	}
	_ = c.SetReadDeadline(time.Now().Add(wait))
	m, _, err := receive(c)
	if err != nil {
		return fmt.Errorf("answer of the guardian: %w", err)
	}
	if m.Err != "" {
		return fmt.Errorf("the agent was not upgraded to %s: %s", binary, m.Err)
	}
	return nil
}
