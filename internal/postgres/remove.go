//go:build linux

package postgres

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"tamada/internal/postgres/proc"
)

// linked are the folders outside of the data folder that belong to it: the
// target of a linked pg_wal and of the tablespaces, as (link, target). Other
// links are not ours (trap 65).
func (s *Settings) linked() (list [][2]string, err error) {
	add := func(link string) error {
		i, err := os.Lstat(link)
		if errors.Is(err, os.ErrNotExist) || err == nil && i.Mode()&os.ModeSymlink == 0 {
			return nil
		}
		if err != nil {
			return err
		}
		target, err := os.Readlink(link)
		if err != nil {
			return err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(link), target)
		}
		list = append(list, [2]string{link, target})
		return nil
	}
	if err := add(filepath.Join(s.DataDir, "pg_wal")); err != nil {
		return nil, err
	}
	dir := filepath.Join(s.DataDir, "pg_tblspc")
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if _, err := strconv.ParseUint(e.Name(), 10, 32); err != nil {
			continue
		}
		if err := add(filepath.Join(dir, e.Name())); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// mustBeDown refuses to touch the folder of a running server, or of one of
// which it is not known: it would go on writing into files that are gone.
func (p *Instance) mustBeDown(what string) error {
	h, err := p.Postmaster()
	if errors.Is(err, proc.ErrNotRunning) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return fmt.Errorf("%s: PostgreSQL runs there as process %d", what, h.PID())
}

// RemoveData removes the data folder with what its links of pg_wal and
// tablespaces point to. A data folder that is itself a link, or cannot be
// removed because of its parent (a mount point), stays behind empty; what
// cannot be removed at all is moved aside. The caller has made sure that
// another copy exists.
func (p *Instance) RemoveData() error {
	s := p.Settings()
	what := "remove " + s.DataDir
	if err := p.mustBeDown(what); err != nil {
		return err
	}
	i, err := os.Lstat(s.DataDir)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	p.log.Info("Removing data directory: " + s.DataDir)
	if i.Mode()&os.ModeSymlink != 0 {
		return os.Remove(s.DataDir)
	}
	links, err := s.linked()
	if err == nil {
		for _, l := range links {
			p.log.Info("Removing a folder that the data directory links to", "folder", l[1])
			err = errors.Join(err, os.RemoveAll(l[1]))
		}
		err = errors.Join(err, emptyFolder(s.DataDir))
	}
	if err == nil {
		_ = os.Remove(s.DataDir) // a mount point stays
		return nil
	}
	p.log.Error("Could not remove the data directory, it is moved aside", "folder", s.DataDir, "error", err)
	return p.MoveAside()
}

// emptyFolder removes everything in a folder: pg_control last, so that a
// folder that is half gone still counts as one with data in it.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() != "global" && e.Name() != "lost+found" {
			err = errors.Join(err, os.RemoveAll(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		return err
	}
	return os.RemoveAll(filepath.Join(dir, "global"))
}

// MoveAside renames the data folder, and what its links point to, to
// NAME.failed; an older one of that name is deleted.
func (p *Instance) MoveAside() error {
	s := p.Settings()
	dir := strings.TrimRight(s.DataDir, "/")
	what := "move " + dir + " aside"
	if err := p.mustBeDown(what); err != nil {
		return err
	}
	if _, err := os.Lstat(dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	links, err := s.linked()
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	for _, l := range links {
		target := strings.TrimRight(l[1], "/") + ".failed"
		err := os.RemoveAll(target)
		if err == nil {
			err = os.Rename(l[1], target)
		}
		if err == nil {
			err = os.Remove(l[0])
		}
		if err == nil {
			err = os.Symlink(target, l[0])
		}
		if err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
	p.log.Info("renaming data directory to " + dir + ".failed")
	if err := os.RemoveAll(dir + ".failed"); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := os.Rename(dir, dir+".failed"); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
