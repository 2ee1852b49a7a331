//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// recorded is a recording of the reference's keys.
type recorded struct {
	Keys []struct {
		Key, Value string
		HasLease   bool     `json:"has_lease"`
		LeaseKeys  []string `json:"lease_keys"`
		GrantedTTL int      `json:"lease_granted_ttl"`
	}
}

func TestKeysInTheStoreAreThoseOfTheReference(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/healthy.json")
	if err != nil {
		t.Fatal(err)
	}
	var want recorded
	if err := json.Unmarshal(b, &want); err != nil {
		t.Fatal(err)
	}
	c := newCluster(t)
	for _, name := range []string{"pg-a", "pg-b", "pg-c"} {
		c.add(name, here(t))
	}
	c.nodes[2].set("tags", object{"nofailover": true, "clonefrom": true, "zone": "eu-1"})
	c.startAll()
	c.eventually(patience, "slots of all members are published", func() (bool, string) {
		keys, err := c.keys()
		status := string(keys["status"].Value)
		return strings.Contains(status, `"pg_b":`) && strings.Contains(status, `"pg_c":`) && strings.Contains(status, `"pg_a":`), status + errorText(err)
	})

	got, err := c.keysByEtcdctl()
	if err != nil {
		t.Fatal(err)
	}
	leases := map[int64][]string{}
	for name, kv := range got {
		leases[kv.Lease] = append(leases[kv.Lease], "/service/batman/"+name)
	}
	for _, w := range want.Keys {
		name := strings.TrimPrefix(w.Key, "/service/batman/")
		kv, there := got[name]
		delete(got, name)
		if !there {
			t.Errorf("no key %s", w.Key)
			continue
		}
		if (kv.Lease != 0) != w.HasLease {
			t.Errorf("key %s: lease %x, the reference's has one: %v", w.Key, kv.Lease, w.HasLease)
		}
		if w.HasLease {
			slices.Sort(leases[kv.Lease])
			if !slices.Equal(leases[kv.Lease], w.LeaseKeys) {
				t.Errorf("key %s shares its lease with %v, the reference's with %v", w.Key, leases[kv.Lease], w.LeaseKeys)
			}
			out, err := c.etcdctl("lease", "timetolive", fmt.Sprintf("%x", kv.Lease))
			if err != nil || !bytes.Contains(out, []byte("granted with TTL("+fmt.Sprint(ttl.Seconds())+"s)")) {
				t.Errorf("lease of %s: %s %v, want a granted TTL of %v", w.Key, out, err, ttl)
			}
		}
		if name == "config" {
			continue // ours differs; its form is compared below
		}
		// We add one field, at the end, to what the reference has.
		value, ours := strings.CutSuffix(shape(string(kv.Value)), `,"tamada":{"version":"<version>","guardian":true}}`)
		if ours {
			value += "}"
		}
		if strings.HasPrefix(value, "{") && !ours {
			t.Errorf("key %s does not say who wrote it: %s", name, kv.Value)
		}
		if want := shape(w.Value); value != want {
			t.Errorf("key %s\n has the form %s\n the reference's %s", name, value, want)
		}
	}
	for name, kv := range got {
		t.Errorf("the reference has no key %s: %s", name, kv.Value)
	}
	keys, _ := c.keys()
	config := keys["config"].Value
	var compact bytes.Buffer
	if err := json.Compact(&compact, config); err != nil || compact.String() != string(config) {
		t.Errorf("the key config is not compact JSON: %s", config)
	}
	wantConfig, _ := json.Marshal(c.dynamic)
	if !sameJSON(wantConfig, config) {
		t.Errorf("the key config is %s, bootstrap.dcs was %s", config, wantConfig)
	}
}

func sameJSON(a, b []byte) bool {
	var x, y any
	if json.Unmarshal(a, &x) != nil || json.Unmarshal(b, &y) != nil {
		return false
	}
	return fmt.Sprint(x) == fmt.Sprint(y)
}

var (
	numbers = regexp.MustCompile(`:\d+`)
	sysid   = regexp.MustCompile(`^\d{19}$`)
	urls    = regexp.MustCompile(`127\.0\.0\.1:\d+`)
	version = regexp.MustCompile(`"tamada":\{"version":"[^"]+"`)
	// The order in these is that of a map or of the configuration.
	unordered = regexp.MustCompile(`"(slots|tags)":\{[^}]*\}|"retain_slots":\[[^\]]*\]`)
)

// shape is a value with everything replaced that differs from run to run:
// numbers, ports, versions, and order where it has no meaning.
func shape(value string) string {
	if sysid.MatchString(value) {
		return "<system identifier>"
	}
	value = urls.ReplaceAllString(value, "<address>")
	value = version.ReplaceAllString(value, `"tamada":{"version":"<version>"`)
	value = unordered.ReplaceAllStringFunc(value, func(s string) string {
		begin, end := strings.IndexAny(s, "{[")+1, len(s)-1
		elements := strings.Split(s[begin:end], ",")
		slices.Sort(elements)
		return s[:begin] + strings.Join(elements, ",") + s[end:]
	})
	return numbers.ReplaceAllString(value, ":<number>")
}
