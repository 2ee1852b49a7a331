package etcd3

import (
	"context"
	"fmt"

	pb "go.etcd.io/etcd/api/v3/etcdserverpb"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
)

// auth is the token that etcd gave us for user and password.
type auth struct {
	turn  chan struct{} // holds one element; whoever has it owns the token
	token string
	off   bool // the server does not ask for users
}

func (a *auth) init() { a.turn = make(chan struct{}, 1); a.turn <- struct{}{} }

// authorized runs do with a token, and once more with a new one if the server
// did not like it.
func authorized[T any](ctx context.Context, p *pool, l *link, do func(context.Context) (T, error)) (T, error) {
	var none T
	token, err := p.authenticate(ctx, l, "")
	if err != nil {
		return none, err
	}
	v, err := do(requireLeader(ctx, token))
	if err == nil || p.opt.Username == "" || !authFailed(err) {
		return v, err
	}
	p.log.Debug("etcd: the token is no longer good", "error", err)
	if token, err = p.authenticate(ctx, l, token); err != nil {
		return none, err
	}
	return do(requireLeader(ctx, token))
}

// authenticate gives the token to use; bad is one that the server refused.
func (p *pool) authenticate(ctx context.Context, l *link, bad string) (string, error) {
	if p.opt.Username == "" {
		return "", nil
	}
	a := &p.auth
	select {
	case <-a.turn:
		defer func() { a.turn <- struct{}{} }()
	case <-ctx.Done():
		return "", unsentError{ctx.Err()}
	}
	if bad == "" && a.off || a.token != "" && a.token != bad {
		return a.token, nil
	}
	resp, err := pb.NewAuthClient(l.conn).Authenticate(requireLeader(ctx, ""), &pb.AuthenticateRequest{Name: p.opt.Username, Password: p.opt.Password})
	switch {
	case err == nil:
		a.token, a.off = resp.Token, false
		return a.token, nil
	case message(err) == message(rpctypes.ErrGRPCAuthNotEnabled):
		a.token, a.off = "", true
		return "", nil
	case message(err) == message(rpctypes.ErrGRPCAuthFailed):
		return "", fmt.Errorf("log in as %q: %w", p.opt.Username, ErrCredentials)
	}
	return "", unsentError{fmt.Errorf("log in: %w", err)} // the request itself was not sent
}
