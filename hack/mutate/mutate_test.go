package main

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Every defect still fits the tree: its old text stands in its file, once.
func TestDefectsApply(t *testing.T) {
	const root = "../.."
	defects, err := readDefects("defects")
	if err != nil {
		t.Fatal(err)
	}
	if len(defects) < 10 {
		t.Fatalf("only %d defects", len(defects))
	}
	for _, d := range defects {
		t.Run(d.name, func(t *testing.T) {
			data, err := os.ReadFile(filepath.Join(root, d.file))
			if err != nil {
				t.Fatal(err)
			}
			if n := bytes.Count(data, d.old); n != 1 {
				t.Errorf("%s holds the old text %d times, want once", d.file, n)
			}
			if bytes.Equal(d.old, d.new) {
				t.Error("old and new are the same")
			}
		})
	}
}

func TestParseEvents(t *testing.T) {
	for name, tc := range map[string]struct {
		events string
		failed []string
		build  bool
	}{
		"all pass":        {`{"Action":"pass","Package":"palisade.dev/palisade/a","Test":"TestA"}`, nil, false},
		"innermost":       {`{"Action":"fail","Package":"palisade.dev/palisade/a","Test":"TestA/x"}` + "\n" + `{"Action":"fail","Package":"palisade.dev/palisade/a","Test":"TestA"}` + "\n" + `{"Action":"fail","Package":"palisade.dev/palisade/a"}`, []string{"a:TestA/x"}, false},
		"crash":           {`{"Action":"fail","Package":"palisade.dev/palisade/a"}`, []string{"a:(package)"}, false},
		"does not build":  {`{"Action":"fail","Package":"palisade.dev/palisade/a","FailedBuild":"a"}`, []string{"a:(package)"}, true},
		"skipped is fine": {`{"Action":"skip","Package":"palisade.dev/palisade/a","Test":"TestA"}`, nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			failed, build, err := parseEvents(bytes.NewBufferString(tc.events))
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(failed, tc.failed) || build != tc.build {
				t.Errorf("failed %v, build %v; want %v, %v", failed, build, tc.failed, tc.build)
			}
		})
	}
}
