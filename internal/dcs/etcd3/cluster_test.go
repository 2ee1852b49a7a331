package etcd3_test

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/etcd3"
)

func hosts(servers []*dcstest.Etcd) []string {
	var list []string
	for _, e := range servers {
		list = append(list, e.Client)
	}
	return list
}

func within(t testing.TB, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	t.Cleanup(cancel)
	return ctx
}

// conn is a plain connection to one server, for what a store does not do.
func conn(t testing.TB, e *dcstest.Etcd) *grpc.ClientConn {
	t.Helper()
	c, err := grpc.NewClient(e.Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// leaderOf finds the leader among etcd's own members.
func leaderOf(t testing.TB, servers []*dcstest.Etcd) (leader *dcstest.Etcd, others []*dcstest.Etcd) {
	t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for time.Now().Before(deadline) {
		leader, others = nil, nil
		for _, e := range servers {
			s, err := pb.NewMaintenanceClient(conn(t, e)).Status(within(t, time.Second), &pb.StatusRequest{})
			if err == nil && s.Leader == s.Header.MemberId {
				leader = e
			} else {
				others = append(others, e)
			}
		}
		if leader != nil && len(others) == len(servers)-1 {
			return leader, others
		}
	}
	t.Fatal("etcd has no leader")
	return nil, nil
}

// versions are the servers that a test runs against.
func versions(t *testing.T, test func(t *testing.T, o dcstest.EtcdOptions)) {
	t.Run("debian", func(t *testing.T) { t.Parallel(); test(t, dcstest.EtcdOptions{}) })
	t.Run("newest", func(t *testing.T) { t.Parallel(); test(t, dcstest.EtcdOptions{Command: newest(t)}) })
}

func TestLostNodeCostsAFractionOfTheBudget(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*dcstest.Etcd){"killed": (*dcstest.Etcd).Kill, "frozen": (*dcstest.Etcd).Freeze} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			servers := dcstest.StartEtcd(t, 3, dcstest.EtcdOptions{})
			leader, others := leaderOf(t, servers)
			// the node in use is a follower, so that etcd itself goes on without election
			list := append(hosts(others), leader.Client)
			s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: list, Times: times})
			s.SetTimes(dcs.Times{TTL: 30 * time.Second, LoopWait: time.Second, RetryTimeout: 5 * time.Second})
			g, err := s.Acquire(within(t, 5*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			views := s.Watch(t.Context())
			<-views
			lose(others[0])
			began := time.Now()
			r, err := s.Renew(within(t, 6*time.Second), g.Hold)
			if err != nil || r.Hold != g.Hold {
				t.Fatalf("renew: %+v, %v", r, err)
			}
			if took := time.Since(began); took > 2500*time.Millisecond {
				t.Errorf("the renewal took %v", took)
			}
			// the node that answered is now the one in use: no delay any more
			began = time.Now()
			if _, err := s.Renew(within(t, 6*time.Second), g.Hold); err != nil || time.Since(began) > 500*time.Millisecond {
				t.Errorf("the next renewal took %v, %v", time.Since(began), err)
			}
			// and the view goes on
			if _, err := s.Put(within(t, 5*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent()); err != nil {
				t.Fatal(err)
			}
			other := open(t, etcd3.Options{Scope: "batman", Name: "b", Hosts: []string{others[1].Client}, Times: times})
			if _, err := other.Put(within(t, 5*time.Second), cluster.KeyStatus, []byte(`{"optime":7}`), dcs.Any()); err != nil {
				t.Fatal(err)
			}
			deadline := time.After(10 * time.Second)
			for done := false; !done; {
				select {
				case u := <-views:
					done = u.Cluster != nil && u.Cluster.Status.LSN == 7
				case <-deadline:
					t.Fatal("the watch did not move to another node")
				}
			}
		})
	}
}

