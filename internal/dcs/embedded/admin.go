package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"
)

// Admin is the access to a running cluster. Each method asks the endpoints
// that it needs and ends with its context.
type Admin struct {
	Endpoints []string // host:port or URL of the members' client ports
	TLS       TLS      // CACert checks the servers; Cert and Key are shown to them
	Username  string
	Password  string
	// Peers are the configured members, name -> host:port of the peer address.
	// Replace needs them only for a member that the cluster does not list any more.
	Peers map[string]string
}

// perMember is how long one member may take to tell its state.
const perMember = 2 * time.Second

// Member is one member and how it is.
type Member struct {
	ID      uint64
	Name    string // empty if it was added and has not started yet
	Peer    string // URL
	Client  string // URL, empty if it has not started yet
	Learner bool
	Leader  bool
	Version string
	DBSize  int64  // bytes
	Index   uint64 // raft index that it has applied
	Err     error  // why it does not answer, nil if it does
}

// with runs do with a client of some endpoints.
func (a Admin) with(ctx context.Context, endpoints []string, do func(context.Context, *clientv3.Client) error) error {
	cfg, err := a.config(endpoints)
	if err != nil {
		return err
	}
	cfg.Context = ctx
	cli, err := clientv3.New(cfg)
	if err != nil {
		return fmt.Errorf("etcd: connect: %w", err)
	}
	defer cli.Close()
	return do(ctx, cli)
}

func (a Admin) config(endpoints []string) (clientv3.Config, error) {
	cfg := clientv3.Config{Endpoints: endpoints, DialTimeout: perMember, Username: a.Username, Password: a.Password, Logger: silent}
	if a.TLS != (TLS{}) {
		info := a.TLS.info()
		t, err := info.ClientConfig()
		if err != nil {
			return cfg, fmt.Errorf("etcd: TLS: %w", err)
		}
		cfg.TLS = t
	}
	return cfg, nil
}

// listWithin is how long a majority may take to agree on the list of members;
// then one member's own word has to do.
const listWithin = 3 * time.Second

// Members lists the members, and asks each how it is. Without a majority the
// list is the one that a single member knows.
func (a Admin) Members(ctx context.Context) ([]Member, error) {
	var list []Member
	err := a.with(ctx, a.Endpoints, func(ctx context.Context, cli *clientv3.Client) error {
		agreed, cancel := context.WithTimeout(ctx, listWithin)
		defer cancel()
		resp, err := cli.MemberList(agreed)
		if err != nil && ctx.Err() == nil {
			resp, err = cli.MemberList(ctx, clientv3.WithSerializable())
		}
		if err != nil {
			return fmt.Errorf("etcd: list the members: %w", err)
		}
		for _, m := range resp.Members {
			list = append(list, Member{ID: m.ID, Name: m.Name, Learner: m.IsLearner, Peer: first(m.PeerURLs), Client: first(m.ClientURLs)})
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var wg sync.WaitGroup
	for i := range list {
		wg.Go(func() { a.status(ctx, &list[i]) })
	}
	wg.Wait()
	slices.SortFunc(list, func(x, y Member) int { return cmp.Or(cmp.Compare(x.Name, y.Name), cmp.Compare(x.ID, y.ID)) })
	return list, nil
}

func first(list []string) string {
	if len(list) == 0 {
		return ""
	}
	return list[0]
}

func (a Admin) status(ctx context.Context, m *Member) {
	if m.Client == "" {
		m.Err = errors.New("not started yet")
		return
	}
	ctx, cancel := context.WithTimeout(ctx, perMember)
	defer cancel()
	m.Err = a.with(ctx, []string{m.Client}, func(ctx context.Context, cli *clientv3.Client) error {
		s, err := cli.Status(ctx, m.Client)
		if err != nil {
			return err
		}
		m.Leader = s.Leader == s.Header.MemberId
		m.Version, m.DBSize, m.Index = s.Version, s.DbSize, s.RaftAppliedIndex
		return nil
	})
}

// Leads asks the first endpoint only, with one message, whether its member leads.
func (a Admin) Leads(ctx context.Context) (bool, error) {
	if len(a.Endpoints) == 0 {
		return false, errors.New("etcd: no endpoint to ask")
	}
	leads := false
	err := a.with(ctx, a.Endpoints[:1], func(ctx context.Context, cli *clientv3.Client) error {
		s, err := cli.Status(ctx, a.Endpoints[0])
		if err != nil {
			return fmt.Errorf("etcd: status of %s: %w", a.Endpoints[0], err)
		}
		leads = s.Leader == s.Header.MemberId
		return nil
	})
	return leads, err
}

// MoveLeader moves etcd's leadership off the member awayFrom, to the one that
// has most. It is no error, and moved is empty, when another member leads.
//
// What if we are slow or wrong? etcd hands over only to a member that is up to
// date; if that does not work out it goes on with the leader it has.
func (a Admin) MoveLeader(ctx context.Context, awayFrom string) (moved string, err error) {
	list, err := a.Members(ctx)
	if err != nil {
		return "", err
	}
	var leader, to *Member
	for i := range list {
		m := &list[i]
		switch {
		case m.Err != nil:
		case m.Leader:
			leader = m
		case !m.Learner && m.Name != awayFrom && (to == nil || m.Index > to.Index):
			to = m
		}
	}
	if leader == nil {
		return "", errors.New("etcd: move the leadership: no member says that it leads")
	}
	if leader.Name != awayFrom {
		return "", nil
	}
	if to == nil {
		return "", fmt.Errorf("etcd: move the leadership away from %s: no other member is healthy", awayFrom)
	}
	err = a.with(ctx, []string{leader.Client}, func(ctx context.Context, cli *clientv3.Client) error {
		_, err := cli.MoveLeader(ctx, to.ID)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("etcd: move the leadership from %s to %s: %w", leader.Name, to.Name, err)
	}
	return to.Name, nil
}

// endpointsOf are the client addresses of the members that answer.
func endpointsOf(list []Member) (endpoints []string) {
	for _, m := range list {
		if m.Err == nil {
			endpoints = append(endpoints, m.Client)
		}
	}
	return endpoints
}
