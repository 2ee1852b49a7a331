//go:build linux

package proc

import (
	"errors"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrNotDelegated: this process may not make control groups.
var ErrNotDelegated = errors.New("no control group is delegated to this process")

// control is where the kernel shows processes and control groups (version 2).
// Tests put folders of their own in its place.
type control struct{ proc, mount string }

// kernelControl finds the mount point of the control groups.
func kernelControl() control {
	for _, dir := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if _, err := os.Stat(filepath.Join(dir, "cgroup.procs")); err == nil {
			return control{"/proc", dir}
		}
	}
	return control{"/proc", ""}
}

// Group makes the control group in which the server of a data folder is started,
// below the one of this process, and opens it (see syscall.SysProcAttr.CgroupFD).
// [ErrNotDelegated] when nobody has given us one: a unit with Delegate=yes does.
func Group(dataDir string) (*os.File, error) { return kernelControl().group(dataDir) }

func (c control) group(dataDir string) (*os.File, error) {
	own, err := c.of("self")
	if err != nil {
		return nil, err
	}
	// What belongs to our user was made for us. Root owns every group, those too
	// that the service manager alone may change.
	var st syscall.Stat_t
	if err := syscall.Stat(own, &st); err != nil || st.Uid == 0 || int(st.Uid) != os.Geteuid() {
		return nil, ErrNotDelegated
	}
	return openGroup(own, dataDir)
}

func openGroup(parent, dataDir string) (*os.File, error) {
	dir := filepath.Join(parent, groupName(dataDir))
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
		return nil, fmt.Errorf("make a control group for PostgreSQL: %w", err)
	}
	return os.Open(dir)
}

// groupName is different for each data folder: nobody else's processes can be in
// a group of that name.
func groupName(dataDir string) string {
	h := fnv.New64a()
	h.Write([]byte(resolved(dataDir)))
	return "tamada-postgres-" + strconv.FormatUint(h.Sum64(), 16)
}

// of is the folder of the control group of a process.
func (c control) of(pid string) (string, error) {
	b, err := os.ReadFile(filepath.Join(c.proc, pid, "cgroup"))
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if path, ok := strings.CutPrefix(strings.TrimSuffix(line, "\n"), "0::"); ok && c.mount != "" {
			return filepath.Join(c.mount, path), nil
		}
	}
	return "", ErrNotDelegated
}

// ofServer is the control group of a process of the instance in dataDir, "" if it
// is not in the one that was made for it.
func (c control) ofServer(h *Handle, dataDir string) string {
	dir, err := c.of(strconv.Itoa(h.PID()))
	if err != nil || !h.Alive() || filepath.Base(dir) != groupName(dataDir) {
		return ""
	}
	return dir
}

// kill ends every process of a group at once, also those that are being forked
// at this moment (kernel 5.14; before, there is no such file).
func kill(group string) error {
	f, err := os.OpenFile(filepath.Join(group, "cgroup.kill"), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("1")
	return errors.Join(err, f.Close())
}
