//go:build linux

package node

import (
	"log/slog"
	"testing"
	"time"

	"tamada/internal/cluster"
	"tamada/internal/guardian"
	"tamada/internal/rest"
)

// A wall clock that is set must neither end a promise nor make it longer; after a
// reboot there is nothing better.
func TestPromiseIsCountedFromBoot(t *testing.T) {
	t.Parallel()
	const ttl = 30 * time.Second
	n := &node{log: slog.New(slog.DiscardHandler)}
	n.snapshot.Store(&rest.Snapshot{Settings: cluster.Settings{TTL: ttl}})
	for _, x := range []struct {
		name      string
		boot      string
		wall, end time.Duration // from now
		want      time.Duration // 0: none
	}{
		{"in force", bootID(), 20 * time.Second, 20 * time.Second, 20 * time.Second},
		{"wall clock set forward", bootID(), -time.Hour, 20 * time.Second, 20 * time.Second},
		{"wall clock set back", bootID(), time.Hour, -time.Second, 0},
		{"never longer than a lease", bootID(), time.Hour, time.Hour, ttl},
		{"after a reboot", "another", 20 * time.Second, time.Hour, 20 * time.Second},
		{"long after a reboot", "another", -time.Second, time.Hour, 0},
	} {
		t.Run(x.name, func(t *testing.T) {
			dir := t.TempDir()
			r := promiseRecord{Name: "n1", APIURL: "http://n1", Boot: x.boot, Until: time.Now().Add(x.wall), End: guardian.Now() + x.end}
			if err := writePromise(dir, r); err != nil {
				t.Fatal(err)
			}
			p := n.promised(dir)
			if x.want == 0 {
				if p != nil {
					t.Errorf("it still holds: %+v", p)
				}
				return
			}
			if p == nil {
				t.Fatal("it is forgotten")
			}
			if left := guardian.Until(p.Until); left > x.want || left < x.want-5*time.Second {
				t.Errorf("%v left, want %v", left, x.want)
			}
		})
	}
}
