package cni

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"palisade.dev/palisade/nodeagent/store"
)

// ownConfig is the file that Install writes where the network is configured by a
// single plugin's file, which cannot be chained; it sorts before all others.
const ownConfig = "00-palisade.conflist"

// ErrNoNetwork says that no CNI network is configured yet.
var ErrNoNetwork = errors.New("no CNI network is configured yet")

// InstallBinary copies the plugin into binDir so that a runtime that executes it
// meanwhile sees the old or the new one.
func InstallBinary(from, binDir string) error {
	if err := InstallProgram(from, filepath.Join(binDir, PluginType)); err != nil {
		return fmt.Errorf("plugin: %w", err)
	}
	return nil
}

// InstallProgram copies a program in one step.
func InstallProgram(from, to string) error {
	src, err := os.Open(from)
	if err != nil {
		return fmt.Errorf("program %s: %w", from, err)
	}
	defer src.Close()
	tmp, err := os.CreateTemp(filepath.Dir(to), "."+filepath.Base(to)+".*")
	if err != nil {
		return fmt.Errorf("program %s: %w", to, err)
	}
	defer os.Remove(tmp.Name())
	_, err = io.Copy(tmp, src)
	err = errors.Join(err, tmp.Chmod(0o755), tmp.Sync(), tmp.Close())
	if err == nil {
		err = os.Rename(tmp.Name(), to)
	}
	if err != nil {
		return fmt.Errorf("program %s: %w", to, err)
	}
	return nil
}

// Chain puts the plugin at the end of the network that the runtime uses: the
// first configuration of confDir in the order of names. It reports the file and
// whether that was changed, and is idempotent.
func Chain(confDir string, plugin map[string]any) (path string, changed bool, err error) {
	path, err = network(confDir)
	if err != nil {
		return "", false, err
	}
	conf, err := read(path)
	if err != nil {
		return path, false, err
	}
	plugin["type"] = PluginType
	if _, isList := conf["plugins"]; !isList {
		conf = map[string]any{"cniVersion": conf["cniVersion"], "name": conf["name"], "plugins": []any{conf}}
		path = filepath.Join(confDir, ownConfig)
	}
	plugins, ok := conf["plugins"].([]any)
	if !ok || len(plugins) == 0 {
		return path, false, fmt.Errorf("CNI configuration %s: plugins is not a list of plugins", path)
	}
	conf["plugins"] = append(slices.DeleteFunc(plugins, isOurs), plugin)
	changed, err = replaceIfNew(path, conf)
	return path, changed, err
}

// Unchain takes the plugin out again, wherever it is in confDir.
func Unchain(confDir string) (changed []string, err error) {
	if err := os.Remove(filepath.Join(confDir, ownConfig)); err == nil {
		changed = append(changed, filepath.Join(confDir, ownConfig))
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("CNI configuration: %w", err)
	}
	files, err := configurations(confDir)
	if err != nil {
		return changed, err
	}
	for _, path := range files {
		conf, err := read(path)
		if err != nil {
			continue // not ours to judge; we did not write it
		}
		plugins, ok := conf["plugins"].([]any)
		if !ok || !slices.ContainsFunc(plugins, isOurs) {
			continue
		}
		conf["plugins"] = slices.DeleteFunc(plugins, isOurs)
		if _, err := replaceIfNew(path, conf); err != nil {
			return changed, err
		}
		changed = append(changed, path)
	}
	return changed, nil
}

// Chained reports whether the network that the runtime uses has the plugin.
func Chained(confDir string) (bool, error) {
	files, err := configurations(confDir)
	if err != nil {
		return false, err
	}
	if len(files) == 0 {
		return false, fmt.Errorf("%s: %w", confDir, ErrNoNetwork)
	}
	conf, err := read(files[0])
	if err != nil {
		return false, err
	}
	plugins, _ := conf["plugins"].([]any)
	return slices.ContainsFunc(plugins, isOurs), nil
}

func isOurs(p any) bool {
	m, ok := p.(map[string]any)
	return ok && m["type"] == PluginType
}

func configurations(confDir string) ([]string, error) {
	es, err := os.ReadDir(confDir) // sorted by name, as runtimes look at them
	if err != nil {
		return nil, fmt.Errorf("CNI configuration: %w", err)
	}
	var files []string
	for _, e := range es {
		ext := filepath.Ext(e.Name())
		if !e.IsDir() && !strings.HasPrefix(e.Name(), ".") && (ext == ".conflist" || ext == ".conf" || ext == ".json") {
			files = append(files, filepath.Join(confDir, e.Name()))
		}
	}
	return files, nil
}

// network returns the file of the network in use; our own file stands for the
// one after it, so that changes there are taken over.
func network(confDir string) (string, error) {
	files, err := configurations(confDir)
	if err != nil {
		return "", err
	}
	files = slices.DeleteFunc(files, func(p string) bool { return filepath.Base(p) == ownConfig })
	if len(files) == 0 {
		return "", fmt.Errorf("%s: %w", confDir, ErrNoNetwork)
	}
	return files[0], nil
}

func read(path string) (map[string]any, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("CNI configuration %s: %w", path, err)
	}
	conf, err := decode(raw)
	if err != nil {
		return nil, fmt.Errorf("CNI configuration %s: %w", path, err)
	}
	return conf, nil
}

func decode(raw []byte) (conf map[string]any, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber() // an mtu must come out as it went in
	return conf, d.Decode(&conf)
}

// replaceIfNew writes conf to path unless that says the same already: every
// write makes the runtime read its networks anew.
func replaceIfNew(path string, conf map[string]any) (bool, error) {
	next, err := json.MarshalIndent(conf, "", "  ")
	if err != nil {
		return false, fmt.Errorf("CNI configuration %s: %w", path, err)
	}
	if raw, err := os.ReadFile(path); err == nil {
		if was, err := decode(raw); err == nil {
			if b, err := json.MarshalIndent(was, "", "  "); err == nil && bytes.Equal(b, next) {
				return false, nil
			}
		}
	}
	if err := store.Replace(path, append(next, '\n')); err != nil {
		return false, err
	}
	// Runtimes may read it as any user; a replaced file is private.
	if err := os.Chmod(path, 0o644); err != nil {
		return true, fmt.Errorf("CNI configuration %s: %w", path, err)
	}
	return true, nil
}
