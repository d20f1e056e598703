package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	records "palisade.dev/palisade/nodeagent/flows"
)

// cli builds the command line for users and returns how to run it on the cluster.
func cli(t *testing.T) func(ctx context.Context, args ...string) *exec.Cmd {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "palisade")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "palisade.dev/palisade/cmd/palisade").CombinedOutput(); err != nil {
		t.Fatalf("go build: %v: %s", err, out)
	}
	return func(ctx context.Context, args ...string) *exec.Cmd {
		cmd := exec.CommandContext(ctx, binary, args...)
		cmd.Env = append(os.Environ(), "KUBECONFIG="+target.kubeconfig)
		return cmd
	}
}

// TestRecordsOfAllNodes: who asks the cluster hears of what each of its nodes denied, in
// the order in which it came about, and of what is denied from then on.
func TestRecordsOfAllNodes(t *testing.T) {
	t.Parallel()
	palisade := cli(t)
	ns := namespace(t)
	p := launch(t, ns, "web@n1", "also@n2")
	web, also := p[0], p[1]
	expect(t, also, map[string]bool{web.tcp4(8080): true})
	ready(t, fmt.Sprintf(`
apiVersion: policy.palisade.dev/v1alpha1
kind: NetworkPolicy
metadata: {name: nobody, namespace: %s}
spec: {subject: {pods: {}}, isolate: Ingress}
`, ns), ns+":pnp/nobody")
	denied := func() error {
		return errors.Join(tries(also, map[string]bool{web.tcp4(8080): false}), tries(web, map[string]bool{also.tcp4(8080): false}))
	}

	query := []string{"flows", "--cluster", "-o", "json", "--namespace", ns, "--verdict", "Deny"}
	pace.Until(t, "records of two nodes", func() error {
		if err := denied(); err != nil {
			return err
		}
		var errs bytes.Buffer
		cmd := palisade(t.Context(), query...)
		cmd.Stderr = &errs
		out, err := cmd.Output()
		if err != nil {
			return fmt.Errorf("%s: %w: %s", cmd, err, errs.Bytes())
		}
		var found []records.Flow
		for line := range strings.Lines(string(out)) {
			var f records.Flow
			if err := decode(line, &f); err != nil {
				return err
			}
			if f.Verdict == records.Deny { // else a count of losses
				found = append(found, f)
			}
		}
		if !slices.IsSortedFunc(found, func(x, y records.Flow) int { return x.Time.Compare(y.Time) }) {
			t.Fatalf("they are not in the order of their times:\n%s", out)
		}
		return bothTell(found, ns)
	})

	// What comes later comes by itself.
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := palisade(ctx, append(query, "--follow", "--last", "0")...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := make(chan records.Flow, 1024)
	go tell(out, lines)
	var found []records.Flow
	pace.Until(t, "records that come", func() error {
		if err := denied(); err != nil {
			return err
		}
		for len(lines) > 0 {
			found = append(found, <-lines)
		}
		return bothTell(found, ns)
	})
	cancel()
	if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// bothTell: each node of the two has a record of what the policy denied.
func bothTell(found []records.Flow, ns string) error {
	nodes := map[string]bool{}
	for _, f := range found {
		if f.Policy == "pnp/"+ns+"/nobody" && f.Rule == "(isolated)" && f.Tier == "Namespace" {
			nodes[f.Node] = true
		}
	}
	if len(nodes) != 2 {
		return fmt.Errorf("%d records, of the nodes %v", len(found), nodes)
	}
	return nil
}

// tell hands on records that a program prints, as long as anybody may want them.
func tell(out io.Reader, to chan<- records.Flow) {
	s := bufio.NewScanner(out)
	for s.Scan() {
		var f records.Flow
		if decode(s.Text(), &f) != nil || f.Verdict == "" {
			continue
		}
		select {
		case to <- f:
		default: // more than enough
		}
	}
}
