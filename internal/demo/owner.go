//go:build linux

package demo

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

// owner is the user that everything runs as.
type owner struct {
	name, home string
	uid, gid   uint32
	groups     []uint32
	switched   bool // another user than ours
}

// findOwner is ourselves or, as root, the user postgres.
func findOwner() (owner, error) {
	if os.Geteuid() != 0 {
		o := owner{name: strconv.Itoa(os.Geteuid()), home: os.Getenv("HOME"), uid: uint32(os.Geteuid()), gid: uint32(os.Getegid())}
		if u, err := user.Current(); err == nil {
			o.name = u.Username
		}
		return o, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return owner{}, errors.New("PostgreSQL refuses to run as root, and there is no user postgres to run it as: install PostgreSQL's package, or start the demo as another user")
	}
	o := owner{name: u.Username, home: u.HomeDir, switched: true}
	if o.uid, err = id(u.Uid); err != nil {
		return o, err
	}
	if o.gid, err = id(u.Gid); err != nil {
		return o, err
	}
	if o.uid == 0 {
		return o, errors.New("the user postgres is root by another name; start the demo as another user")
	}
	list, err := u.GroupIds()
	if err != nil {
		return o, fmt.Errorf("groups of the user postgres: %w", err)
	}
	for _, g := range list {
		n, err := id(g)
		if err != nil {
			return o, err
		}
		o.groups = append(o.groups, n)
	}
	return o, nil
}

func id(s string) (uint32, error) {
	n, err := strconv.ParseUint(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("user or group id %q: %w", s, err)
	}
	return uint32(n), nil
}

// credential is for a process that is to run as the owner.
func (o owner) credential() *syscall.Credential {
	if !o.switched {
		return nil
	}
	return &syscall.Credential{Uid: o.uid, Gid: o.gid, Groups: o.groups}
}

// give makes a file or folder the owner's.
func (o owner) give(path string) error {
	if !o.switched {
		return nil
	}
	return os.Lchown(path, int(o.uid), int(o.gid))
}

// write makes a file that only the owner may read.
func (o owner) write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		return err
	}
	return o.give(path)
}

// barrier is the first folder on the way to path that the owner may not enter,
// "" when there is none.
func (o owner) barrier(path string) string {
	if !o.switched {
		return ""
	}
	at := "/"
	for _, part := range strings.Split(strings.Trim(filepath.Dir(path), "/"), "/") {
		at = filepath.Join(at, part)
		st, err := os.Stat(at)
		if err != nil {
			return "" // it is made later, or reported where it is used
		}
		if !o.may(st, 0o1) {
			return at
		}
	}
	return ""
}

// may tells whether the owner has a permission: 1 to execute or enter.
func (o owner) may(st os.FileInfo, bit os.FileMode) bool {
	sys, ok := st.Sys().(*syscall.Stat_t)
	if !ok {
		return true
	}
	switch {
	case sys.Uid == o.uid:
		bit <<= 6
	case sys.Gid == o.gid || contains(o.groups, sys.Gid):
		bit <<= 3
	}
	return st.Mode().Perm()&bit != 0
}

func contains(list []uint32, x uint32) bool {
	for _, y := range list {
		if x == y {
			return true
		}
	}
	return false
}
