package etcd3_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"

	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/etcd3"
)

// factory is one etcd server of Debian's for the conformance suite.
type factory struct {
	*dcstest.Etcd
	kv pb.KVClient
}

var times = dcs.Times{TTL: 2 * time.Second, LoopWait: 600 * time.Millisecond, RetryTimeout: 2 * time.Second}

func newFactory(t *testing.T, o dcstest.EtcdOptions) dcstest.Factory {
	e := dcstest.StartEtcd(t, 1, o)[0]
	conn, err := grpc.NewClient(e.Client, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &factory{e, pb.NewKVClient(conn)}
}

func (f *factory) Open(t testing.TB, name, inherit string) dcs.Store {
	return open(t, etcd3.Options{Scope: "batman", Name: name, Hosts: []string{f.Client}, Times: times, Session: inherit})
}
func (f *factory) TTL() time.Duration     { return times.TTL }
func (f *factory) Elapse(d time.Duration) { time.Sleep(d) }
func (f *factory) Freeze(testing.TB)      { f.Etcd.Freeze() }
func (f *factory) Thaw(testing.TB)        { f.Etcd.Thaw() }
func (f *factory) Set(t testing.TB, key string, value []byte) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	var err error
	if k := []byte("/service/batman/" + key); value == nil {
		_, err = f.kv.DeleteRange(ctx, &pb.DeleteRangeRequest{Key: k})
	} else {
		_, err = f.kv.Put(ctx, &pb.PutRequest{Key: k, Value: value})
	}
	if err != nil {
		t.Fatalf("set %s: %v", key, err)
	}
}

func open(t testing.TB, o etcd3.Options) *etcd3.Store {
	t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
	}
	s, err := etcd3.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func TestConformance(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, o dcstest.EtcdOptions) {
		dcstest.Run(t, func(t *testing.T) dcstest.Factory { return newFactory(t, o) })
	})
}
