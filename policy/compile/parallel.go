package compile

import (
	"runtime"
	"sync"
	"sync/atomic"
)

// parallel runs every task once, as many at a time as there are processors. Tasks
// touch nothing that another one writes, so their order means nothing.
func parallel(tasks []func()) {
	workers := min(runtime.GOMAXPROCS(0), len(tasks))
	if workers <= 1 {
		for _, task := range tasks {
			task()
		}
		return
	}
	var next atomic.Int64
	var wait sync.WaitGroup
	for range workers {
		wait.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(tasks) {
					return
				}
				tasks[i]()
			}
		})
	}
	wait.Wait()
}
