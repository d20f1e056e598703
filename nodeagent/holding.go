package nodeagent

import (
	"net/netip"
	"sync"

	"palisade.dev/palisade/nodeagent/facts"
	"palisade.dev/palisade/nodeagent/store"
	"palisade.dev/palisade/snapshot"
)

// retiredRules bounds how many rules are remembered after a generation dropped
// them: events of the former generation may still be on their way.
const retiredRules = 4096

// holding is the snapshot that the kernel enforces, as rows. One goroutine
// changes it at a time; look-ups for events come from others.
type holding struct {
	mu      sync.RWMutex
	set     *snapshot.Set // nil: nothing is known of what the kernel enforces
	names   names         // of set
	commit  snapshot.Commit
	sig     snapshot.Signature
	retired map[snapshot.RuleID]snapshot.RuleRow
	changed chan struct{} // closed and replaced by every change
}

func newHolding() *holding {
	return &holding{retired: map[snapshot.RuleID]snapshot.RuleRow{}, changed: make(chan struct{})}
}

// step is a change of the holding that can be taken back.
type step struct {
	set   *snapshot.Set  // the set that it leads to
	names names          // of set
	did   snapshot.Delta // from where it came from
	undo  snapshot.Delta // back to where it came from, in place; unused where the set is new
	same  bool           // the set is the one held before, changed in place
}

// prepare applies a delta in place, or makes a new set of it where full. Nobody
// else sees the result before keep. Copying the set for every change would cost
// in the size of the cluster.
func (h *holding) prepare(d snapshot.Delta, full bool) step {
	h.mu.Lock()
	defer h.mu.Unlock()
	if full || h.set == nil {
		set := snapshot.NewSet()
		set.Apply(d)
		return step{set: set, names: namesOf(set)}
	}
	undo := store.Inverse(h.set, d)
	h.set.Apply(d)
	h.names.change(undo.Upserts, d.Upserts)
	return step{set: h.set, names: h.names, did: d, undo: undo, same: true}
}

// revert takes a prepared step back.
func (h *holding) revert(s step) {
	if s.same {
		h.mu.Lock()
		defer h.mu.Unlock()
		h.set.Apply(s.undo)
		h.names.change(s.did.Upserts, s.undo.Upserts)
	}
}

// keep makes a prepared step what is held.
func (h *holding) keep(s step, c snapshot.Commit, sig snapshot.Signature) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if s.same {
		h.retire(s.undo.Upserts)
	} else if h.set != nil {
		h.retire(h.set.Entries())
	}
	h.set, h.names, h.commit, h.sig = s.set, s.names, c, sig
	close(h.changed)
	h.changed = make(chan struct{})
}

func (h *holding) retire(was []snapshot.Entry) {
	if len(h.retired) > retiredRules {
		clear(h.retired)
	}
	for _, e := range was {
		if e.Table != snapshot.TableRule {
			continue
		}
		if row, err := snapshot.Decode(e); err == nil {
			r := row.(snapshot.RuleRow)
			h.retired[r.ID] = r
		}
	}
}

// current returns what is held, and whether anything is.
func (h *holding) current() (snapshot.Commit, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.commit, h.set != nil
}

// signer is the key that signed what is held.
func (h *holding) signer() snapshot.KeyID {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.sig.Key
}

// lookup decodes one row of the set. row's key fields say which.
func lookup[R snapshot.Row](h *holding, row R) (R, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return lookupLocked(h, row)
}

func lookupLocked[R snapshot.Row](h *holding, row R) (R, bool) {
	var none R
	if h.set == nil {
		return none, false
	}
	id := snapshot.KeyOf(row)
	v, ok := h.set.Get(id)
	if !ok {
		return none, false
	}
	got, err := snapshot.Decode(snapshot.Entry{Table: id.Table, Key: []byte(id.Key), Value: v})
	if err != nil {
		return none, false // cannot be: every row was decoded when it came
	}
	r, ok := got.(R)
	return r, ok
}

// rule tells what a rule stands for, for a while also after it went.
func (h *holding) rule(id snapshot.RuleID) (snapshot.RuleRow, bool) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if r, ok := lookupLocked(h, snapshot.RuleRow{ID: id}); ok {
		return r, true
	}
	r, ok := h.retired[id]
	return r, ok
}

func (h *holding) address(a netip.Addr) (snapshot.AddressRow, bool) {
	return lookup(h, snapshot.AddressRow{Addr: a})
}

func (h *holding) local(uid facts.PodUID) (snapshot.LocalRow, bool) {
	return lookup(h, snapshot.LocalRow{UID: string(uid)})
}

// next returns a channel that is closed at the next change.
func (h *holding) next() <-chan struct{} {
	h.mu.RLock()
	defer h.mu.RUnlock()
	return h.changed
}

// pods lists the pods that the snapshot places on this node, with the addresses
// that the cluster knows. It costs in the size of the cluster: for the start and
// for discovery only.
func (h *holding) pods() (pods []facts.Wanted) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if h.set == nil {
		return nil
	}
	at := map[string]int{}
	for _, e := range h.set.Entries() {
		if e.Table != snapshot.TableLocal && e.Table != snapshot.TableAddress {
			continue
		}
		row, err := snapshot.Decode(e)
		if err != nil {
			continue // cannot be, as above
		}
		switch r := row.(type) {
		case snapshot.LocalRow: // all of them come before the addresses
			at[r.UID] = len(pods)
			pods = append(pods, facts.Wanted{Pod: facts.Pod{UID: facts.PodUID(r.UID), Namespace: r.Namespace, Name: r.Name}})
		case snapshot.AddressRow:
			if i, ok := at[r.UID]; ok && r.UID != "" {
				pods[i].Addrs = append(pods[i].Addrs, r.Addr)
			}
		}
	}
	return pods
}
