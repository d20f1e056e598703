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
	if string(shown) != Unit(BootProgram, "boot") {
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

// What is not Palisade's stays, and the folders that it is in.
func TestRemoveBoot(t *testing.T) {
	for name, tc := range map[string]struct {
		others []string
		remain string
	}{
		"alone":          {nil, "/opt"},
		"another in bin": {[]string{"/opt/palisade/bin/tool"}, "/opt/palisade/bin/tool"},
		"another beside": {[]string{"/opt/palisade/notes"}, "/opt/palisade/notes"},
	} {
		t.Run(name, func(t *testing.T) {
			root := t.TempDir()
			if err := RemoveBoot(root); err != nil {
				t.Errorf("nothing to remove: %v", err)
			}
			program := filepath.Join(root, BootProgram)
			if err := os.MkdirAll(filepath.Dir(program), 0o755); err != nil {
				t.Fatal(err)
			}
			for _, file := range append(tc.others, BootProgram) {
				if err := os.WriteFile(filepath.Join(root, file), nil, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := InstallUnit(root, "unit"); err != nil {
				t.Fatal(err)
			}
			if err := RemoveBoot(root); err != nil {
				t.Fatal(err)
			}
			if _, err := os.Stat(program); err == nil || UnitEnabled(root) {
				t.Error("the program or its unit is still there")
			}
			if _, err := os.Stat(filepath.Join(root, tc.remain)); err != nil {
				t.Errorf("more than the unit's is gone: %v", err)
			}
			if _, err := os.Stat(filepath.Join(root, "/opt/palisade")); len(tc.others) == 0 && err == nil {
				t.Error("an empty folder is left")
			}
		})
	}
}
