//go:build linux

package demo

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// answer is one message of the demo to a command: a line of the story, or the
// end.
type answer struct {
	Line  string `json:"line,omitempty"`
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`
}

const (
	dialTimeout  = 5 * time.Second
	orderTimeout = 5 * time.Second
	storyTimeout = 2 * healWithin // the longest order is one with a slow stop before the wait
)

// inFolder runs use with a short path to the folder: the address of a socket
// must not be longer than 107 bytes, and folders may be.
func inFolder(dir string, use func(short string) error) error {
	f, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	return use(fmt.Sprintf("/proc/self/fd/%d", f.Fd()))
}

// listen opens the socket for commands. Who may enter the folder may use it.
func (d *demo) listen() (l net.Listener, err error) {
	path := filepath.Join(d.dir, socketFile)
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, fmt.Errorf("socket for commands: %w", err)
	}
	err = inFolder(d.dir, func(short string) error {
		l, err = net.Listen("unix", filepath.Join(short, socketFile))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("socket for commands: %w", err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false) // by now the short path may be something else's
	return l, d.owner.give(path)
}

// serve takes commands until the listener is closed.
func (d *demo) serve(ctx context.Context, l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go d.converse(ctx, c)
	}
}

// converse takes one order. When the other side leaves, the story ends.
func (d *demo) converse(ctx context.Context, c net.Conn) {
	defer c.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	_ = c.SetReadDeadline(time.Now().Add(orderTimeout))
	in := json.NewDecoder(io.LimitReader(c, 4096))
	var o order
	if in.Decode(&o) != nil {
		return
	}
	_ = c.SetReadDeadline(time.Time{})
	go func() { // nothing more is said; the end of the connection is
		_, _ = io.Copy(io.Discard, c)
		cancel()
	}()
	out := json.NewEncoder(c)
	say := func(line string) {
		_ = c.SetWriteDeadline(time.Now().Add(orderTimeout))
		_ = out.Encode(answer{Line: line})
	}
	end := answer{Done: true}
	if err := d.obey(ctx, o, say); err != nil {
		end.Error = err.Error()
	}
	_ = c.SetWriteDeadline(time.Now().Add(orderTimeout))
	_ = out.Encode(end)
}

// Inject does something to a node of the demo that runs in dir, and prints what
// happens until the cluster is healthy again. guardian is for freeze only.
func Inject(ctx context.Context, dir, verb, name string, guardian bool, out io.Writer) error {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return fmt.Errorf("--dir %s: %w", dir, err)
	}
	var c net.Conn
	err = inFolder(abs, func(short string) error {
		c, err = (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, "unix", filepath.Join(short, socketFile))
		return err
	})
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("the demo in %s belongs to another user: run this command as the user who started it", dir)
	case err != nil:
		return fmt.Errorf("no demo runs in %s: start one with `tamada demo`, or name its folder with --dir", dir)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { c.Close() })
	defer stop()
	if err := json.NewEncoder(c).Encode(order{verb, name, guardian}); err != nil {
		return fmt.Errorf("ask the demo: %w", err)
	}
	in := json.NewDecoder(c)
	for {
		var a answer
		_ = c.SetReadDeadline(time.Now().Add(storyTimeout))
		if err := in.Decode(&a); err != nil {
			if ctx.Err() != nil {
				return nil // the user has seen enough
			}
			return fmt.Errorf("the demo in %s has ended", dir)
		}
		if a.Done {
			if a.Error != "" {
				return errors.New(a.Error)
			}
			return nil
		}
		fmt.Fprintln(out, a.Line)
	}
}
