//go:build linux

package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Protocol is the version of the messages between agent and guardian. Fields
// may be added; a reader ignores what it does not know. It is raised only when
// old readers would misunderstand.
const Protocol = 1

// maxMessage bounds one message; all of ours are far smaller.
const maxMessage = 4096

// message is one message in either direction.
type message struct {
	Version int    `json:"v"`
	Type    string `json:"t"`

	Seq      uint64        `json:"seq,omitempty"`
	Deadline Instant       `json:"deadline,omitempty"` // nanoseconds of CLOCK_BOOTTIME
	Session  string        `json:"session,omitempty"`
	Created  int64         `json:"created,omitempty"`
	TTL      time.Duration `json:"ttl,omitempty"` // nanoseconds

	Code  int  `json:"code,omitempty"`
	Leave bool `json:"leave,omitempty"`
}

// The types of messages.
const (
	msgHello   = "hello"   // agent: I am there
	msgArm     = "arm"     // agent: a deadline
	msgDisarm  = "disarm"  // agent: nothing to guard
	msgBye     = "bye"     // agent: I end on purpose
	msgWelcome = "welcome" // guardian: what I have in force
	msgAck     = "ack"     // guardian: I know the deadline
)

// socketPair makes the two ends of a connection that keeps messages apart.
func socketPair() (ours *net.UnixConn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	ours, err = fileConn(os.NewFile(uintptr(fds[0]), "guardian"))
	theirs = os.NewFile(uintptr(fds[1]), "agent")
	if err != nil {
		theirs.Close()
	}
	return ours, theirs, err
}

func fileConn(f *os.File) (*net.UnixConn, error) {
	defer f.Close() // FileConn has duplicated it
	c, err := net.FileConn(f)
	if err != nil {
		return nil, fmt.Errorf("connection between agent and guardian: %w", err)
	}
	u, ok := c.(*net.UnixConn)
	if !ok {
		c.Close()
		return nil, errors.New("connection between agent and guardian: not a Unix socket")
	}
	return u, nil
}

func send(c *net.UnixConn, m message) error {
	m.Version = Protocol
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	// The other side reads at once or is frozen; never wait for it.
	if err := c.SetWriteDeadline(time.Now().Add(time.Second)); err != nil {
		return err
	}
	_, err = c.Write(b)
	return err
}

func receive(c *net.UnixConn) (message, error) {
	var buf [maxMessage]byte
	n, err := c.Read(buf[:])
	if err != nil {
		return message{}, err
	}
	return decode(buf[:n])
}

// decode reads one message; a version that we do not know is an error that says
// which program has to be replaced.
func decode(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, fmt.Errorf("message between agent and guardian: %w", err)
	}
	if m.Version != Protocol {
		return message{}, fmt.Errorf("message between agent and guardian: protocol version %d, this program speaks %d", m.Version, Protocol)
	}
	return m, nil
}
