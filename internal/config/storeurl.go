package config

import (
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// StoreURL is where a store is, as the option --dcs-url of the command line
// tells it (reference cli.md 1.2).
type StoreURL struct {
	Section   string // consul, etcd, etcd3, exhibitor or zookeeper
	Host      Address
	Namespace string // "" when the URL names none
}

// storePorts are the kinds of store that a URL can name. Where two share a
// port, the first is meant by the port alone.
var storePorts = []struct {
	section string
	port    int
}{{"etcd", 2379}, {"consul", 8500}, {"zookeeper", 2181}, {"exhibitor", 8181}, {"etcd3", 2379}}

// ParseStoreURL reads [SCHEME://][HOST][:PORT][/NAMESPACE]. Without a scheme
// the port tells the kind of store.
func ParseStoreURL(s string) (*StoreURL, error) {
	text := s
	if !strings.Contains(s, "//") {
		text = "//" + s
	}
	u, err := url.Parse(text)
	if err != nil {
		// The error of package url repeats the URL, which may hold a password.
		return nil, errors.New("the DCS URL cannot be read, expected [SCHEME://][HOST][:PORT][/NAMESPACE]")
	}
	store := &StoreURL{Section: strings.ToLower(u.Scheme), Host: Address{Hosts: []string{"localhost"}}}
	if h := u.Hostname(); h != "" {
		store.Host.Hosts[0] = h
	}
	store.Host.Port, _ = strconv.Atoi(u.Port())
	if strings.Trim(u.Path, "/") != "" {
		store.Namespace = u.Path
	}
	if store.Section == "" {
		store.Section = "etcd"
		for _, p := range storePorts {
			if p.port == store.Host.Port && p.section != "etcd3" {
				store.Section = p.section
			}
		}
	}
	i := slices.IndexFunc(storePorts, func(p struct {
		section string
		port    int
	}) bool {
		return p.section == store.Section
	})
	if i < 0 {
		return nil, unknownScheme(store.Section)
	}
	if store.Host.Port == 0 {
		store.Host.Port = storePorts[i].port
	}
	return store, nil
}

// unknownScheme has the reference's text for its message.
type unknownScheme string

func (e unknownScheme) Error() string { return "Unknown dcs scheme: " + string(e) }

// apply puts the store in the place of those that a document configures.
func (s *StoreURL) apply(d *Document) {
	pos := Pos{Source: "option --dcs-url"}
	for _, p := range storePorts {
		d.Root.Delete(p.section)
	}
	d.set(s.Section+".host", s.Host.String(), pos)
	if s.Namespace != "" {
		d.set("namespace", s.Namespace, pos)
	}
}
