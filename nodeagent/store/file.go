// Package store keeps what a node must remember across restarts on its disk:
// every file is replaced whole, is synced before it counts, and is private.
package store

import (
	"fmt"
	"os"
	"path/filepath"
)

// Replace writes data to path so that after a crash at any point the file holds
// either its old or its new content, and that when Replace returns nil the new
// content is on the disk.
func Replace(path string, data []byte) error {
	dir := filepath.Dir(path)
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("file %s: %w", path, err)
	}
	defer func() {
		tmp.Close()
		os.Remove(tmp.Name()) // gone already where the rename happened
	}()
	if _, err := tmp.Write(data); err != nil {
		return fmt.Errorf("file %s: %w", path, err)
	}
	if err := tmp.Sync(); err != nil {
		return fmt.Errorf("file %s: sync: %w", path, err)
	}
	if err := os.Rename(tmp.Name(), path); err != nil {
		return fmt.Errorf("file %s: %w", path, err)
	}
	return syncDir(dir)
}

// syncDir makes a rename durable: without it the directory may still name the
// old file after a power cut.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return fmt.Errorf("directory %s: %w", dir, err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("directory %s: sync: %w", dir, err)
	}
	return nil
}
