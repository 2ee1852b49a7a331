//go:build linux

package node

import "github.com/coreos/go-systemd/v22/daemon"

// notify tells the service manager about the node, if there is one: the unit
// needs NotifyAccess=all, because the agent is not its main process.
func (n *node) notify(state string) { n.manager.Tell(state) }

// notifyReloading announces a reload. Without the time newer versions of
// systemd wait for it for ever (configuration.md, trap 23).
func (n *node) notifyReloading() {
	n.notify(daemon.SdNotifyReloading + "\n" + daemon.SdNotifyMonotonicUsec())
}

// notifyStatus shows the agent's status line where `systemctl status` does.
func (n *node) notifyStatus(line string) {
	if line == "" || line == n.status {
		return
	}
	n.status = line
	n.notify("STATUS=" + line)
}
