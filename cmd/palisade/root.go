package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Exit codes, on which scripts depend.
const (
	exitAllow = 0 // also: the command did what it was asked
	exitError = 2
	exitDeny  = 3
)

// env is what the process gives to a command.
type env struct {
	stdin          io.Reader
	stdout, stderr io.Writer
	now            func() time.Time
}

// errDeny ends a command that worked and whose answer is Deny.
var errDeny = errors.New("denied")

// run executes a command line and returns the exit code.
func run(ctx context.Context, e *env, args []string) int {
	root := newRoot(e, filepath.Base(args[0]))
	root.SetArgs(args[1:])
	root.SetIn(e.stdin)
	root.SetOut(e.stdout)
	root.SetErr(e.stderr)
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitAllow
	case errors.Is(err, errDeny):
		return exitDeny
	default:
		if strings.HasPrefix(err.Error(), "unknown command") {
			err = fmt.Errorf("%w: %s --help lists them", err, root.DisplayName())
		}
		// One line for each thing that is wrong.
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(e.stderr, "palisade: %s\n", strings.TrimRight(line, "\n"))
		}
		return exitError
	}
}

func newRoot(e *env, argv0 string) *cobra.Command {
	display := "palisade"
	if strings.HasPrefix(argv0, "kubectl-") {
		display = "kubectl palisade"
	}
	root := &cobra.Command{
		Use:   "palisade",
		Short: "Network and runtime policies, from the manifest to the kernel's verdict",
		Long: `Palisade compiles network and runtime policies and says who may reach whom, what
processes may do, and which rule says so.

With -f a command reads manifests and needs no cluster; without it, it asks the
cluster that KUBECONFIG names.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		Annotations:       map[string]string{cobra.CommandDisplayNameAnnotation: display},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	for _, newCommand := range commands {
		cmd := newCommand(e)
		cmd.Example = strings.ReplaceAll(cmd.Example, "palisade ", display+" ")
		root.AddCommand(cmd)
	}
	return root
}
