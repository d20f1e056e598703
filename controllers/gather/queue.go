package gather

import (
	"sync"
	"time"
)

// Kind is a kind of object that is watched.
type Kind uint8

// The kinds. Policies come last, so that their order in a batch has them after
// what they select.
const (
	kindNamespace Kind = iota
	kindNode
	kindPod
	kindExternal
	kindAddressGroup
	kindAPIServer // one key for all EndpointSlices of the API server
	kindServices  // one key for all ServiceCIDRs
	kindClusterwide
	kindNetworkPolicy
	kindRuntime
	kindUpstream
)

// key names an object that may have changed.
type key struct {
	kind      Kind
	namespace string
	name      string
}

// queue is the set of keys to look at. Marking is cheap and never blocks.
type queue struct {
	mu     sync.Mutex
	keys   map[key]bool
	since  time.Time // when the first of them was marked
	signal chan struct{}
	now    func() time.Time
}

func newQueue(now func() time.Time) *queue {
	return &queue{keys: map[key]bool{}, signal: make(chan struct{}, 1), now: now}
}

func (q *queue) mark(keys ...key) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.keys) == 0 {
		q.since = q.now()
	}
	for _, k := range keys {
		q.keys[k] = true
	}
	select {
	case q.signal <- struct{}{}:
	default:
	}
}

// take empties the queue and says since when its content waited.
func (q *queue) take() (map[key]bool, time.Time) {
	q.mu.Lock()
	defer q.mu.Unlock()
	out, since := q.keys, q.since
	q.keys = map[key]bool{}
	return out, since
}
