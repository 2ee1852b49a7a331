package agent

import (
	"slices"
	"strings"
	"testing"
	"time"

	"tamada/internal/cluster"
)

// members of a cluster; those with a star have a guardian.
func members(names ...string) (list []cluster.Member) {
	for _, n := range names {
		name, guarded := strings.CutSuffix(n, "*")
		list = append(list, cluster.Member{Name: name, Agent: &cluster.AgentInfo{Guardian: guarded}})
	}
	return list
}

// TestTimesThatAreAdjustedAreSaidOnceAndOnlyIfTheyAre follows one agent through
// what it sees one after the other.
func TestTimesThatAreAdjustedAreSaidOnceAndOnlyIfTheyAre(t *testing.T) {
	short := &cluster.DynamicConfig{Version: 3, Doc: cluster.NewObject("ttl", 5, "loop_wait", 1, "retry_timeout", 1)}
	again := &cluster.DynamicConfig{Version: 4, Doc: cluster.NewObject("ttl", 6, "loop_wait", 1, "retry_timeout", 1)}
	long := &cluster.DynamicConfig{Version: 5, Doc: cluster.NewObject("ttl", 30, "loop_wait", 10, "retry_timeout", 12)}
	raised := func(ttl string) []string {
		return []string{"retry_timeout=1 can't be smaller than 3, adjusting...", "ttl=" + ttl + " can't be smaller than 20, adjusting..."}
	}
	has := func(names string) string {
		return "a member has no guardian (" + names + "): ttl below 20 s is safe only where every agent has one; the times are raised"
	}
	joined := strings.Replace(has("n2"), "has no guardian", "without a guardian has joined", 1)
	type sight struct {
		config  *cluster.DynamicConfig
		members []cluster.Member
		ttl     time.Duration
		says    []string
	}
	for name, sights := range map[string][]sight{
		"every member has a guardian": {
			{short, nil, 20 * time.Second, nil}, // the whole cluster was down, and its keys are gone
			{short, members("n1*"), 5 * time.Second, nil},
			{short, members("n1*", "n2*"), 5 * time.Second, nil},
			{again, members("n1*", "n2*"), 6 * time.Second, nil},
		},
		"one has none, from the beginning": {
			{short, members("n2"), 20 * time.Second, append([]string{has("n2")}, raised("5")...)},
			{short, members("n1*", "n2"), 20 * time.Second, nil},
			{again, members("n1*", "n2"), 20 * time.Second, append([]string{has("n2")}, raised("6")...)},
			{again, members("n1*", "n2*"), 6 * time.Second, nil},
		},
		"nobody is known, and the first one has none": {
			{short, nil, 20 * time.Second, nil},
			{short, members("n1"), 20 * time.Second, append([]string{has("n1")}, raised("5")...)},
		},
		"one joins": {
			{short, members("n1*"), 5 * time.Second, nil},
			{short, members("n1*", "n2"), 20 * time.Second, append([]string{joined}, raised("5")...)},
			{short, members("n1*", "n2"), 20 * time.Second, nil},
		},
		"guardians have nothing to do with it": {
			{long, members("n1"), 30 * time.Second, []string{`Violated the rule "loop_wait + 2*retry_timeout <= ttl", where ttl=30 and retry_timeout=12. Adjusting loop_wait from 10 to 6`}},
			{long, members("n1*"), 30 * time.Second, []string{`Violated the rule "loop_wait + 2*retry_timeout <= ttl", where ttl=30 and retry_timeout=12. Adjusting loop_wait from 10 to 6`}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := New(Config{Name: "n1"})
			for i, x := range sights {
				a.out = nil
				a.configSeen(&cluster.Cluster{Config: x.config, Members: x.members})
				var says []string
				for _, e := range a.out {
					if l, ok := e.(Log); ok {
						says = append(says, l.Text)
					}
				}
				if !slices.Equal(says, x.says) || a.settings.TTL != x.ttl {
					t.Errorf("sight %d: ttl %s, want %s; it says\n%s\nwant\n%s", i, a.settings.TTL, x.ttl, strings.Join(says, "\n"), strings.Join(x.says, "\n"))
				}
			}
		})
	}
}

// A document that asks for what this version cannot do is not in force, but an
// operator who pauses the cluster is obeyed, and one who ends that too.
func TestPauseIsTakenFromADocumentThatIsNotInForce(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	a.cfg.Unsupported = func(o *cluster.Object) []string {
		if o.Value("synchronous_mode") != nil {
			return []string{"synchronous_mode is not supported yet"}
		}
		return nil
	}
	before := a.settings
	for version, pause := range []bool{true, false} {
		a.configSeen(&cluster.Cluster{Config: &cluster.DynamicConfig{Version: cluster.Version(50 + version),
			Doc: cluster.NewObject("synchronous_mode", true, "ttl", 77, "pause", pause)}})
		if a.settings.Pause != pause || a.paused != pause || a.settings.TTL != before.TTL || a.dynamicProblem == "" {
			t.Errorf("pause %v: settings %+v, problem %q", pause, a.settings, a.dynamicProblem)
		}
	}
}

// A member key that somebody removed is written again at once, and once.
func TestRemovedMemberKeyIsWrittenAtOnce(t *testing.T) {
	t.Parallel()
	a, _ := leading(t)
	leader := *a.store.view.Leader
	there := &cluster.Cluster{Leader: &leader, Members: []cluster.Member{{Name: "n1"}}, Newest: 100}
	a.loopAt = a.now + time.Hour
	a.Step(a.now, time.Time{}, 0, ClusterSeen{Cluster: there})
	a.Step(a.now, time.Time{}, 0, Touched{})
	for newest := range cluster.Version(2) {
		e := a.Step(a.now, time.Time{}, 0, ClusterSeen{Cluster: &cluster.Cluster{Leader: &leader, Newest: 101 + newest}})
		if has[Touch](e) != (newest == 0) {
			t.Errorf("at %d: %v", 101+newest, e)
		}
		a.Step(a.now, time.Time{}, 0, Touched{})
	}
}
