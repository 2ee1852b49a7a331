//go:build linux

package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	lockFile   = "demo.lock"
	socketFile = "demo.sock"
	copyFile   = "tamada" // copy of the program, where the owner cannot reach ours
)

// leftoverGrace is how long what a killed demo left may take to stop.
const leftoverGrace = 15 * time.Second

// prepare makes or takes over the folder and everything in it, up to the point
// where the nodes can be started.
func (d *demo) prepare(ctx context.Context) error {
	if err := d.takeFolder(); err != nil {
		return err
	}
	if err := d.choosePlan(); err != nil {
		return err
	}
	for _, n := range d.nodes() {
		if list, err := n.processes(); err != nil {
			return err
		} else if len(list) > 0 {
			for _, p := range list {
				p.Close()
			}
			d.out.say("%s still runs from an earlier demo; stopping it", n.name())
		}
		if err := n.end(ctx, leftoverGrace); err != nil {
			return err
		}
		for _, u := range n.ports() {
			if err := free(u); err != nil {
				return err
			}
		}
	}
	if err := d.writeFiles(); err != nil {
		return err
	}
	return d.chooseProgram()
}

// takeFolder makes the folder if it is not there, and locks it. A folder that
// holds something else is left alone: the demo removes its folder at the end.
func (d *demo) takeFolder() error {
	if at := d.owner.barrier(filepath.Join(d.dir, "x")); at != "" {
		return fmt.Errorf(`the demo runs as the user %s, who may not enter %s; choose a folder that everybody can reach:
  tamada demo --dir /var/tmp/tamada-demo      (or: make demo ARGS="--dir /var/tmp/tamada-demo")`, d.owner.name, at)
	}
	err := os.Mkdir(d.dir, 0o700)
	switch {
	case err == nil:
		if err := d.owner.give(d.dir); err != nil {
			return fmt.Errorf("folder of the demo: %w", err)
		}
	case !errors.Is(err, os.ErrExist):
		return fmt.Errorf("folder of the demo: %w", err)
	default:
		if err := d.mayUse(); err != nil {
			return err
		}
	}
	return d.takeLock()
}

