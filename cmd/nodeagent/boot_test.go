package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"palisade.dev/palisade/nodeagent/host"
)

func command(args ...string) (out string, err error) {
	var b bytes.Buffer
	root := newRoot()
	root.SetOut(&b)
	root.SetArgs(args)
	err = root.Execute()
	return b.String(), err
}

func TestBootSaysWhatIsOnDisk(t *testing.T) {
	empty, damaged := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(damaged, "snapshot"), []byte("?"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := command("boot", "--state-dir="+empty); err != nil || !strings.Contains(out, "nothing was brought into force") {
		t.Errorf("an empty directory: %q, %v", out, err)
	}
	if out, err := command("boot", "--state-dir="+damaged); err == nil || out != "" || !strings.Contains(err.Error(), damaged) {
		t.Errorf("a damaged snapshot: %q, %v", out, err)
	}
	if _, err := command("boot", "--state-dir="+empty, "--unbound-address=maybe"); err == nil || !strings.Contains(err.Error(), `"maybe"`) {
		t.Errorf("a bad flag: %v", err)
	}
}

// What check says follows what install-boot did.
func TestInstallBoot(t *testing.T) {
	proc := t.TempDir()
	root := filepath.Join(proc, "1", "root")
	check := func() string {
		out, _ := command("check", "--host-proc="+proc, "--state-dir="+root, "--cni-conf-dir="+root) // no node, and it says so
		return out
	}
	if out := check(); !strings.Contains(out, "reboot: after a reboot pods may start before the agent enforces") {
		t.Errorf("before: %s", out)
	}
	for range 2 {
		if out, err := command("install-boot", "--root="+root, "--program=/proc/self/exe"); err != nil || !strings.Contains(out, host.UnitName) {
			t.Fatalf("%q, %v", out, err)
		}
	}
	if i, err := os.Stat(filepath.Join(root, host.BootProgram)); err != nil || i.Mode().Perm() != 0o755 {
		t.Errorf("program: %v, %v", i, err)
	}
	if out := check(); !strings.Contains(out, "reboot: the unit "+host.UnitName+" is enabled") {
		t.Errorf("after: %s", out)
	}
	if _, err := command("uninstall-boot", "--root="+root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, host.BootProgram)); err == nil {
		t.Error("removed: the program is still there")
	}
	if out := check(); strings.Contains(out, "is enabled") {
		t.Errorf("removed: %s", out)
	}
}
