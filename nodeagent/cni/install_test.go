package cni

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"testing"
)

func TestChain(t *testing.T) {
	const list = `{"cniVersion":"0.4.0","name":"k","plugins":[{"type":"bridge","mtu":1500},{"type":"portmap"}]}`
	tests := map[string]struct {
		files   map[string]string
		path    string
		plugins []string
		err     error
	}{
		"list":                        {files: map[string]string{"10-k.conflist": list}, path: "10-k.conflist", plugins: []string{"bridge", "portmap", PluginType}},
		"first in order of names":     {files: map[string]string{"20-z.conflist": `{`, "10-k.conflist": list}, path: "10-k.conflist", plugins: []string{"bridge", "portmap", PluginType}},
		"already there, not last":     {files: map[string]string{"k.conflist": `{"name":"k","plugins":[{"type":"palisade-cni","timeout":"1s"},{"type":"bridge"}]}`}, path: "k.conflist", plugins: []string{"bridge", PluginType}},
		"single plugin gets own list": {files: map[string]string{"10-k.conf": `{"cniVersion":"1.0.0","name":"k","type":"ptp"}`}, path: ownConfig, plugins: []string{"ptp", PluginType}},
		"nothing yet":                 {files: map[string]string{"readme.txt": "", ".10-k.conflist.123": list}, err: ErrNoNetwork},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			for f, c := range tc.files {
				if err := os.WriteFile(filepath.Join(dir, f), []byte(c), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			path, changed, err := Chain(dir, map[string]any{"timeout": "20s"})
			if !errors.Is(err, tc.err) {
				t.Fatalf("err = %v, want %v", err, tc.err)
			}
			if tc.err != nil {
				return
			}
			if path != filepath.Join(dir, tc.path) || !changed {
				t.Fatalf("Chain = %s, changed %t; want %s, true", path, changed, tc.path)
			}
			if got := pluginsOf(t, path); !equal(got, tc.plugins) {
				t.Errorf("plugins = %v, want %v", got, tc.plugins)
			}
			if ok, err := Chained(dir); !ok || err != nil {
				t.Errorf("Chained = %t, %v", ok, err)
			}
			if _, changed, err := Chain(dir, map[string]any{"timeout": "20s"}); changed || err != nil {
				t.Errorf("second Chain: changed %t, %v; want nothing to do", changed, err)
			}
			if _, err := Unchain(dir); err != nil {
				t.Fatal(err)
			}
			if ok, err := Chained(dir); ok || err != nil {
				t.Errorf("after Unchain: Chained = %t, %v", ok, err)
			}
		})
	}
}

// A number must survive the way through the file: 1e21 as a float would not.
func TestChainKeepsNumbers(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "k.conflist")
	if err := os.WriteFile(path, []byte(`{"name":"k","plugins":[{"type":"bridge","x":12345678901234567890}]}`), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Chain(dir, map[string]any{}); err != nil {
		t.Fatal(err)
	}
	var c struct {
		Plugins []struct{ X json.Number }
	}
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	if c.Plugins[0].X != "12345678901234567890" {
		t.Errorf("x = %s", c.Plugins[0].X)
	}
}

func pluginsOf(t *testing.T, path string) (types []string) {
	t.Helper()
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var c struct{ Plugins []struct{ Type string } }
	if err := json.Unmarshal(raw, &c); err != nil {
		t.Fatal(err)
	}
	for _, p := range c.Plugins {
		types = append(types, p.Type)
	}
	return types
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}