func TestBlackholedFirstHostCostsAFractionOfTheBudget(t *testing.T) {
	t.Parallel()
	hole, err := net.Listen("tcp", "127.0.0.1:0") // connects, and then nothing
	if err != nil {
		t.Fatal(err)
	}
	defer hole.Close()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{hole.Addr().String(), e.Client}, Times: times})
	began := time.Now()
	if _, err := s.Put(within(t, 10*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent()); err != nil {
		t.Fatal(err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %v", took)
	}
}

// An etcd leader that was frozen and replaced may, when it wakes up, answer a
// keepalive that waited in its socket. That must not count as a renewal.
func TestKeepaliveAnsweredByAFormerEtcdLeaderIsNoRenewal(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, o dcstest.EtcdOptions) {
		const ttl = 10 * time.Second
		servers := dcstest.StartEtcd(t, 3, o)
		leader, others := leaderOf(t, servers)
		// this client knows only the leader, so that nothing but its answer can help
		s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{leader.Client}, UseProxies: true,
			Times: dcs.Times{TTL: ttl, LoopWait: time.Second, RetryTimeout: 10 * time.Second}})
		g, err := s.Acquire(within(t, 5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		leader.Freeze()
		frozen := time.Now()
		type outcome struct {
			grant dcs.Grant
			err   error
			at    time.Duration
		}
		// the keepalive is sent to a frozen server and waits there
		done := make(chan outcome, 1)
		go func() {
			r, err := s.Renew(within(t, 40*time.Second), g.Hold)
			done <- outcome{r, err, time.Since(frozen)}
		}()
		leaderOf(t, others)
		time.Sleep(7*time.Second - time.Since(frozen)) // the very scenario: frozen for 7 s
		leader.Thaw()
		out := <-done
		if out.err == nil && out.grant.Epoch == g.Epoch {
			t.Fatalf("a keepalive of the former term counted: %+v after %v", out.grant, out.at)
		}
		if out.err == nil {
			// it counts in the new term: then the leader that counts must have heard of it
			r, err := pb.NewLeaseClient(conn(t, others[0])).LeaseTimeToLive(within(t, 5*time.Second), &pb.LeaseTimeToLiveRequest{ID: lease(t, out.grant)})
			if err != nil || r.TTL < int64(ttl/time.Second)-2 {
				t.Errorf("the lease has %v left, %v", r, err)
			}
		}
		t.Logf("renewal after %v: %+v, %v; before: %+v", out.at, out.grant, out.err, g)
	})
}

func TestForeignEtcdAmongTheHostsIsRefused(t *testing.T) {
	t.Parallel()
	ours, foreign := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0], dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{Extra: []string{"--initial-cluster-token=foreign"}})[0]
	s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{ours.Client, foreign.Client}, UseProxies: true, Times: times})
	if err := s.Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	ours.Kill()
	_, err := s.Acquire(within(t, 2*time.Second))
	if err == nil || dcs.Refused(err) || !strings.Contains(err.Error(), "belongs to etcd cluster") {
		t.Fatalf("acquire at a foreign etcd: %v", err)
	}
	f := open(t, etcd3.Options{Scope: "batman", Name: "b", Hosts: []string{foreign.Client}, Times: times})
	if c, err := f.Load(within(t, 5*time.Second)); err != nil || !c.Empty() {
		t.Fatalf("something was written there: %+v, %v", c, err)
	}
}

