package config

import (
	"strings"
	"testing"
)

func TestStoreURL(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"": "etcd localhost:2379 ", "db1/ns2": "etcd db1:2379 /ns2", "etcd3://db1:2380/ns2": "etcd3 db1:2380 /ns2", "//db1:2181": "zookeeper db1:2181 ",
		"h:8500": "consul h:8500 ", "h:1": "etcd h:1 ", "ETCD3://": "etcd3 localhost:2379 ", "etcd3://[::1]:7/": "etcd3 [::1]:7 ", "exhibitor://x": "exhibitor x:8181 ",
		"foo://x": "Unknown dcs scheme: foo", "etcd3://u:hunter2@%zz": "the DCS URL cannot be read, expected [SCHEME://][HOST][:PORT][/NAMESPACE]",
	} {
		u, err := ParseStoreURL(in)
		got := ""
		if err != nil {
			got = err.Error()
		} else {
			got = u.Section + " " + u.Host.String() + " " + u.Namespace
		}
		if got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func TestStoreURLTakesThePlaceOfTheSection(t *testing.T) {
	t.Parallel()
	path := write(t, "c.yml", "scope: s\nnamespace: a\netcd3: {host: old, username: u}\nconsul: {host: c}\n")
	u, err := ParseStoreURL("etcd3://new/b")
	if err != nil {
		t.Fatal(err)
	}
	c, err := LoadClient(path, nil, u)
	if err != nil || strings.Join(c.Etcd3.Hosts, " ") != "new:2379" || c.Namespace != "/b" || c.Etcd3.Username != "" || c.Store != "etcd3" {
		t.Errorf("got %+v, %v", c, err)
	}
	u, _ = ParseStoreURL("h")
	if _, err := LoadClient(path, nil, u); err == nil || !strings.Contains(err.Error(), "etcd: this store is not supported yet; use etcd3") {
		t.Errorf("got %v", err)
	}
	if c, err := LoadClient("", nil, nil); err != nil || c.Store != "" {
		t.Errorf("nothing configured: %+v, %v", c, err)
	}
}
