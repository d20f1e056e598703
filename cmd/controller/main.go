// Command controller compiles policies for all nodes of a cluster, serves every
// node's agent its snapshot, writes status and answers admission.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

// version is stamped by the build.
var version = "v0.0.0-unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := newCommand(os.Getenv).ExecuteContext(ctx)
	stop()
	if err != nil {
		// One line for each thing that is wrong.
		for line := range strings.Lines(err.Error()) {
			fmt.Fprintf(os.Stderr, "controller: %s\n", strings.TrimRight(line, "\n"))
		}
		os.Exit(2)
	}
}
