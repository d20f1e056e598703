// Package accept serves the connections of a listener until a context ends.
package accept

import (
	"context"
	"fmt"
	"net"
	"sync"
)

// Serve calls serve for every connection, each in a goroutine of its own, and closes
// the connection after it. When ctx ends it closes l, waits for those it serves and
// returns nil; it fails where l fails before that.
func Serve(ctx context.Context, l net.Listener, serve func(context.Context, net.Conn)) error {
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		conn, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("socket %s: %w", l.Addr(), err)
		}
		wg.Go(func() {
			defer conn.Close()
			serve(ctx, conn)
		})
	}
}
