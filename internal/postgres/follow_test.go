//go:build linux

package postgres

import (
	"path/filepath"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// A server that somebody promotes by hand loses its standby.signal before it
// leaves recovery; it must not be restarted for that.
func TestStandbyWithoutItsMarkerMayBeUnderPromotion(t *testing.T) {
	t.Parallel()
	p := New(Settings{DataDir: filepath.Join(t.TempDir(), "data")}, Deps{})
	want := func(c Change) {
		t.Helper()
		if got, err := p.FollowChange(t.Context(), &Upstream{}, cluster.RoleReplica, nil); err != nil || got != c {
			t.Errorf("%v %v, want %v", got, err, c)
		}
	}
	want(ChangeNone)
	p.unmarked = p.unmarked.Add(-promotionTakes - time.Second)
	want(ChangeRestart)
	if p.markerGone(false) != 0 || p.markerGone(true) > promotionTakes {
		t.Error("the marker's return was not noticed")
	}
}