func lease(t testing.TB, g dcs.Grant) int64 {
	t.Helper()
	id, err := strconv.ParseInt(g.Session, 16, 64)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// received is how many gRPC messages a server has got from its clients.
func received(t testing.TB, e *dcstest.Etcd) (n int) {
	t.Helper()
	resp, err := http.Get("http://" + e.Client + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if strings.HasPrefix(lines.Text(), "grpc_server_msg_received_total{") {
			_, value, _ := strings.Cut(lines.Text(), "} ")
			f, err := strconv.ParseFloat(value, 64)
			if err != nil {
				t.Fatal(err)
			}
			n += int(f)
		}
	}
	return n
}

// Three idle nodes at 30/10/10 may cost 40 messages a minute. Here a loop is
// twenty times as short, and everything else with it.
func TestIdleClusterStaysWithinItsMessages(t *testing.T) {
	t.Parallel()
	const loop, loops = 500 * time.Millisecond, 6
	short := dcs.Times{TTL: 3 * loop, LoopWait: loop, RetryTimeout: loop}
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	var stores []*etcd3.Store
	var views []<-chan dcs.Update
	for _, name := range []string{"a", "b", "c"} {
		s := open(t, etcd3.Options{Scope: "batman", Name: name, Hosts: []string{e.Client}, Times: short})
		stores = append(stores, s)
		views = append(views, s.Watch(t.Context()))
		if err := s.Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	g, err := stores[0].Acquire(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	// all have seen everything: nothing is under way any more
	for _, ch := range views {
		for u := range ch {
			if u.Cluster.LeaderName() == "a" && len(u.Cluster.Members) == 3 {
				break
			}
		}
	}
	tick := time.NewTicker(loop / 2)
	defer tick.Stop()
	<-tick.C
	before := received(t, e)
	for i := range 2 * loops {
		<-tick.C
		if g, err = stores[0].Renew(within(t, time.Second), g.Hold); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			continue
		}
		for _, s := range stores {
			if err := s.Touch(within(t, time.Second), []byte(`{}`)); err != nil {
				t.Fatal(err)
			}
		}
	}
	n := received(t, e) - before
	t.Logf("%d messages in %d loops: %d per minute at loop_wait 10", n, loops, n*6/loops)
	if n*6/loops > 40 {
		t.Error("too many")
	}
}

// An acquisition that was not answered may be carried out later: then the view
// tells, it can be released, and after that the lease that it came on is given
// up, so that it cannot happen again.
func TestAcquisitionThatComesLateIsSeenAndCanBeReleased(t *testing.T) {
	t.Parallel()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	s := open(t, etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{e.Client},
		Times: dcs.Times{TTL: time.Minute, LoopWait: 10 * time.Second, RetryTimeout: 10 * time.Second}})
	if err := s.Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	c, err := s.Load(within(t, 5*time.Second))
	if err != nil {
		t.Fatal(err)
	}
	session := c.Member("a").Session
	views := s.Watch(t.Context())
	<-views
	e.Freeze()
	if _, err := s.Acquire(within(t, 2*time.Second)); err == nil || dcs.Refused(err) {
		t.Fatalf("acquire: %v", err)
	}
	e.Thaw()
	// whether the server carries it out is its affair; the keepalive before it took
	// the time here, so do what it would have done
	g, err := s.Acquire(within(t, 5*time.Second))
	if errors.Is(err, dcs.ErrHeld) {
		c, loadErr := s.Load(within(t, 5*time.Second))
		if loadErr != nil || c.LeaderName() != "a" || c.Leader.Session != session {
			t.Fatalf("held by somebody else: %+v, %v", c.Leader, loadErr)
		}
		g.Hold, err = dcs.Hold{Session: c.Leader.Session, Created: c.Leader.Created}, nil
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Release(within(t, 5*time.Second), g.Hold); err != nil {
		t.Fatal(err)
	}
	if err := s.Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	if c, err = s.Load(within(t, 5*time.Second)); err != nil || c.Member("a") == nil || c.Leader != nil {
		t.Fatalf("after the release: %+v, %v", c, err)
	}
}

func TestOneShotLoadIsFast(t *testing.T) {
	t.Parallel()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	best := time.Hour
	for range 10 {
		began := time.Now()
		s, err := etcd3.Open(t.Context(), etcd3.Options{Scope: "batman", Hosts: []string{e.Client}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Load(within(t, 5*time.Second)); err != nil {
			t.Fatal(err)
		}
		s.Close()
		best = min(best, time.Since(began))
	}
	t.Logf("dial, read, close: %v", best)
	if best > 20*time.Millisecond {
		t.Error("too slow")
	}
}
