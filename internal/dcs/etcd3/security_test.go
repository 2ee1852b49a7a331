package etcd3_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/etcd/api/v3/authpb"
	pb "go.etcd.io/etcd/api/v3/etcdserverpb"

	"tamada/internal/cluster"
	"tamada/internal/dcs"
	"tamada/internal/dcs/dcstest"
	"tamada/internal/dcs/etcd3"
)

// withUsers switches authentication on: root, and pat who may use the scope.
func withUsers(t testing.TB, e *dcstest.Etcd) {
	t.Helper()
	a := pb.NewAuthClient(conn(t, e))
	ctx := within(t, 10*time.Second)
	must := func(_ any, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(a.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "root", Password: "root-secret", Options: &authpb.UserAddOptions{}}))
	must(a.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "root"}))
	must(a.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "root", Role: "root"}))
	must(a.UserAdd(ctx, &pb.AuthUserAddRequest{Name: "pat", Password: "pat-secret", Options: &authpb.UserAddOptions{}}))
	must(a.RoleAdd(ctx, &pb.AuthRoleAddRequest{Name: "scope"}))
	must(a.RoleGrantPermission(ctx, &pb.AuthRoleGrantPermissionRequest{Name: "scope", Perm: &authpb.Permission{
		PermType: authpb.Permission_READWRITE, Key: []byte("/service/batman/"), RangeEnd: []byte("/service/batman0")}}))
	must(a.UserGrantRole(ctx, &pb.AuthUserGrantRoleRequest{User: "pat", Role: "scope"}))
	must(a.AuthEnable(ctx, &pb.AuthEnableRequest{}))
}

func TestUsersLogInAndAgainWhenTheTokenIsLost(t *testing.T) {
	t.Parallel()
	versions(t, func(t *testing.T, o dcstest.EtcdOptions) {
		e := dcstest.StartEtcd(t, 1, o)[0]
		withUsers(t, e)
		opt := etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{e.Client}, Username: "pat", Password: "pat-secret",
			Times: dcs.Times{TTL: time.Minute, LoopWait: time.Second, RetryTimeout: 5 * time.Second}}
		s := open(t, opt)
		if err := s.Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		g, err := s.Acquire(within(t, 5*time.Second))
		if err != nil {
			t.Fatal(err)
		}
		views := s.Watch(t.Context())
		if u := <-views; u.Err != nil {
			t.Fatal(u.Err)
		}
		// tokens live in the server's memory
		e.Kill()
		e.Start()
		if _, err := s.Renew(within(t, 10*time.Second), g.Hold); err != nil {
			t.Fatalf("renew after etcd's restart: %v", err)
		}
		if _, err := s.Put(within(t, 5*time.Second), cluster.KeyConfig, []byte(`{}`), dcs.IfAbsent()); err != nil {
			t.Fatal(err)
		}
		other := opt
		other.Name = "b"
		if err := open(t, other).Touch(within(t, 5*time.Second), []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
		deadline := time.After(10 * time.Second)
		for done := false; !done; {
			select {
			case u := <-views:
				done = u.Cluster != nil && u.Cluster.Config != nil && u.Cluster.Member("b") != nil
			case <-deadline:
				t.Fatal("the watch did not log in again")
			}
		}
	})
}

func TestWrongCredentialsAreFatalAndSayNothingSecret(t *testing.T) {
	t.Parallel()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	withUsers(t, e)
	_, err := etcd3.Open(within(t, 5*time.Second), etcd3.Options{Scope: "batman", Hosts: []string{e.Client}, Username: "pat", Password: "guessed"})
	if !errors.Is(err, etcd3.ErrCredentials) || strings.Contains(err.Error(), "guessed") {
		t.Fatalf("wrong password: %v", err)
	}
	// nobody at all: not fatal, but clear
	s := open(t, etcd3.Options{Scope: "batman", Hosts: []string{e.Client}})
	if _, err = s.Load(within(t, 2*time.Second)); err == nil || dcs.Refused(err) || !strings.Contains(err.Error(), "user name is empty") {
		t.Fatalf("no user: %v", err)
	}
	// somebody who may not write there
	s = open(t, etcd3.Options{Scope: "robin", Name: "a", Hosts: []string{e.Client}, Username: "pat", Password: "pat-secret"})
	_, err = s.Acquire(within(t, 2*time.Second))
	if err == nil || dcs.Refused(err) || !strings.Contains(err.Error(), "permission denied") {
		t.Fatalf("foreign scope: %v", err)
	}
}

func TestUserWithoutAuthenticationIsFine(t *testing.T) {
	t.Parallel()
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{})[0]
	s := open(t, etcd3.Options{Scope: "batman", URL: "http://pat:pat-secret@" + e.Client})
	if _, err := s.Load(within(t, 5*time.Second)); err != nil {
		t.Fatal(err)
	}
}

func TestTLSWithClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	ca := dcstest.NewAuthority(t, filepath.Join(dir, "ca.pem"))
	ca.Issue(t, filepath.Join(dir, "server"))
	ca.Issue(t, filepath.Join(dir, "client"))
	dcstest.NewAuthority(t, filepath.Join(dir, "foreign.pem"))
	e := dcstest.StartEtcd(t, 1, dcstest.EtcdOptions{Protocol: "https", Extra: []string{
		"--cert-file=" + filepath.Join(dir, "server.pem"), "--key-file=" + filepath.Join(dir, "server.key"),
		"--client-cert-auth", "--trusted-ca-file=" + filepath.Join(dir, "ca.pem"),
	}})[0]
	o := etcd3.Options{Scope: "batman", Name: "a", Hosts: []string{e.Client}, Protocol: "https", CACert: filepath.Join(dir, "ca.pem"),
		Cert: filepath.Join(dir, "client.pem"), Key: filepath.Join(dir, "client.key"), Times: times}
	if _, err := open(t, o).Acquire(within(t, 20*time.Second)); err != nil {
		t.Fatal(err)
	}
	without := o
	without.Cert, without.Key = "", ""
	if _, err := open(t, without).Load(within(t, 2*time.Second)); err == nil {
		t.Fatal("served without a client certificate")
	}
	foreign := o
	foreign.CACert = filepath.Join(dir, "foreign.pem")
	if _, err := open(t, foreign).Load(within(t, 2*time.Second)); err == nil || !strings.Contains(err.Error(), "unknown authority") {
		t.Fatalf("with a foreign authority: %v", err)
	}
}
