package runtime

import (
	"errors"
	"sync"
	"time"

	"palisade.dev/palisade/bpf"
)

// waiting is a container whose bundle was not found yet.
type waiting struct {
	id    string
	pod   bpf.Key6
	made  time.Time // its cgroup; zero if nobody told
	since time.Time
	tries int
}

// naming knows which containers cgroups are, and which are still to be found out.
type naming struct {
	mu      sync.Mutex
	waiting map[uint64]waiting
	known   map[uint64]Container
}

// knownContainers bounds what is remembered of containers for their last records.
const knownContainers = 8192

func (n *naming) add(cgroup uint64, id string, pod bpf.Key6, made time.Time) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waiting == nil {
		n.waiting = map[uint64]waiting{}
	}
	n.waiting[cgroup] = waiting{id: id, pod: pod, made: made, since: time.Now()}
}

func (n *naming) some() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.waiting) > 0
}

func (n *naming) container(cgroup uint64) Container {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.known[cgroup]
}

// has reports whether something is known of a container, or is being found out.
func (n *naming) has(cgroup uint64) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	_, waits := n.waiting[cgroup]
	return waits || n.known[cgroup].ID != ""
}

func (n *naming) keep(cgroup uint64, c Container) {
	if n.known == nil || len(n.known) > knownContainers {
		n.known = map[uint64]Container{}
	}
	n.known[cgroup] = c
	delete(n.waiting, cgroup)
}

// nameAll looks for the bundles of containers that have no name yet. One that never
// gets a name is judged by the strictest of its pod's rules.
func (r *Runtime) nameAll(known func(uid bpf.Key6) bool) {
	n := &r.unnamed
	n.mu.Lock()
	defer n.mu.Unlock()
	for cgroup, w := range n.waiting {
		if w.tries > 0 && time.Since(w.since) < time.Duration(w.tries)*retryName {
			continue
		}
		c, err := r.config.describe(w.id)
		if err == nil && !c.isOf(w.pod) {
			err = errOtherPod
		}
		if err == nil {
			err = r.name(cgroup, c)
		}
		switch {
		case err == nil:
			n.keep(cgroup, c)
			if !w.made.IsZero() {
				r.metrics.named.Observe(time.Since(w.made).Seconds())
			}
			r.config.Log.V(1).Info("container named", "container", c.Name, "sandbox", c.Sandbox, "id", c.ID)
		case errors.Is(err, errNoBundle) && w.tries < retryNames:
			w.tries++
			n.waiting[cgroup] = w
		default:
			n.keep(cgroup, Container{ID: w.id})
			if !known(w.pod) {
				r.config.Log.V(1).Info("a container of a pod that the snapshot does not know has no name", "id", w.id)
				continue
			}
			r.config.Log.Error(err, "a container keeps the strictest rules of its pod", "id", w.id)
		}
	}
}
