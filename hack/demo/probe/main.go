// Command probe is both ends of the demo's and the tests' connections: it
// listens on ports and says who it is, and it dials many targets at once and
// says which of them answered. It is static and needs no shell.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

const usage = `usage:
  probe serve [--tcp PORT,...] [--udp PORT,...] [--reply TEXT]
  probe dial [--timeout 1s] TARGET...        TARGET: tcp/ADDRESS:PORT or udp/ADDRESS:PORT
  probe watch [--keep] [--every 100ms] TARGET...     dials on and on, or stays on one connection

dial prints one JSON line a target: {"target","ok","reply","error"}. It exits 0
when every target was tried, whatever the answers; what to expect is the caller's.

  probe serve --tcp 8080 --udp 8080 &
  probe dial tcp/127.0.0.1:8080 udp/[::1]:8080
`

func main() {
	if len(os.Args) < 2 {
		exit(usage)
	}
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2:])
	case "dial":
		err = dial(os.Args[2:])
	case "watch":
		err = watch(os.Args[2:])
	default:
		exit(usage)
	}
	if err != nil {
		exit("probe: " + err.Error() + "\n")
	}
}

func exit(text string) {
	fmt.Fprint(os.Stderr, text)
	os.Exit(2)
}

func serve(args []string) error {
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	tcp := flags.String("tcp", "", "ports to listen on, separated by commas")
	udp := flags.String("udp", "", "ports to listen on, separated by commas")
	host, _ := os.Hostname()
	reply := flags.String("reply", host, "what to answer")
	_ = flags.Parse(args)

	failed := make(chan error)
	for _, port := range ports(*tcp) {
		l, err := net.Listen("tcp", ":"+port)
		if err != nil {
			return err
		}
		go func() { failed <- serveTCP(l, *reply) }()
	}
	for _, port := range ports(*udp) {
		c, err := net.ListenPacket("udp", ":"+port)
		if err != nil {
			return err
		}
		go func() { failed <- serveUDP(c, *reply) }()
	}
	return <-failed
}

func ports(list string) []string {
	if list == "" {
		return nil
	}
	return strings.Split(list, ",")
}

// serveTCP answers every connection, then echoes what it receives, so that a
// test can keep a connection open and use it later.
func serveTCP(l net.Listener, reply string) error {
	for {
		c, err := l.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			if _, err := io.WriteString(c, reply+"\n"); err == nil {
				_, _ = io.Copy(c, c)
			}
		}()
	}
}

func serveUDP(c net.PacketConn, reply string) error {
	buf := make([]byte, 64<<10)
	for {
		_, from, err := c.ReadFrom(buf)
		if err != nil {
			return err
		}
		_, _ = c.WriteTo([]byte(reply+"\n"), from)
	}
}

// Result is what dial prints for one target.
type Result struct {
	Target string `json:"target"`
	OK     bool   `json:"ok"`
	Reply  string `json:"reply,omitempty"`
	Error  string `json:"error,omitempty"`
}

func dial(args []string) error {
	flags := flag.NewFlagSet("dial", flag.ExitOnError)
	timeout := flags.Duration("timeout", time.Second, "how long to wait for an answer")
	_ = flags.Parse(args)

	results := make([]Result, flags.NArg())
	var wg sync.WaitGroup
	for i, target := range flags.Args() {
		proto, addr, ok := strings.Cut(target, "/")
		if !ok || proto != "tcp" && proto != "udp" {
			return fmt.Errorf("target %q: want tcp/ADDRESS:PORT or udp/ADDRESS:PORT", target)
		}
		wg.Go(func() { results[i] = try(target, proto, addr, *timeout) })
	}
	wg.Wait()
	out := json.NewEncoder(os.Stdout)
	for _, r := range results {
		if err := out.Encode(r); err != nil {
			return err
		}
	}
	return nil
}

func try(target, proto, addr string, timeout time.Duration) Result {
	r := Result{Target: target}
	deadline := time.Now().Add(timeout)
	c, err := net.DialTimeout(proto, addr, timeout)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	defer c.Close()
	_ = c.SetDeadline(deadline)
	if proto == "udp" {
		if _, err := c.Write([]byte("?\n")); err != nil {
			r.Error = err.Error()
			return r
		}
	}
	buf := make([]byte, 256)
	n, err := c.Read(buf)
	if err != nil {
		r.Error = err.Error()
		return r
	}
	r.OK, r.Reply = true, strings.TrimSpace(string(buf[:n]))
	return r
}
