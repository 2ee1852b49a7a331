package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"tamada/internal/cluster"
)

// CacheFile is the name of the file in the data folder that holds the last
// dynamic configuration seen (reference configuration.md 1.6).
const CacheFile = "patroni.dynamic.json"

// LoadCache reads the cached dynamic configuration of a data folder; nil when
// there is none.
func LoadCache(dataDir string) (*cluster.Object, error) {
	path := filepath.Join(dataDir, CacheFile)
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("load cached dynamic configuration: %w", err)
	}
	doc, err := cluster.ParseObject(data)
	if err != nil {
		return nil, fmt.Errorf("load cached dynamic configuration: %w", err)
	}
	return doc, nil
}

// SaveCache replaces the cached dynamic configuration of a data folder in one
// step: whoever reads it meanwhile, or after a crash, sees the old or the new
// one. mode is that of the data folder's files, 0600 or 0640.
func SaveCache(dataDir string, doc *cluster.Object, mode os.FileMode) (err error) {
	path := filepath.Join(dataDir, CacheFile)
	defer func() {
		if err != nil {
			err = fmt.Errorf("save %s: %w", path, err)
		}
	}()
	f, err := os.CreateTemp(dataDir, CacheFile)
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // in vain once it is renamed
	defer f.Close()
	if _, err := f.Write(cluster.Spaced(doc)); err != nil {
		return err
	}
	if err := f.Chmod(mode); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
