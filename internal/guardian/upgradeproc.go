//go:build linux

package guardian

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// upgradeAsked begins an upgrade that an operator asked for, after looking at
// the program: what cannot work is refused before anything is touched.
func (p *process) upgradeAsked(in inbound) {
	binary := in.msg.Binary
	if err := usable(binary); err != nil {
		_ = send(in.conn, message{Type: msgUpgraded, Binary: binary, Err: err.Error() + "; nothing was changed"}, nil)
		return
	}
	if p.asker != nil {
		_ = send(in.conn, message{Type: msgUpgraded, Binary: binary, Err: "another upgrade is in progress"}, nil)
		return
	}
	p.asker = in.conn
	p.Log.Info("replacing the agent by another version; PostgreSQL and its clients go on", "program", binary)
	p.handle(Upgrade{Binary: binary})
}

func usable(binary string) error {
	if !filepath.IsAbs(binary) {
		return fmt.Errorf("%s: give the program with its whole path", binary)
	}
	st, err := os.Stat(binary)
	switch {
	case err != nil:
		return err
	case !st.Mode().IsRegular():
		return fmt.Errorf("%s is not a file", binary)
	case syscall.Access(binary, 1) != nil:
		return fmt.Errorf("%s cannot be executed by this user", binary)
	}
	return nil
}

// upgraded tells whoever asked, and lets the guardian follow to the version that
// has shown that it works.
func (p *process) upgraded(e Upgraded) {
	if e.Err != "" {
		p.Log.Error("the agent was not upgraded", "program", e.Binary, "reason", e.Err)
	} else {
		p.Log.Info("the agent was upgraded and works", "program", e.Binary)
	}
	if p.asker != nil {
		_ = send(p.asker, message{Type: msgUpgraded, Binary: e.Binary, Err: e.Err}, nil)
		p.asker = nil
	}
	if e.Err == "" {
		binary := e.Binary
		if binary == "" {
			binary = p.Agent[0]
		}
		p.become(binary)
	}
}
