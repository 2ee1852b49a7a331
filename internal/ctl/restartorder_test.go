package ctl

import (
	"strings"
	"testing"

	"tamada/internal/cluster"
)

func TestOneRestartOfAllMembersIsEnough(t *testing.T) {
	t.Parallel()
	change := func(name, was, will string) *cluster.Object {
		return cluster.NewObject(name, cluster.NewObject("old_value", was, "new_value", will))
	}
	for _, c := range []struct {
		what   string
		reason *cluster.Object
		want   string
	}{
		{"nothing waits", nil, "a b c"},
		{"another parameter", change("shared_buffers", "128MB", "256MB"), "a b c"},
		{"growing", change("max_connections", "40", "60"), "a c b"},
		{"shrinking", change("max_worker_processes", "9", "8"), "b a c"},
	} {
		v := &cluster.Cluster{Leader: &cluster.Leader{Name: "b"}}
		var chosen []*cluster.Member
		for _, name := range []string{"a", "b", "c"} {
			chosen = append(chosen, &cluster.Member{Name: name, PendingRestartReason: c.reason})
		}
		var names []string
		for _, m := range restartOrder(v, chosen) {
			names = append(names, m.Name)
		}
		if got := strings.Join(names, " "); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}
