//go:build linux

package guardian

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/watchdog"
)

// Protocol is the version of the messages with a guardian. Fields may be added;
// a reader ignores what it does not know. It is raised only when old readers
// would misunderstand.
const Protocol = 1

const (
	socketName = "guardian.sock"
	lockName   = "guardian.lock"
	stateName  = "guardian.json"

	maxMessage  = 4096 // one message; all of ours are far smaller
	sendTimeout = time.Second
)

// errVersion: a message of another version of the protocol.
var errVersion = errors.New("guardian and agent do not understand each other")

// message is one message in any direction.
type message struct {
	Version int    `json:"v"`
	Type    string `json:"t"`

	Seq      uint64        `json:"seq,omitempty"`
	Deadline Instant       `json:"deadline,omitempty"` // nanoseconds of CLOCK_BOOTTIME
	Session  string        `json:"session,omitempty"`
	Created  int64         `json:"created,omitempty"`
	TTL      time.Duration `json:"ttl,omitempty"`  // nanoseconds
	Next     time.Duration `json:"next,omitempty"` // nanoseconds

	Watchdog *watchdog.Settings `json:"watchdog,omitempty"`
	Device   watchdog.Status    `json:"device,omitempty"` // with an acknowledgement

	Crashes  int    `json:"crashes,omitempty"` // with the welcome: agents in a row that ended unexpectedly
	Code     int    `json:"code,omitempty"`
	Leave    bool   `json:"leave,omitempty"`
	Handover bool   `json:"handover,omitempty"`
	Answer   bool   `json:"answer,omitempty"`
	Binary   string `json:"binary,omitempty"`
	Err      string `json:"err,omitempty"`
}

// The types of messages.
const (
	msgHello    = "hello"    // agent: I am there; with what I hold, if you did not start me
	msgSign     = "sign"     // agent: I live
	msgWorks    = "works"    // agent: I do my work
	msgArm      = "arm"      // agent: a deadline
	msgDisarm   = "disarm"   // agent: nothing to guard
	msgBye      = "bye"      // agent: I end on purpose
	msgWelcome  = "welcome"  // guardian: what I have in force
	msgAck      = "ack"      // guardian: I know the deadline
	msgPong     = "pong"     // guardian: I live
	msgLetGo    = "letgo"    // guardian: make room for your successor
	msgUpgrade  = "upgrade"  // operator: run agents of this program
	msgUpgraded = "upgraded" // guardian: how that ended
	msgTakeover = "takeover" // another guardian: I take your place
	msgYours    = "yours"    // guardian: take it; with the socket of the REST API
	msgVersion  = "version"  // guardian: I do not understand you; this message's version is mine
)

func armedMessage(typ string, a *Armed) message {
	m := message{Type: typ}
	if a != nil {
		m.Deadline, m.Session, m.Created, m.TTL = a.Deadline, a.Session, a.Created, a.TTL
		m.Watchdog = &a.Watchdog
	}
	return m
}

func (m *message) armed() *Armed {
	if m.Deadline == 0 {
		return nil
	}
	a := &Armed{Deadline: m.Deadline, Session: m.Session, Created: m.Created, TTL: m.TTL}
	if m.Watchdog != nil {
		a.Watchdog = *m.Watchdog
	}
	return a
}

// send sends one message, with a descriptor if file is not nil.
func send(c *net.UnixConn, m message, file *os.File) error {
	m.Version = Protocol
	b, err := json.Marshal(m)
	if err != nil {
		return err
	}
	var rights []byte
	if file != nil {
		rights = unix.UnixRights(int(file.Fd()))
	}
	if sent, err := sendNow(c, b, rights); sent || err != nil {
		return err
	}
	// The other side reads at once or is frozen; never wait long for it.
	if err := c.SetWriteDeadline(time.Now().Add(sendTimeout)); err != nil {
		return err
	}
	_, _, err = c.WriteMsgUnix(b, rights, nil)
	return err
}

