package host

import (
	"os"
	"path/filepath"
	"testing"
)

// The unit that is shown in config is the one that is installed.
func TestUnitInConfig(t *testing.T) {
	shown, err := os.ReadFile("../../config/host/" + UnitName)
	if err != nil {
		t.Fatal(err)
	}
	if string(shown) != Unit("/opt/palisade/bin/nodeagent", "boot") {
		t.Error("config/host has another unit: write the output of nodeagent install-boot --print there")
	}
}

func TestInstallUnit(t *testing.T) {
	root := t.TempDir()
	unit := filepath.Join(root, UnitDir, UnitName)
	if UnitEnabled(root) {
		t.Error("enabled before it is there")
	}
	if err := RemoveUnit(root); err != nil {
		t.Errorf("nothing to remove: %v", err)
	}
	for _, text := range []string{"one", "one", "two"} {
		if err := InstallUnit(root, text); err != nil {
			t.Fatal(err)
		}
		through, err := os.ReadFile(wants(root))
		if err != nil || string(through) != text || !UnitEnabled(root) {
			t.Errorf("enabled: %q, %v", through, err)
		}
	}
	if err := os.Remove(wants(root)); err != nil {
		t.Fatal(err)
	}
	if UnitEnabled(root) {
		t.Error("enabled without the link")
	}
	if err := InstallUnit(root, "two"); err != nil {
		t.Fatal(err)
	}
	if err := RemoveUnit(root); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(unit); err == nil || UnitEnabled(root) {
		t.Error("still there")
	}
}
