package vm

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// entries reads an archive back.
func entries(t *testing.T, data []byte) map[string]string {
	t.Helper()
	found := map[string]string{}
	number := func(at int) int {
		n, err := strconv.ParseUint(string(data[at:at+8]), 16, 32)
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	align := func(n int) int { return (n + 3) &^ 3 }
	for at := 0; ; {
		if string(data[at:at+6]) != "070701" {
			t.Fatalf("no header at %d", at)
		}
		size, length := number(at+6+6*8), number(at+6+11*8)
		name := string(data[at+110 : at+110+length-1])
		body := align(at + 110 + length)
		if name == "TRAILER!!!" {
			if body != len(data) {
				t.Errorf("%d bytes after the end", len(data)-body)
			}
			return found
		}
		found[name] = strconv.FormatInt(int64(number(at+6+8)), 8) + " " + string(data[body:body+size])
		at = align(body + size)
	}
}

func TestArchive(t *testing.T) {
	source := t.TempDir()
	if err := os.MkdirAll(filepath.Join(source, "sub"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(source, "sub", "tool"), []byte("binary"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("tool", filepath.Join(source, "sub", "alias")); err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	a := newArchive(&out)
	a.file("/etc/one", 0o600, []byte("first"))
	a.file("/etc/one", 0o600, []byte("a second of that name"))
	if err := a.copy(source, "/data"); err != nil {
		t.Fatal(err)
	}
	if err := a.close(); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"etc": "40755 ", "etc/one": "100600 first",
		"data": "40755 ", "data/sub": "40755 ", "data/sub/tool": "100755 binary", "data/sub/alias": "120777 tool",
	}
	have := entries(t, out.Bytes())
	for name, w := range want {
		if have[name] != w {
			t.Errorf("%s is %q, want %q", name, have[name], w)
		}
	}
	if len(have) != len(want) {
		t.Errorf("%d entries, want %d: %v", len(have), len(want), have)
	}
	if err := a.copy(filepath.Join(source, "absent"), "/x"); err == nil {
		t.Error("copied what is not there")
	}
}
