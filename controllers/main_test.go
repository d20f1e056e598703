package controllers_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"go.uber.org/goleak"
	"k8s.io/client-go/rest"

	"palisade.dev/palisade/test/kubetest"
)

// apiServer is shared by all tests of this package; each keeps to namespaces and
// nodes of its own.
var apiServer *rest.Config

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "controllers")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	env, err := kubetest.NewEnvironment(dir, kubetest.WithCRDs())
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer func() {
		if err := env.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	}()
	if apiServer, err = env.Start(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	before := goleak.IgnoreCurrent()
	code := m.Run()
	options := []goleak.Option{
		before,
		// client-go keeps its connections to the API server for the next client.
		goleak.IgnoreAnyFunction("golang.org/x/net/http2.(*clientConnReadLoop).run"),
	}
	// A queue of controller-runtime that hands out an item when its last waiter leaves for the
	// queue's end waits for that one for ever, with the queue's lock held.
	for _, loop := range []string{"handleReadyItems", "handleAddBuffer", "handleWaitingItems", "logState", "updateUnfinishedWorkLoop"} {
		options = append(options, goleak.IgnoreAnyFunction("sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue.(*priorityqueue[...])."+loop))
	}
	// What has been told to end does so in its own time; Find alone waits half a second.
	err = goleak.Find(options...)
	for deadline := time.Now().Add(10 * time.Second); err != nil && time.Now().Before(deadline); {
		err = goleak.Find(options...)
	}
	if err != nil && code == 0 {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return code
}
