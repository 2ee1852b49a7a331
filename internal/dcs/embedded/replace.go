package embedded

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
)

// Replace removes a member that is lost and adds it anew under the same
// address, as a learner, which cannot disturb a vote. When the node is started
// with an empty data folder, or with its former one, it joins, catches up and
// becomes a voter by itself. progress gets a line for each step. Done again
// after a failure it goes on where it stopped.
//
// What if we are wrong and the member lives? Then it would lose its vote for
// nothing, so a member that answers is not replaced.
func (a Admin) Replace(ctx context.Context, name string, progress func(string)) error {
	list, err := a.Members(ctx)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(list, func(m Member) bool { return m.Name == name })
	if i < 0 {
		return a.addMissing(ctx, list, name, progress)
	}
	lost := list[i]
	if lost.Err == nil {
		return fmt.Errorf("etcd: member %q answers, so it is not replaced; stop it first if its data must go", name)
	}
	if err := majority(slices.Delete(slices.Clone(list), i, i+1)); err != nil {
		return err
	}
	return a.with(ctx, endpointsOf(list), func(ctx context.Context, cli *clientv3.Client) error {
		err := whenSettled(ctx, progress, func() error { _, err := cli.MemberRemove(ctx, lost.ID); return err })
		if err != nil {
			return fmt.Errorf("etcd: remove member %q: %w", name, err)
		}
		progress(fmt.Sprintf("removed member %s (%x)", name, lost.ID))
		return add(ctx, cli, name, lost.Peer, progress)
	})
}

// addMissing adds a member that the cluster does not list (any more).
func (a Admin) addMissing(ctx context.Context, list []Member, name string, progress func(string)) error {
	addr, ok := a.Peers[name]
	if !ok {
		return fmt.Errorf("etcd: there is no member %q; `tamada etcd members` lists them", name)
	}
	peer := a.TLS.scheme() + "://" + addr
	if slices.ContainsFunc(list, func(m Member) bool { return m.Peer == peer }) {
		progress(fmt.Sprintf("%s is listed already and waits for its first start: start etcd on that node", name))
		return nil
	}
	if err := majority(list); err != nil {
		return err
	}
	return a.with(ctx, endpointsOf(list), func(ctx context.Context, cli *clientv3.Client) error {
		return add(ctx, cli, name, peer, progress)
	})
}

// majority tells whether enough of these members answer to decide something.
func majority(list []Member) error {
	voters, healthy := 0, 0
	for _, m := range list {
		if !m.Learner {
			voters++
			if m.Err == nil {
				healthy++
			}
		}
	}
	if healthy < voters/2+1 {
		return fmt.Errorf("etcd: only %d of the %d other members answer: without a majority nothing can be replaced; start the others, or restore a snapshot", healthy, voters)
	}
	return nil
}

func add(ctx context.Context, cli *clientv3.Client, name, peer string, progress func(string)) error {
	var resp *clientv3.MemberAddResponse
	err := whenSettled(ctx, progress, func() (err error) {
		resp, err = cli.MemberAddAsLearner(ctx, []string{peer})
		return err
	})
	if err != nil {
		return fmt.Errorf("etcd: member %q is removed, but adding it anew failed: %w; do the same again", name, err)
	}
	progress(fmt.Sprintf("added it anew at %s (%x), as a learner until it has caught up", peer, resp.Member.ID))
	progress(fmt.Sprintf("now start etcd on %s: it joins by itself; former data is moved aside", name))
	return nil
}

// whenSettled repeats a change of membership while etcd holds it too risky: it
// wants to have been connected to a majority for 5 s.
func whenSettled(ctx context.Context, progress func(string), change func() error) error {
	for told := false; ; told = true {
		err := change()
		if !errors.Is(err, rpctypes.ErrUnhealthy) && !errors.Is(err, rpctypes.ErrGRPCUnhealthy) {
			return err
		}
		if !told {
			progress("waiting until etcd finds its members well connected")
		}
		t := time.NewTimer(500 * time.Millisecond)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}
