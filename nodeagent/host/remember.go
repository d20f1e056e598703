package host

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Remember notes what Prepare may change, and returns what puts it back.
func (h Host) Remember() (restore func() error) {
	was := map[string]string{}
	for _, s := range bridgeSettings {
		path := filepath.Join(h.Proc, "sys", s.name)
		if b, err := os.ReadFile(path); err == nil {
			was[path] = strings.TrimSpace(string(b))
		}
	}
	look := h
	look.ReadOnly = true
	tracked := look.track() == nil
	return func() error {
		var errs []error
		for path, value := range was {
			if b, err := os.ReadFile(path); err == nil && strings.TrimSpace(string(b)) == value {
				continue
			}
			if err := os.WriteFile(path, []byte(value), 0o644); err != nil {
				errs = append(errs, fmt.Errorf("setting back: %w", err))
			}
		}
		if !tracked && look.track() == nil {
			errs = append(errs, h.Untrack())
		}
		return errors.Join(errs...)
	}
}
