//go:build linux

package postgres

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// ErrFolder: the data folder, or who we are, does not allow to operate on it.
var ErrFolder = errors.New("the data folder cannot be used")

// CheckFolder finds out before anything is changed what PostgreSQL would refuse
// later: running as root, a folder of somebody else, wrong permissions. Each is
// one line that says what to do. A folder that is not there yet is fine if it
// can be made.
func (p *Instance) CheckFolder() error {
	s := p.Settings()
	uid := os.Geteuid()
	if uid == 0 {
		return fmt.Errorf("%w: PostgreSQL does not run as root; run this program as the owner of %s, usually postgres", ErrFolder, s.DataDir)
	}
	i, err := os.Stat(s.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return creatable(s.DataDir)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrFolder, err)
	}
	if !i.IsDir() {
		return fmt.Errorf("%w: %s is not a folder; correct postgresql.data_dir", ErrFolder, s.DataDir)
	}
	if st, ok := i.Sys().(*syscall.Stat_t); ok && int(st.Uid) != uid {
		return fmt.Errorf("%w: %s belongs to user %s, but this program runs as %s; run it as the owner or change the owner",
			ErrFolder, s.DataDir, userName(int(st.Uid)), userName(uid))
	}
	state, _ := p.DataDir()
	if mode := i.Mode().Perm(); state == DirPresent && mode&0o027 != 0 {
		return fmt.Errorf("%w: %s has permissions %04o, PostgreSQL demands 0700 or 0750; run chmod 0700 %s",
			ErrFolder, s.DataDir, mode, s.DataDir)
	}
	return nil
}

// creatable tells whether we could make the folder: the nearest existing parent
// must be ours to write.
func creatable(dir string) error {
	parent := filepath.Dir(dir)
	for {
		i, err := os.Stat(parent)
		if errors.Is(err, os.ErrNotExist) && parent != filepath.Dir(parent) {
			parent = filepath.Dir(parent)
			continue
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrFolder, err)
		}
		if !i.IsDir() {
			return fmt.Errorf("%w: %s is not a folder", ErrFolder, parent)
		}
		const mayWrite = 2 // W_OK of access(2)
		if err := syscall.Access(parent, mayWrite); err != nil {
			return fmt.Errorf("%w: %s does not exist and user %s may not create it in %s; create it with that owner and permissions 0700",
				ErrFolder, dir, userName(os.Geteuid()), parent)
		}
		return nil
	}
}

func userName(uid int) string {
	if u, err := user.LookupId(strconv.Itoa(uid)); err == nil {
		return u.Username
	}
	return strconv.Itoa(uid)
}

// modes are the permissions of what we write: in the data folder they follow
// the folder's own (group access is kept), outside the umask decides.
type modes struct{ file, dir os.FileMode }

func (s *Settings) modesFor(path string) modes {
	data := filepath.Clean(s.DataDir)
	if path != data && !strings.HasPrefix(path, data+string(filepath.Separator)) {
		return modes{0o666, 0o777} // minus the umask
	}
	if i, err := os.Stat(data); err == nil && i.Mode().Perm()&0o050 == 0o050 {
		return modes{0o640, 0o750}
	}
	return modes{0o600, 0o700}
}

// writeFile replaces a file as a whole, so that a reader never sees half of it,
// and only if its content differs, so that its time says when it changed.
func (s *Settings) writeFile(path, content string) (changed bool, err error) {
	if old, err := os.ReadFile(path); err == nil && string(old) == content {
		return false, nil
	}
	return true, replaceFile(path, content, s.modesFor(path).file, underDir(path, s.DataDir))
}

func underDir(path, dir string) bool {
	return strings.HasPrefix(filepath.Clean(path), filepath.Clean(dir)+string(filepath.Separator))
}

// replaceFile writes beside the file and renames over it. exact sets the mode
// whatever the umask is.
func replaceFile(path, content string, mode os.FileMode, exact bool) (err error) {
	// A link (Debian and backup tools make them) keeps pointing where it did.
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, mode)
	if err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			_ = os.Remove(tmp)
			err = fmt.Errorf("write %s: %w", path, err)
		}
	}()
	_, err = f.WriteString(content)
	if exact && err == nil {
		err = f.Chmod(mode)
	}
	// Contents before the name: after a power cut there must not be an empty file
	// under the right name.
	if err == nil {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(tmp, path)
	}
	return err
}
