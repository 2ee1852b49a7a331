package etcd3

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"tamada/internal/dcs"
)

// A definite refusal demotes a primary. Nothing else may be taken for one.
func TestOnlyTheStoresAnswerIsARefusal(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		err  error
		want nature
	}{
		{"conflict", dcs.ErrConflict, refusal},
		{"held by another", fmt.Errorf("%w: b", dcs.ErrHeld), refusal},
		{"absent", dcs.ErrAbsent, refusal},
		{"lease gone", errLeaseGone, refusal},
		{"etcd lost its leader during a keepalive", status.Error(codes.Unknown, "lease: not a primary lessor"), unknown},
		{"the same by another code", status.Error(codes.Unavailable, "etcdserver: not a primary lessor"), unknown},
		{"no leader", rpctypes.ErrGRPCNoLeader, unsent},
		{"leader changed", rpctypes.ErrGRPCLeaderChanged, unknown},
		{"timed out", rpctypes.ErrGRPCTimeout, unknown},
		{"timed out with the leader", rpctypes.ErrGRPCTimeoutDueToLeaderFail, unknown},
		{"overloaded", rpctypes.ErrGRPCRequestTooManyRequests, unknown},
		{"deadline", context.DeadlineExceeded, unknown},
		{"deadline as status", status.Error(codes.DeadlineExceeded, "context deadline exceeded"), unknown},
		{"connection closed", status.Error(codes.Canceled, "grpc: the client connection is closing"), unknown},
		{"broken answer of a proxy", status.Error(codes.Internal, "unexpected HTTP status code 502"), unknown},
		{"never connected", unsentError{errors.New("connection refused")}, unsent},
		{"full", rpctypes.ErrGRPCNoSpace, hopeless},
		{"forbidden", rpctypes.ErrGRPCPermissionDenied, hopeless},
		{"wrong password", fmt.Errorf("log in: %w", ErrCredentials), hopeless},
		{"election in between", errTermChanged, again},
	} {
		if got := classify(x.err); got != x.want {
			t.Errorf("%s: %v, want %v", x.name, got, x.want)
		}
		if o := (&outage{what: "renew", last: map[string]error{"n": x.err}}); x.want != refusal && dcs.Refused(o) {
			t.Errorf("%s: the outage counts as a refusal", x.name)
		}
	}
}

func TestRefusalAfterALostAnswerIsNotCertain(t *testing.T) {
	t.Parallel()
	n1, n2 := &node{addr: "n1"}, &node{addr: "n2"}
	take := func(r request, results ...result[int]) (err error, over bool) {
		q := &inquiry[int]{r: r, busy: map[*node]bool{n1: true, n2: true}, out: &outage{last: map[string]error{}}}
		for _, x := range results {
			if _, err, over = q.take(x); over {
				return err, true
			}
		}
		return err, false
	}
	lost := result[int]{n1, 0, rpctypes.ErrGRPCTimeout}
	unsentToo := result[int]{n1, 0, unsentError{errors.New("connection refused")}}
	no := result[int]{n2, 0, dcs.ErrConflict}
	conditional := request{name: "write config", writes: true, conditional: true}
	if err, over := take(conditional, lost, no); !over || dcs.Refused(err) {
		t.Errorf("the first try was lost: %v %v", err, over)
	}
	if _, over := take(conditional, no); over {
		t.Error("decided while another try was under way")
	}
	if err, over := take(conditional, unsentToo, no); !over || !errors.Is(err, dcs.ErrConflict) {
		t.Errorf("the first try was never sent: %v %v", err, over)
	}
	if err, over := take(request{name: "renew"}, lost, result[int]{n2, 0, dcs.ErrHeld}); !over || !errors.Is(err, dcs.ErrHeld) {
		t.Errorf("what another holds is held however often we ask: %v %v", err, over)
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:2379", "10.0.0.1:99": "10.0.0.1:99", "h": "h:2379", "[::1]:99": "[::1]:99", "[::1]": "[::1]:2379",
		"::1": "[::1]:2379", "https://h:99/": "h:99", " h:99 ": "h:99",
	} {
		got, _, err := addresses([]string{in, in}, "http")
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%q: %v %v, want %v once", in, got, err, want)
		}
	}
	for _, in := range []string{"h:x", "a b", "h/p:1"} {
		if got, _, err := addresses([]string{in}, "http"); err == nil {
			t.Errorf("%q: %v, want an error", in, got)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		name string
		o    Options
		want string // base and first host, "" for an error
	}{
		{"host", Options{Scope: "batman", Hosts: []string{"h"}}, "http /service/batman/ h:2379"},
		{"slashes", Options{Namespace: "//a//b/", Scope: "c", Hosts: []string{"h"}}, "http /a/b/c/ h:2379"},
		{"url", Options{Scope: "c", URL: "https://u:p@h:1"}, "https /service/c/ h:1"},
		{"proxy wins", Options{Scope: "c", Proxy: "http://p:1", Hosts: []string{"h"}}, "http /service/c/ p:1"},
		{"hosts before url", Options{Scope: "c", URL: "http://u:1", Hosts: []string{"h"}}, "http /service/c/ h:2379"},
		{"nothing", Options{Scope: "c"}, ""},
		{"no scope", Options{Hosts: []string{"h"}}, ""},
		{"cert without key", Options{Scope: "c", Hosts: []string{"h"}, Cert: "x"}, ""},
	} {
		o, err := x.o.normalize()
		got := ""
		if err == nil {
			got = o.Protocol + " " + base(o) + " " + o.Hosts[0]
		}
		if got != x.want {
			t.Errorf("%s: %q %v, want %q", x.name, got, err, x.want)
		}
	}
}
