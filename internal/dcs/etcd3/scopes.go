package etcd3

import (
	"context"
	"slices"
	"strings"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"tamada/internal/dcs"
)

var _ dcs.Lister = (*Store)(nil)

// maxListed bounds how many keys are looked at for the names of clusters.
const maxListed = 20000

// Scopes implements dcs.Lister: it reads the names of the keys, not the values,
// beside our own.
func (s *Store) Scopes(ctx context.Context) ([]string, error) {
	parent := s.base[:strings.LastIndexByte(s.base[:len(s.base)-1], '/')+1]
	end := parent[:len(parent)-1] + "0" // the byte after the slash
	return ask(ctx, s.pool, request{name: "list the clusters"}, func(ctx context.Context, l *link, _ int) ([]string, error) {
		resp, err := pb.NewKVClient(l.conn).Range(ctx, &pb.RangeRequest{Key: []byte(parent), RangeEnd: []byte(end), KeysOnly: true, Limit: maxListed})
		if err != nil {
			return nil, err
		}
		if err := s.pool.header(l, resp.Header, true); err != nil {
			return nil, err
		}
		var scopes []string
		for _, kv := range resp.Kvs {
			scope, _, within := strings.Cut(strings.TrimPrefix(string(kv.Key), parent), "/")
			if within && !slices.Contains(scopes, scope) {
				scopes = append(scopes, scope)
			}
		}
		slices.Sort(scopes)
		return scopes, nil
	})
}
