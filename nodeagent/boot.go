package nodeagent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"palisade.dev/palisade/nodeagent/datapath"
	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/host"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
)

// ErrNothingOnDisk says that there is no snapshot to boot into.
var ErrNothingOnDisk = errors.New("no snapshot on disk: this node has never had one")

// Boot brings the newest good snapshot on disk into force and returns; the kernel
// goes on with it. It is for the time before pods run, when no controller can be
// asked and no agent runs. Where it fails it leaves nothing behind. What it needs of
// c are the state directory, the host and how to open the datapath; an empty node
// stands for the one that the snapshot is of.
func Boot(ctx context.Context, c Config) (commit snapshot.Commit, err error) {
	unlock, err := LockState(c.StateDir)
	if err != nil {
		return commit, err
	}
	defer unlock()
	if empty, err := nothingOnDisk(c.StateDir); err != nil {
		return commit, err
	} else if empty {
		return commit, ErrNothingOnDisk
	}
	keys := Keys{Files: c.KeysFiles, Copy: filepath.Join(c.StateDir, keysCopy)}.Load
	disk := store.NewSnapshots(c.StateDir)
	if c.Node == "" {
		if c.Node, err = nodeOnDisk(disk, keys); err != nil {
			return commit, err
		}
	}
	findings, err := c.prepare()
	if err != nil {
		return commit, err
	}
	logFindings(c.Log, findings)
	_, statErr := os.Stat(c.Host.PinDir)
	if unpinned := errors.Is(statErr, fs.ErrNotExist); unpinned {
		defer func() {
			if err != nil {
				err = errors.Join(err, datapath.Remove(c.Host.PinDir))
			}
		}()
	}
	dp, err := c.Open()
	if err != nil {
		return commit, err
	}
	defer func() { err = errors.Join(err, dp.Close()) }()
	f, err := openFacts(c.StateDir, c.Log)
	if err != nil {
		return commit, err
	}
	defer f.Close()
	a := New(Options{Node: c.Node, Log: c.Log, Kernel: dp, Facts: f, Disk: disk, Now: time.Now, Keys: keys})
	ok, problem := a.Recover(ctx)
	if !ok {
		return commit, problem
	}
	if problem != nil {
		c.Log.Error(problem, "a part of what is on disk was not taken")
	}
	commit, _ = a.holding.current()
	return commit, writeBootMark(c.StateDir, commit.Generation)
}

// nothingOnDisk reports whether no snapshot was ever kept in a directory.
func nothingOnDisk(dir string) (bool, error) {
	found, err := filepath.Glob(filepath.Join(dir, "snapshot*"))
	return len(found) == 0, err
}

// nodeOnDisk is the node whose snapshot is on disk.
func nodeOnDisk(disk *store.Snapshots, load func() (snapshot.Keys, error)) (string, error) {
	keys, err := load()
	if err != nil {
		return "", fmt.Errorf("keys that sign snapshots: %w", err)
	}
	files, problem := disk.Load(keys)
	if len(files) == 0 {
		return "", problem
	}
	return files[0].Commit.Node, nil
}

// bootMark is what Boot leaves for the agent to tell.
type bootMark struct {
	Boot       string `json:"boot"` // which boot of the machine it was
	Generation string `json:"generation"`
}

const bootFile = "boot.json"

func writeBootMark(dir string, g snapshot.Generation) error {
	epoch, err := facts.CurrentEpoch()
	if err != nil {
		return err
	}
	b, err := json.Marshal(bootMark{epoch.Boot, g.String()})
	if err != nil {
		return fmt.Errorf("boot mark: %w", err)
	}
	return store.Replace(filepath.Join(dir, bootFile), b)
}

// BootedInto is the generation that was in force before any pod ran, if the host's
// unit brought one there at this boot.
func BootedInto(stateDir string) (generation string, ok bool) {
	epoch, err := facts.CurrentEpoch()
	if err != nil {
		return "", false
	}
	b, err := os.ReadFile(filepath.Join(stateDir, bootFile))
	if err != nil {
		return "", false
	}
	var m bootMark
	if json.Unmarshal(b, &m) != nil || m.Boot != epoch.Boot {
		return "", false
	}
	return m.Generation, true
}

// Protection says what keeps pods from running unprotected after a reboot.
type Protection struct {
	Chained bool   // pods wait for the agent
	Unit    bool   // the host's unit is enabled
	Booted  string // the generation that the unit brought into force at this boot
}

// Holds reports whether anything does. A unit that was enabled after the boot counts:
// it is about the next one.
func (p Protection) Holds() bool { return p.Chained || p.Unit || p.Booted != "" }

func (p Protection) String() string {
	const chained = "pods wait for the agent: the CNI plugin is chained"
	unit := ""
	switch {
	case p.Booted != "":
		unit = "the unit " + host.UnitName + " brought generation " + p.Booted + " into force at boot"
	case p.Unit:
		unit = "the unit " + host.UnitName + " is enabled; it did not run at this boot, or had nothing to bring into force"
	}
	switch {
	case p.Chained && unit != "":
		return chained + "; " + unit
	case p.Chained:
		return chained
	case unit != "":
		return unit + "; pods do not wait for the agent (nodeagent install-cni)"
	}
	return "after a reboot pods may start before the agent enforces: chain palisade-cni (nodeagent install-cni), or have the host load the last snapshot before kubelet starts (nodeagent install-boot)"
}
