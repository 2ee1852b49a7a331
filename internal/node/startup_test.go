//go:build linux

package node

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"tamada/internal/cluster"
	"tamada/internal/config"
)

// A spoiled copy of the dynamic configuration is ignored, in favour of bootstrap.dcs.
func TestSpoiledCacheKeepsNobodyFromStarting(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		`{"ttl": 40}`:                         `{"ttl":40}`,
		`{"ttl": "40s"}`:                      `{"ttl":50}`,
		`{"postgresql": {"parameters": "x"}}`: `{"ttl":50}`,
		`{"ttl": 4`:                           `{"ttl":50}`,
		``:                                    `{"ttl":50}`,
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, config.CacheFile), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		cfg := &config.Config{Doc: &cluster.Object{}, Bootstrap: &config.Bootstrap{DCS: cluster.NewObject("ttl", 50)}}
		cfg.Postgresql.DataDir = dir
		doc, err := initialDynamic(cfg)
		if got := string(cluster.Compact(doc)); got != want {
			t.Errorf("%s: %s", text, got)
		}
		if good := text == `{"ttl": 40}`; (err == nil) != good || err != nil && !strings.HasPrefix(err.Error(), dir+"/"+config.CacheFile+": ") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
