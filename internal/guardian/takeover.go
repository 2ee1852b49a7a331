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
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"tamada/internal/postgres/proc"
)

const takeoverPatience = time.Second // for a guardian that is asked to make room

// takeLock makes sure that there is one guardian for a data folder. One that
// runs already is replaced: this is how the service manager's restart, or a
// newer program, gets its place.
func (p *process) takeLock() (*os.File, error) {
	path := filepath.Join(p.StateDir, lockName)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock file of the guardian: %w", err)
	}
	if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) != nil {
		if err := p.replaceGuardian(f); err != nil {
			f.Close()
			return nil, err
		}
	}
	if err := writeOwner(f); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock file of the guardian: %w", err)
	}
	return f, nil
}

func writeOwner(f *os.File) error {
	s, err := proc.ReadStat(os.Getpid())
	if err != nil {
		return err
	}
	if err := f.Truncate(0); err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+" "+strconv.FormatUint(s.Start, 10)+"\n"), 0)
	return err
}

// replaceGuardian asks the owner of the lock to make room; one that does not
// answer is frozen and is ended.
func (p *process) replaceGuardian(f *os.File) error {
	owner, err := lockOwner(f)
	if err != nil {
		return fmt.Errorf("another tamada runs for %s, and its lock %s cannot be read: %w", p.DataDir, f.Name(), err)
	}
	p.Log.Warn("another guardian runs for this node; taking its place", "pid", owner.PID)
	if err := p.askForPlace(); err != nil {
		p.Log.Warn("it did not make room and is ended", "pid", owner.PID, "error", err)
		h := owner.open()
		if h != nil {
			defer h.Close()
			if err := h.Signal(syscall.SIGKILL); err != nil && !errors.Is(err, proc.ErrGone) {
				return fmt.Errorf("end the guardian that runs (process %d): %w", owner.PID, err)
			}
		}
	}
	for end := time.Now().Add(2 * takeoverPatience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) == nil {
			return nil
		}
	}
	return fmt.Errorf("another tamada runs for %s (process %d, lock %s) and does not make room: end it first", p.DataDir, owner.PID, f.Name())
}

func lockOwner(f *os.File) (identity, error) {
	b, err := os.ReadFile(f.Name())
	if err != nil {
		return identity{}, err
	}
	fields := strings.Fields(string(b))
	if len(fields) != 2 {
		return identity{}, fmt.Errorf("unexpected content %q", strings.TrimSpace(string(b)))
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return identity{}, err
	}
	start, err := strconv.ParseUint(fields[1], 10, 64)
	return identity{pid, start}, err
}

// askForPlace gets the socket of the REST API and the deadline in force from the
// guardian that runs, which then ends.
func (p *process) askForPlace() error {
	c, err := dial(p.StateDir)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(takeoverPatience))
	if err := send(c, message{Type: msgTakeover}, nil); err != nil {
		return err
	}
	m, file, err := receive(c)
	if err != nil {
		return err
	}
	if m.Type != msgYours {
		return fmt.Errorf("unexpected answer %q", m.Type)
	}
	p.listen = file
	p.policy.armed = m.armed()
	return nil
}

// giveUp makes room for another guardian: it gets what is ours, everything that
// runs goes on, and we end.
func (p *process) giveUp(c *net.UnixConn) {
	p.dog.Release() // only one process can have it open
	if err := send(c, armedMessage(msgYours, p.policy.Armed()), p.listen); err != nil {
		p.Log.Error("could not hand over to another guardian; staying", "error", err)
		return
	}
	p.Log.Warn("another guardian takes the place of this one; everything goes on under it")
	os.Exit(0) // nothing may be stopped on the way out
}

// envResume carries what a guardian hands to the program that it becomes.
const envResume = "TAMADA_GUARDIAN_RESUME"

// handed is what survives when the guardian replaces its own program: three
// descriptors, the agent and the deadline.
type handed struct {
	Lock, Socket, Listen int
	Agent, Etcd          identity
	Armed                *Armed
}

// become replaces this process's program by another version. Its children stay
// its children; the agent connects again.
func (p *process) become(binary string) {
	sock, err := p.socket.File()
	if err != nil {
		p.Log.Error("could not replace the guardian's own program; it goes on as it is", "error", err)
		return
	}
	defer sock.Close()
	h := handed{Lock: int(p.lock.Fd()), Socket: int(sock.Fd()), Listen: int(p.listen.Fd()),
		Agent: identity{p.agent.pid, p.agent.start}, Etcd: identity{p.etcd.pid, p.etcd.start}, Armed: p.policy.Armed()}
	b, err := json.Marshal(h)
	if err != nil || !p.agent.own {
		return
	}
	for _, fd := range []int{h.Lock, h.Socket, h.Listen} {
		_, _ = unix.FcntlInt(uintptr(fd), unix.F_SETFD, 0)
	}
	p.Log.Info("the guardian replaces its own program", "program", binary)
	p.dog.Release() // the new program opens it; one that knew nothing of it would never feed it
	args := append([]string{binary}, os.Args[1:]...)
	err = syscall.Exec(binary, args, append(os.Environ(), envResume+"="+string(b)))
	p.Log.Error("could not replace the guardian's own program; it goes on as it is", "error", err)
	for _, fd := range []int{h.Lock, h.Socket, h.Listen} {
		unix.CloseOnExec(fd)
	}
}

// resume goes on after become.
func (p *process) resume() (bool, error) {
	text := os.Getenv(envResume)
	if text == "" {
		return false, nil
	}
	os.Unsetenv(envResume)
	var h handed
	if err := json.Unmarshal([]byte(text), &h); err != nil {
		return false, fmt.Errorf("take over from the former version of the guardian: %w", err)
	}
	for _, fd := range []int{h.Lock, h.Socket, h.Listen} {
		unix.CloseOnExec(fd)
	}
	p.lock, p.listen = os.NewFile(uintptr(h.Lock), lockName), os.NewFile(uintptr(h.Listen), "restapi")
	l, err := net.FileListener(os.NewFile(uintptr(h.Socket), socketName))
	if err != nil {
		return false, fmt.Errorf("take over from the former version of the guardian: %w", err)
	}
	p.socket = l.(*net.UnixListener)
	p.socket.SetUnlinkOnClose(false)
	p.agent = child{pid: h.Agent.PID, start: h.Agent.Start, own: true}
	p.etcd.pid, p.etcd.start, p.etcd.own = h.Etcd.PID, h.Etcd.Start, true
	p.policy.armed = h.Armed
	p.policy.Handle(Now(), AgentStarted{})
	p.Log.Info("the guardian goes on with a new version of its program")
	return true, nil
}
