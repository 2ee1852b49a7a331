package slots

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"tamada/internal/cluster"
)

func member(name string, tags ...any) cluster.Member {
	return cluster.Member{Name: name, ConnURL: "x", Tags: cluster.NewObject(tags...), XLogLocation: 700}
}

func TestDecide(t *testing.T) {
	c := &cluster.Cluster{Leader: &cluster.Leader{Name: "n1"},
		Status:  cluster.Status{Slots: []cluster.Slot{{Name: "n2", LSN: 500}, {Name: "n3", LSN: 600}}, RetainSlots: []string{"gone"}},
		Members: []cluster.Member{member("n1"), member("n2"), member("n3", "replicatefrom", "n2"), member("n4", "nostream", "true")}}
	primary := View{Me: "n1", Cluster: c, Primary: true, UseSlots: true}
	replica := View{Me: "n2", Cluster: c, UseSlots: true}
	retaining := func(v View) View { v.TTL = time.Minute; return v }
	existing := func(v View, s ...Slot) View { v.Existing = s; return v }
	physical := func(name string, lsn cluster.LSN) Slot { return Slot{Name: name, Physical: true, RestartLSN: lsn} }
	configured := func(v View, doc string) View {
		o, err := cluster.ParseObject([]byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		c := *v.Cluster
		c.Config = &cluster.DynamicConfig{Doc: o}
		v.Cluster = &c
		return v
	}
	for _, x := range []struct {
		name string
		view View
		want Plan
	}{
		{"primary has those of members that stream from it", primary, Plan{Create: []string{"n2"}}},
		{"primary retains those of all, and of those that are away", retaining(primary), Plan{Create: []string{"gone", "n2", "n3"}}},
		{"replica has those of its cascade", replica, Plan{Create: []string{"n3"}}},
		{"retaining replica has everybody's but its own", retaining(replica), Plan{Create: []string{"gone", "n1", "n3"}}},
		{"use_slots off drops them", existing(View{Me: "n1", Cluster: c, Primary: true}, physical("n2", 1)), Plan{Drop: []string{"n2"}}},
		{"strange slot is dropped", existing(primary, physical("n2", 1), physical("old", 1)), Plan{Drop: []string{"old"}}},
		{"strange slot stays in pause", func() View { v := existing(primary, physical("n2", 1), physical("old", 1)); v.Paused = true; return v }(), Plan{}},
		{"active slot stays", existing(primary, physical("n2", 1), Slot{Name: "old", Physical: true, Active: true}), Plan{}},
		{"ignored slot stays", configured(existing(primary, physical("n2", 1), physical("old", 1)),
			`{"ignore_slots":[{"name":"other"},{"name":"old","type":"physical"}]}`), Plan{}},
		{"matchers of another kind, plugin or database do not fit a physical slot", configured(existing(primary, physical("n2", 1), physical("old", 1)),
			`{"ignore_slots":[{"name":"old","type":"logical"},{"plugin":"pgoutput"},{"database":"x"},"old",5]}`), Plan{Drop: []string{"old"}}},
		{"an empty matcher fits every slot", configured(existing(primary, physical("n2", 1), physical("old", 1)), `{"ignore_slots":[{}]}`), Plan{}},
		{"permanent slots stay, by each name of the key", configured(existing(primary, physical("n2", 1), physical("old", 1), physical("older", 1)),
			`{"slots":{"old":{"type":"physical"}},"permanent_slots":{"older":null}}`), Plan{}},
		{"a permanent slot is no reason to keep others", configured(existing(primary, physical("n2", 1), physical("old", 1)), `{"slots":{"x":null}}`), Plan{Drop: []string{"old"}}},
		{"logical slot stays", existing(primary, physical("n2", 1), Slot{Name: "old"}), Plan{}},
		{"slot whose WAL is lost is made anew", existing(primary, Slot{Name: "n2", Physical: true, Lost: true}), Plan{Drop: []string{"n2"}}},
		{"slots in use and those that nobody has moved are left alone", existing(retaining(replica), physical("n1", 1), physical("gone", 1), physical("n3", 1)), Plan{}},
		{"slot that reserves nothing is made anew", existing(retaining(primary), physical("n2", 1), physical("n3", 1), physical("gone", 0)),
			Plan{Drop: []string{"gone"}, Advance: []cluster.Slot{{Name: "n3", LSN: 700}}}},
		{"slot that pins vacuum is made anew", existing(retaining(primary), physical("n2", 1), physical("gone", 1), Slot{Name: "n3", Physical: true, RestartLSN: 1, HasXmin: true}),
			Plan{Drop: []string{"n3"}}},
	} {
		t.Run(x.name, func(t *testing.T) {
			if got := Decide(x.view); !reflect.DeepEqual(got, x.want) {
				t.Errorf("got %+v, want %+v", got, x.want)
			}
		})
	}
}

func TestRetention(t *testing.T) {
	both := &cluster.Cluster{Members: []cluster.Member{member("n1"), member("n2")}}
	one := &cluster.Cluster{Members: []cluster.Member{member("n1")}}
	var r Retention
	r.Reset(100*time.Second, []string{"old"})
	if retain, expired := r.Update(110*time.Second, time.Minute, both); !slices.Equal(retain, []string{"n1", "n2", "old"}) || expired != nil {
		t.Errorf("at first: %v, %v", retain, expired)
	}
	if retain, expired := r.Update(160*time.Second, time.Minute, one); !slices.Equal(retain, []string{"n1", "n2"}) || !slices.Equal(expired, []string{"old"}) {
		t.Errorf("a name of the stored list counts from the new leader's beginning: %v, %v", retain, expired)
	}
	if retain, expired := r.Update(170*time.Second, time.Minute, one); !slices.Equal(retain, []string{"n1"}) || !slices.Equal(expired, []string{"n2"}) {
		t.Errorf("a member that left is kept for the ttl: %v, %v", retain, expired)
	}
}