// sendNow sends a message if there is room for it, as there nearly always is. It
// needs no deadline then, whose timer would wake an idle process once more.
func sendNow(c *net.UnixConn, b, rights []byte) (sent bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return false, err
	}
	// Not raw.Write, which a deadline of long ago, set below, would end.
	failed := raw.Control(func(fd uintptr) {
		err = unix.Sendmsg(int(fd), b, rights, nil, unix.MSG_DONTWAIT|unix.MSG_NOSIGNAL)
	})
	if err = errors.Join(failed, err); errors.Is(err, unix.EAGAIN) {
		return false, nil
	}
	return err == nil, err
}

// envelope is room for one message, used again for the next.
type envelope struct {
	message [maxMessage]byte
	rights  [64]byte
}

// receive reads one message and the descriptor that came with it, if any.
func receive(c *net.UnixConn) (message, *os.File, error) { return new(envelope).receive(c) }

func (b *envelope) receive(c *net.UnixConn) (message, *os.File, error) {
	n, on, _, _, err := c.ReadMsgUnix(b.message[:], b.rights[:])
	if err != nil {
		return message{}, nil, err
	}
	if n == 0 {
		return message{}, nil, net.ErrClosed
	}
	file, err := receivedFile(b.rights[:on])
	if err != nil {
		return message{}, nil, err
	}
	m, err := decode(b.message[:n])
	if err != nil && file != nil {
		file.Close()
		file = nil
	}
	return m, file, err
}

func receivedFile(oob []byte) (*os.File, error) {
	if len(oob) == 0 {
		return nil, nil
	}
	list, err := unix.ParseSocketControlMessage(oob)
	if err != nil || len(list) == 0 {
		return nil, err
	}
	fds, err := unix.ParseUnixRights(&list[0])
	if err != nil || len(fds) == 0 {
		return nil, err
	}
	for _, fd := range fds[1:] {
		unix.Close(fd)
	}
	unix.CloseOnExec(fds[0])
	return os.NewFile(uintptr(fds[0]), "received"), nil
}

// decode reads one message; a version that we do not know is an error that says
// which program has to be replaced.
func decode(b []byte) (message, error) {
	var m message
	if err := json.Unmarshal(b, &m); err != nil {
		return message{}, fmt.Errorf("message of a guardian or agent: %w", err)
	}
	if m.Version != Protocol {
		return message{}, fmt.Errorf("%w: the other side speaks version %d, this program speaks %d; bring both to one version", errVersion, m.Version, Protocol)
	}
	return m, nil
}

// shortPath names a file in a folder by a path that fits into a socket address,
// however long the folder's own is. It is good as long as dir is open.
func shortPath(dir *os.File, name string) string {
	return "/proc/self/fd/" + strconv.Itoa(int(dir.Fd())) + "/" + name
}

// dial connects to the guardian of a state folder.
func dial(stateDir string) (*net.UnixConn, error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	c, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: shortPath(dir, socketName), Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("connect to the guardian at %s: %w", filepath.Join(stateDir, socketName), err)
	}
	if _, err := peer(c); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// listenSocket opens the socket of a guardian; an old one is replaced, because
// whoever holds the lock is the only guardian.
func listenSocket(stateDir string) (*net.UnixListener, error) {
	dir, err := os.Open(stateDir)
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	path := shortPath(dir, socketName)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket of the guardian: %w", err)
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: path, Net: "unixpacket"})
	if err != nil {
		return nil, fmt.Errorf("socket of the guardian: %w", err)
	}
	l.SetUnlinkOnClose(false) // a successor may have made its own by then
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, fmt.Errorf("socket of the guardian: %w", err)
	}
	return l, nil
}

// peer is the process at the other end. It must belong to the same user, or to
// root: everybody else has no business here.
func peer(c *net.UnixConn) (*unix.Ucred, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return nil, err
	}
	var cred *unix.Ucred
	if cerr := raw.Control(func(fd uintptr) { cred, err = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED) }); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, fmt.Errorf("socket of the guardian: %w", err)
	}
	if me := os.Geteuid(); int(cred.Uid) != me && cred.Uid != 0 && me != 0 {
		return nil, fmt.Errorf("the socket of the guardian belongs to user %d, not to %d: another user's tamada uses this state folder", cred.Uid, os.Geteuid())
	}
	return cred, nil
}
