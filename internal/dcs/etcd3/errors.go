package etcd3

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// ErrCredentials: etcd refuses the user or the password. Nothing helps but a
// changed configuration.
var ErrCredentials = errors.New("etcd refuses the user name or password: check `username` and `password`")

// Errors that stay inside the package.
var (
	errLeaseGone   = errors.New("the lease does not exist")
	errTermChanged = errors.New("etcd elected a leader between keepalive and proof")
)

// nature is what an error says about the request that failed.
type nature byte

const (
	unknown  nature = iota // may or may not have been carried out: try the next node
	unsent                 // certainly not carried out: try the next node
	hopeless               // certainly not carried out, and no other node would do it
	refusal                // the store answered no
	again                  // worth repeating on the same node
)

// unsentError marks a request that did not leave this process.
type unsentError struct{ error }

func (e unsentError) Unwrap() error { return e.error }

// classify sorts an error of one try. Only what is certainly a refusal of the
// store may become one: everything else, above all a keepalive that failed
// because etcd lost its leader (code Unknown, "not a primary lessor"), is an
// outage (reference dcs-layout.md 8 and trap 9).
func classify(err error) nature {
	var u unsentError
	switch {
	case refused(err) || errors.Is(err, errLeaseGone):
		return refusal
	case errors.Is(err, errTermChanged):
		return again
	case errors.Is(err, ErrCredentials):
		return hopeless
	case errors.As(err, &u):
		return unsent
	}
	switch text := message(err); {
	case text == message(rpctypes.ErrGRPCNoLeader), text == message(rpctypes.ErrGRPCStopped), text == message(rpctypes.ErrGRPCNotCapable):
		return unsent
	case text == message(rpctypes.ErrGRPCNoSpace), text == message(rpctypes.ErrGRPCPermissionDenied),
		text == message(rpctypes.ErrGRPCRequestTooLarge), text == message(rpctypes.ErrGRPCLeaseTTLTooLarge):
		return hopeless
	}
	return unknown
}

// leaseGone tells whether the server says that it does not know a lease.
func leaseGone(err error) bool { return message(err) == message(rpctypes.ErrGRPCLeaseNotFound) }

// authFailed tells whether a new token may help (reference dcs-layout.md 8).
func authFailed(err error) bool {
	switch message(err) {
	case message(rpctypes.ErrGRPCUserEmpty), message(rpctypes.ErrGRPCPermissionDenied),
		message(rpctypes.ErrGRPCInvalidAuthToken), message(rpctypes.ErrGRPCAuthOldRevision):
		return true
	}
	return false
}

// serverSays tells whether an error is etcd's own answer, so that the
// connection is alive.
func serverSays(err error) bool {
	return strings.HasPrefix(message(err), "etcdserver: ") || errors.Is(err, errTermChanged)
}

// message is etcd's text, whatever code it came with.
func message(err error) string {
	if err == nil {
		return ""
	}
	if s, ok := status.FromError(err); ok && s != nil {
		return s.Message()
	}
	return err.Error()
}

// explain makes a try's error short enough for a line about several nodes.
func explain(err error) string {
	if s, ok := status.FromError(err); ok {
		switch s.Code() {
		case codes.DeadlineExceeded, codes.Canceled:
			return "no answer in time"
		}
		return strings.TrimPrefix(s.Message(), "etcdserver: ")
	}
	return err.Error()
}

// outage is what a request ends in that no node carried out for certain.
type outage struct {
	what string
	last map[string]error // by node
	lost bool             // some try may have been carried out
}

func (o *outage) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "etcd: %s: ", o.what)
	if len(o.last) == 0 {
		b.WriteString("no answer in time")
	}
	sep := ""
	for _, addr := range slices.Sorted(maps.Keys(o.last)) {
		fmt.Fprintf(&b, "%s%s: %s", sep, addr, explain(o.last[addr]))
		sep = "; "
	}
	if o.lost {
		b.WriteString(" (it may have been done all the same)")
	}
	return b.String()
}

func (o *outage) Unwrap() []error {
	var list []error
	for _, err := range o.last {
		list = append(list, err)
	}
	return list
}