// mayUse looks at a folder that exists.
func (d *demo) mayUse() error {
	entries, err := os.ReadDir(d.dir)
	if err != nil {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	if _, err := os.Lstat(filepath.Join(d.dir, planFile)); err != nil && len(entries) > 0 && !onlyLock(entries) {
		return fmt.Errorf("%s is not empty and not a demo's folder: choose another with --dir", d.shown)
	}
	st, err := os.Stat(d.dir)
	if err != nil {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	sys, ok := st.Sys().(*syscall.Stat_t)
	if ok && sys.Uid != d.owner.uid && !(len(entries) == 0 && sys.Uid == uint32(os.Geteuid())) {
		return fmt.Errorf("%s belongs to another user than %s, who is to run the demo: choose another folder with --dir", d.shown, d.owner.name)
	}
	if err := os.Chmod(d.dir, 0o700); err != nil {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	return d.owner.give(d.dir)
}

func onlyLock(entries []os.DirEntry) bool { return len(entries) == 1 && entries[0].Name() == lockFile }

func (d *demo) takeLock() error {
	path := filepath.Join(d.dir, lockFile)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return fmt.Errorf("lock of the demo: %w", err)
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		pid, _ := io.ReadAll(io.LimitReader(f, 32))
		f.Close()
		return fmt.Errorf("a demo runs in %s already (process %s): end it first, or choose another folder with --dir", d.shown, strings.TrimSpace(string(pid)))
	}
	if err := errors.Join(f.Truncate(0), d.owner.give(path)); err != nil {
		return fmt.Errorf("lock of the demo: %w", err)
	}
	if _, err := f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0); err != nil {
		return fmt.Errorf("lock of the demo: %w", err)
	}
	d.lock = f
	return nil
}

// choosePlan takes up the plan in the folder, or makes one.
func (d *demo) choosePlan() error {
	p, err := loadPlan(d.dir)
	switch {
	case errors.Is(err, errNoPlan):
		p, err = newPlan(d.Options.Nodes, d.Options.Port)
		d.fresh = true
	case err == nil && (d.NodesGiven && d.Options.Nodes != p.Nodes || d.PortGiven && d.Options.Port != p.Port):
		err = fmt.Errorf("the cluster in %s has %d nodes and ports from %d on: leave --nodes and --port away to go on with it, or choose another folder with --dir",
			d.shown, p.Nodes, p.Port)
	}
	if err != nil {
		return err
	}
	p.dir = d.dir
	if p.binDir, p.Major, err = findPrograms(distribution, p.Major); err != nil {
		return err
	}
	d.plan = p
	return nil
}

func free(u use) error {
	l, err := net.Listen("tcp", at(u.port))
	if errors.Is(err, syscall.EADDRINUSE) {
		return fmt.Errorf("port %d (%s) is taken by another program: choose other ports with --port", u.port, u.what)
	}
	if err != nil {
		return fmt.Errorf("port %d (%s): %w; choose other ports with --port", u.port, u.what, err)
	}
	return l.Close()
}

// writeFiles writes the plan first: what has it is a demo's folder.
func (d *demo) writeFiles() error {
	notes, err := d.plan.encode()
	if err != nil {
		return err
	}
	if err := d.owner.write(filepath.Join(d.dir, planFile), notes); err != nil {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	if err := d.owner.write(d.passFile(), d.passLines()); err != nil {
		return fmt.Errorf("folder of the demo: %w", err)
	}
	for _, n := range d.nodes() {
		if err := os.Mkdir(n.folder(), 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			return fmt.Errorf("folder of %s: %w", n.name(), err)
		}
		if err := d.owner.give(n.folder()); err != nil {
			return fmt.Errorf("folder of %s: %w", n.name(), err)
		}
		if err := d.owner.write(n.config(), n.yaml()); err != nil {
			return fmt.Errorf("configuration of %s: %w", n.name(), err)
		}
	}
	return nil
}

// chooseProgram finds our own file, and copies it where the owner cannot reach
// it (root's home).
func (d *demo) chooseProgram() error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	st, err := os.Stat(self)
	if err != nil {
		return fmt.Errorf("find this program's own file: %w", err)
	}
	if d.owner.barrier(self) == "" && d.owner.may(st, 0o1) {
		d.program = self
		return nil
	}
	d.program = filepath.Join(d.dir, copyFile)
	in, err := os.Open(self)
	if err != nil {
		return fmt.Errorf("copy this program to %s: %w", d.program, err)
	}
	defer in.Close()
	_ = os.Remove(d.program) // it may be running still
	out, err := os.OpenFile(d.program, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o755)
	if err != nil {
		return fmt.Errorf("copy this program: %w", err)
	}
	_, err = io.Copy(out, in)
	if err := errors.Join(err, out.Close()); err != nil {
		return fmt.Errorf("copy this program to %s: %w", d.program, err)
	}
	return nil
}

// remove takes away what the demo has made, and the folder if nothing else is in
// it. It is called when nothing of the demo runs any more.
func (d *demo) remove() error {
	var errs []error
	for _, n := range d.nodes() {
		errs = append(errs, os.RemoveAll(n.folder()))
	}
	// The plan last but for the lock: as long as it is there, the folder is known
	// as a demo's, and the next one can finish what failed here.
	for _, name := range []string{copyFile, socketFile, filepath.Base(d.passFile()), planFile, lockFile} {
		if err := os.Remove(filepath.Join(d.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("remove %s: %w", d.shown, err)
	}
	if err := os.Remove(d.dir); err != nil {
		return fmt.Errorf("%s holds something that is not the demo's, so it stays: %w", d.shown, err)
	}
	return nil
}
