// Command palisade compiles policies and answers who may reach whom and why, on
// files and on a live cluster. Installed as kubectl-palisade it is a plugin of
// kubectl.
package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"
	"time"
)

// version is stamped by the build.
var version = "v0.0.0-unknown"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	e := &env{stdin: os.Stdin, stdout: os.Stdout, stderr: os.Stderr, now: time.Now}
	code := run(ctx, e, os.Args)
	stop()
	os.Exit(code)
}
