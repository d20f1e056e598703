package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/tools/txtar"
)

var update = flag.Bool("update", false, "write what the commands print into the transcripts and golden files")

// TestTranscripts runs the commands of testdata/*.txtar in a directory that holds
// the archive's other files, and compares what they do with the transcript:
//
//	$ palisade explain ...      a command line; it may end in "< FILE"
//	output                      its standard output
//	! output                    its standard error
//	? 3                         its exit code, if it is not 0
func TestTranscripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("transcripts: %v, %v", files, err)
	}
	for _, file := range files {
		absolute, err := filepath.Abs(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) { transcript(t, absolute) })
	}
}

func transcript(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(t.TempDir())
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBECONFIG", "")
	script := -1
	for i, f := range archive.Files {
		if f.Name == "transcript" {
			script = i
			continue
		}
		if err := os.MkdirAll(filepath.Dir(f.Name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(f.Name, f.Data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if script < 0 {
		t.Fatalf("%s has no transcript", file)
	}
	want := archive.Files[script].Data
	have := play(t.Context(), want)
	if bytes.Equal(have, want) {
		return
	}
	if !*update {
		t.Errorf("the transcript differs (go test -update writes it anew); have:\n%s", have)
		return
	}
	archive.Files[script].Data = have
	if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// play runs the commands of a transcript and returns the transcript of that.
// Blank lines, and comments that do not stand in an output, stay.
func play(ctx context.Context, script []byte) []byte {
	var out bytes.Buffer
	inOutput := false
	for line := range strings.Lines(string(script)) {
		text := strings.TrimRight(line, "\n")
		switch command, ok := strings.CutPrefix(text, "$ "); {
		case ok:
			out.WriteString(line)
			execute(ctx, &out, strings.Fields(command))
			inOutput = true
		case strings.HasPrefix(text, "# ") && !inOutput || text == "":
			out.WriteString(line)
			inOutput = false
		case !inOutput:
			fmt.Fprintf(&out, "no command: %s\n", text)
		}
	}
	return out.Bytes()
}

func execute(ctx context.Context, out *bytes.Buffer, args []string) {
	var stdout, stderr bytes.Buffer
	code := 0
	if args[0] == "cat" {
		for _, name := range args[1:] {
			data, err := os.ReadFile(name)
			if err != nil {
				fmt.Fprintln(&stderr, err)
			}
			stdout.Write(data)
		}
	} else {
		stdin := ""
		if n := len(args); n > 2 && args[n-2] == "<" {
			data, err := os.ReadFile(args[n-1])
			if err != nil {
				fmt.Fprintln(&stderr, err)
			}
			stdin, args = string(data), args[:n-2]
		}
		code = run(ctx, &env{
			stdin: strings.NewReader(stdin), stdout: &stdout, stderr: &stderr,
			now: func() time.Time { return time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC) },
		}, args)
	}
	out.Write(unblank(nameHashes(stdout.Bytes())))
	for line := range bytes.Lines(stderr.Bytes()) {
		fmt.Fprintf(out, "! %s\n", bytes.TrimRight(line, "\n"))
	}
	if code != 0 {
		fmt.Fprintf(out, "? %d\n", code)
	}
}

var hash = regexp.MustCompile(`\b([0-9a-f]{64}|[0-9a-f]{32})\b`)

// nameHashes gives hashes short names in the order in which they appear: that
// they are equal where they should be matters here, and not what they are.
func nameHashes(data []byte) []byte {
	names := map[string]string{}
	return hash.ReplaceAllFunc(data, func(h []byte) []byte {
		if names[string(h)] == "" {
			names[string(h)] = fmt.Sprintf("<hash %d>", len(names)+1)
		}
		return []byte(names[string(h)])
	})
}

// unblank marks blank lines of output, which would end it in a transcript.
func unblank(data []byte) []byte {
	var out bytes.Buffer
	for line := range bytes.Lines(data) {
		if len(bytes.TrimSpace(line)) == 0 {
			out.WriteString(".\n")
			continue
		}
		out.Write(line)
		if !bytes.HasSuffix(line, []byte("\n")) {
			out.WriteString("\n")
		}
	}
	return out.Bytes()
}
