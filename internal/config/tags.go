package config

import (
	"fmt"

	"tamada/internal/cluster"
)

// PublishedTags are the tags as the member publishes them: the known boolean
// ones only when they are set, everything else as it is (reference
// configuration.md 2.10). warnings tell of contradictions.
func PublishedTags(tags *cluster.Object) (published *cluster.Tags, warnings []string) {
	published = &cluster.Object{}
	pair := map[string]string{"nofailover": "failover_priority", "nosync": "sync_priority"}
	for name, v := range tags.All() {
		switch name {
		case "nofailover", "nosync":
			_, both := tags.Get(pair[name])
			if !both && !cluster.Truthy(v) {
				continue
			}
		case "clonefrom", "noloadbalance", "nostream":
			if !cluster.Truthy(v) {
				continue
			}
		}
		published.Set(name, v)
	}
	for _, name := range []string{"nofailover", "nosync"} {
		flag, ok1 := tags.Get(name)
		number, ok2 := tags.Get(pair[name])
		n, ok3 := cluster.ParseInt(number, "")
		if ok1 && ok2 && ok3 && cluster.Truthy(flag) == (n > 0) {
			warnings = append(warnings, fmt.Sprintf("Conflicting configuration between %s: %s and %s: %s. Defaulting to %s: %s",
				name, cluster.Text(flag), pair[name], cluster.Text(number), name, cluster.Text(flag)))
		}
	}
	return published, warnings
}
