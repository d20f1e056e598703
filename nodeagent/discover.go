package nodeagent

import (
	"context"
	"slices"
	"time"

	"palisade.dev/palisade/nodeagent/facts"
)

// How often pods are looked for: soon while some are missing or the snapshot
// changes, and now and then, because a pod may lose its namespace and get another.
const (
	lookSoon  = 2 * time.Second
	lookLater = time.Minute
)

// Looker finds the interfaces of pods; see facts.Finder.
type Looker interface {
	Find([]facts.Wanted) ([]facts.Attachment, []facts.Missing, error)
}

// Discover binds pods that nobody reported, until ctx ends. It also forgets
// attachments whose interface is gone.
func (a *Agent) Discover(ctx context.Context, l Looker) {
	late := map[facts.PodUID]int{}
	for {
		changed := a.holding.next()
		missing := a.discoverOnce(l)
		// A pod that is starting has no process and no address for a moment: only
		// one that stays so is worth a word.
		missing = lasting(missing, late)
		if a.status.setMissing(missing) && len(missing) > 0 {
			a.o.Log.Info(describe(missing))
		}
		wait := lookLater
		if len(late) > 0 {
			wait = lookSoon
		}
		if !pause(ctx, wait, changed) {
			return
		}
	}
}

func (a *Agent) discoverOnce(l Looker) []facts.Missing {
	if _, err := a.o.Facts.Keep(facts.Live); err != nil {
		a.o.Log.Error(err, "facts")
	}
	bound, _ := a.o.Facts.Attachments()
	var wanted []facts.Wanted
	for _, w := range a.holding.pods() {
		if len(w.Addrs) == 0 {
			continue // still starting; the rule for unbound addresses judges it
		}
		if !slices.ContainsFunc(bound, func(b facts.Attachment) bool { return holds(b, w) }) {
			wanted = append(wanted, w)
		}
	}
	if len(wanted) == 0 {
		return around(bound)
	}
	found, missing, err := l.Find(wanted)
	if err != nil {
		a.o.Log.Error(err, "looking for pods")
		return around(bound)
	}
	missing = append(missing, around(bound)...)
	if len(found) > 0 {
		if _, err := a.o.Facts.Bind(found...); err != nil {
			a.o.Log.Error(err, "facts")
		}
	}
	return missing
}

// around lists the pods that CNI reported without an interface on the host.
func around(bound []facts.Attachment) (out []facts.Missing) {
	for _, b := range bound {
		if b.Host.Index == 0 {
			out = append(out, facts.Missing{Pod: b.Pod, Reason: "its interface has " + facts.ErrNoHostEnd.Error(), Bypass: true})
		}
	}
	return out
}

// holds reports whether an attachment accounts for a wanted pod: by what CNI
// said, or by all addresses that the cluster knows.
func holds(b facts.Attachment, w facts.Wanted) bool {
	if b.Pod.UID != w.Pod.UID {
		return static(string(b.Pod.UID)) && b.Pod.Namespace == w.Pod.Namespace && b.Pod.Name == w.Pod.Name
	}
	if b.Source == facts.FromCNI {
		return true
	}
	for _, addr := range w.Addrs {
		if !slices.Contains(b.Addrs, addr) {
			return false
		}
	}
	return true
}

// missingLooks is for how many looks in a row a pod must be missing to be told.
const missingLooks = 10

func lasting(missing []facts.Missing, late map[facts.PodUID]int) (out []facts.Missing) {
	seen := map[facts.PodUID]bool{}
	for _, m := range missing {
		seen[m.Pod.UID] = true
		if late[m.Pod.UID]++; late[m.Pod.UID] >= missingLooks {
			out = append(out, m)
		}
	}
	for uid := range late {
		if !seen[uid] {
			delete(late, uid)
		}
	}
	return out
}

// pause waits, but not beyond a change, and not right after it: changes come in
// bursts. It reports false when ctx ended.
func pause(ctx context.Context, d time.Duration, changed <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	case <-changed:
	}
	settle := time.NewTimer(200 * time.Millisecond)
	defer settle.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-settle.C:
		return true
	}
}

// Known waits until the snapshot places a pod here, but not long: the pod may be
// one that the controller is late to hear of, and its start must not hang on that.
func (a *Agent) Known(ctx context.Context, p facts.Pod) {
	ctx, cancel := context.WithTimeout(ctx, knownWait)
	defer cancel()
	for {
		next := a.holding.next()
		if _, ok := a.holding.local(p.UID); ok || static(string(p.UID)) {
			return
		}
		select {
		case <-next:
		case <-ctx.Done():
			return
		}
	}
}

// knownWait is the usual delay from a pod's binding to its snapshot, and more.
const knownWait = 3 * time.Second

// Ready says why pods cannot be taken yet.
func (a *Agent) Ready() error {
	if _, ok := a.holding.current(); !ok {
		return errNoSnapshot
	}
	return nil
}
