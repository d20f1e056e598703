// Command nodeagent enforces Palisade's snapshots on the node that it runs on.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the build.
var version = "v0.0.0-unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newRoot().ExecuteContext(ctx)
	stop()
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(os.Stderr, "nodeagent: %s\n", strings.TrimRight(line, "\n"))
		}
		os.Exit(2)
	}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "nodeagent",
		Short: "Enforces Palisade's policies on this node",
		Long: `nodeagent receives snapshots of policy from the controller and brings them into
force in this node's kernel. Enforcement goes on when the agent stops.`,
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              cobra.NoArgs,
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		Version:           version,
	}
	root.AddCommand(newRun(), newCheck(), newInstallCNI(), newUninstallCNI(), newBoot(), newInstallBoot(), newUninstallBoot())
	return root
}
