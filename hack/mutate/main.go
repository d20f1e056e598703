// Command mutate checks the tests: it plants one defect after the other into a
// copy of the tree, runs the tests that should notice, and says which did. A
// defect that no test notices makes it fail.
//
//	go run ./hack/mutate            all defects
//	go run ./hack/mutate compile-   those whose names begin so
//
// A defect is a txtar file in hack/mutate/defects: a comment that says what is
// wrong with it, lines "file: PATH", "test: ARGUMENTS OF go test" and, where
// something has to be generated first, "prepare: COMMAND"; then the sections old
// and new, of which old stands exactly once in the file.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	flag.Parse()
	survived, err := run(ctx, flag.Args())
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if survived > 0 {
		fmt.Fprintf(os.Stderr, "mutate: %d defects were not noticed\n", survived)
		os.Exit(1)
	}
}

func run(ctx context.Context, prefixes []string) (survived int, err error) {
	all, err := readDefects(filepath.Join("hack", "mutate", "defects"))
	if err != nil {
		return 0, err
	}
	var defects []*defect
	for _, d := range all {
		if len(prefixes) == 0 || hasPrefix(d.name, prefixes) {
			defects = append(defects, d)
		}
	}
	if len(defects) == 0 {
		return 0, fmt.Errorf("no defect is called %s", strings.Join(prefixes, " or "))
	}
	dir, err := os.MkdirTemp("", "palisade-mutate-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	if err := copyTree(ctx, dir); err != nil {
		return 0, err
	}
	if err := baseline(ctx, dir, defects); err != nil {
		return 0, err
	}

	t := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "DEFECT\tWHAT\tNOTICED BY")
	for _, d := range defects {
		start := time.Now()
		caught, err := d.try(ctx, dir)
		if err != nil {
			return survived, fmt.Errorf("defect %s: %w", d.name, err)
		}
		by := summary(caught)
		if len(caught) == 0 {
			survived++
			by = "NOBODY"
		}
		fmt.Fprintf(os.Stderr, "%s: %s (%.0f s)\n", d.name, by, time.Since(start).Seconds())
		fmt.Fprintf(t, "%s\t%s\t%s\n", d.name, d.text, by)
	}
	if err := t.Flush(); err != nil {
		return survived, err
	}
	fmt.Printf("defects=%d noticed=%d\n", len(defects), len(defects)-survived)
	return survived, nil
}

func hasPrefix(name string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(name, p) {
			return true
		}
	}
	return false
}

// summary names the first tests that noticed.
func summary(tests []string) string {
	const shown = 3
	if len(tests) <= shown {
		return strings.Join(tests, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(tests[:shown], ", "), len(tests)-shown)
}
