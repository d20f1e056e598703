package kubetest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// The ports from which FreePort picks lie below those that kernels give to connections: a port
// that the kernel gives away and takes back may be somebody else's before it is used.
const (
	firstPort = 20000
	lastPort  = 29999
)

// FreePort returns a loopback port for a program that cannot choose one by itself.
func FreePort(t testing.TB) int {
	t.Helper()
	var last error
	for range 100 {
		port := firstPort + rand.N(lastPort-firstPort+1)
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			last = err
			continue
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		return port
	}
	t.Fatalf("no free port from %d to %d: %v", firstPort, lastPort, last)
	return 0
}
