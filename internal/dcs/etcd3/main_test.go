package etcd3_test

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"testing"

	"go.etcd.io/etcd/server/v3/embed"
)

// TestMain makes the test binary an etcd server of the library's version when
// it is started as "BINARY etcd-server FLAGS".
func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == "etcd-server" {
		if err := serve(os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// serve understands the flags that dcstest.StartEtcd gives.
func serve(args []string) error {
	cfg := embed.NewConfig()
	fs := flag.NewFlagSet("etcd-server", flag.ContinueOnError)
	fs.StringVar(&cfg.Name, "name", "", "")
	fs.StringVar(&cfg.Dir, "data-dir", "", "")
	fs.StringVar(&cfg.InitialCluster, "initial-cluster", "", "")
	fs.BoolVar(&cfg.UnsafeNoFsync, "unsafe-no-fsync", false, "")
	for name, list := range map[string]*[]url.URL{
		"listen-client-urls": &cfg.ListenClientUrls, "advertise-client-urls": &cfg.AdvertiseClientUrls,
		"listen-peer-urls": &cfg.ListenPeerUrls, "initial-advertise-peer-urls": &cfg.AdvertisePeerUrls,
	} {
		fs.Func(name, "", func(text string) error {
			u, err := url.Parse(text)
			if err == nil {
				*list = []url.URL{*u}
			}
			return err
		})
	}
	if err := fs.Parse(args); err != nil {
		return err
	}
	cfg.LogLevel = "error"
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		return err
	}
	return <-e.Err()
}

// newest is the command for a server of the library's version.
func newest(t testing.TB) []string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return []string{self, "etcd-server"}
}
