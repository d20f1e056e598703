package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

// Watched is what watch prints for one try.
type Watched struct {
	Time time.Time `json:"time"`
	Result
}

// watch tries every target again and again until its output is closed: by new
// connections, or with --keep on one that it opens at the start.
func watch(args []string) error {
	flags := flag.NewFlagSet("watch", flag.ExitOnError)
	every := flags.Duration("every", 100*time.Millisecond, "pause between two tries")
	timeout := flags.Duration("timeout", time.Second, "how long to wait for an answer")
	keep := flags.Bool("keep", false, "stay on one connection a target")
	_ = flags.Parse(args)

	var mu sync.Mutex
	out := json.NewEncoder(os.Stdout)
	failed := make(chan error)
	for _, target := range flags.Args() {
		proto, addr, ok := strings.Cut(target, "/")
		if !ok || proto != "tcp" && proto != "udp" {
			return fmt.Errorf("target %q: want tcp/ADDRESS:PORT or udp/ADDRESS:PORT", target)
		}
		ask := func() Result { return try(target, proto, addr, *timeout) }
		if *keep {
			c, err := net.DialTimeout(proto, addr, *timeout)
			if err != nil {
				return err
			}
			defer c.Close()
			ask = func() Result { return askAgain(target, c, *timeout) }
		}
		go func() {
			for {
				at := time.Now()
				r := ask()
				mu.Lock()
				err := out.Encode(Watched{at, r})
				mu.Unlock()
				if err != nil {
					failed <- err
					return
				}
				time.Sleep(*every)
			}
		}()
	}
	return <-failed
}

// askAgain says something on a connection; serve echoes it or answers.
func askAgain(target string, c net.Conn, timeout time.Duration) Result {
	r := Result{Target: target}
	_ = c.SetDeadline(time.Now().Add(timeout))
	_, err := c.Write([]byte("?\n"))
	if err == nil {
		buf := make([]byte, 256)
		var n int
		if n, err = c.Read(buf); err == nil {
			r.OK, r.Reply = true, strings.TrimSpace(string(buf[:n]))
		}
	}
	if err != nil {
		r.Error = err.Error()
	}
	return r
}
