package gather

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"sync"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
	"palisade.dev/palisade/snapshot"
)

// batch looks at everything that is marked, compiles, accepts, keeps what was
// accepted, and publishes.
func (e *Engine) batch(ctx context.Context) {
	keys, since := e.queue.take()
	if len(keys) == 0 {
		return
	}
	started := e.Clock.Now()
	e.turn <- struct{}{}
	e.mu.Lock()
	candidates := e.lookAll(ctx, keys)
	changes := e.pending()
	changes.add(e.compiler.Commit())
	passed := e.sift(candidates, changes)
	e.mu.Unlock()

	compiled := e.Clock.Now()
	failed := e.keep(ctx, passed)

	e.mu.Lock()
	e.settle(passed, failed, changes)
	counter := e.publish(changes)
	objects := e.outcomes(keys, changes, counter)
	e.mu.Unlock()
	<-e.turn

	e.prune(ctx, keys)
	compileSeconds.Observe(compiled.Sub(started).Seconds())
	publishSeconds.Observe(e.Clock.Now().Sub(since).Seconds())
	e.OnChange(objects)
}

// lookAll looks at keys in one order, policies last.
func (e *Engine) lookAll(ctx context.Context, keys map[key]bool) []*candidate {
	var out []*candidate
	for _, k := range slices.SortedFunc(maps.Keys(keys), compareKeys) {
		c, err := e.look(ctx, k)
		if err != nil {
			e.Log.Error(err, "object is looked at again later", "namespace", k.namespace, "name", k.name)
			e.queue.mark(k)
			continue
		}
		if c != nil {
			out = append(out, c)
		}
	}
	return out
}

func compareKeys(a, b key) int {
	return cmp.Or(cmp.Compare(a.kind, b.kind), cmp.Compare(a.namespace, b.namespace), cmp.Compare(a.name, b.name))
}

// merged is the sum of several commits.
type merged struct {
	common  snapshot.Delta
	nodes   map[model.NodeName]snapshot.Delta
	gone    map[model.NodeName]bool
	refused map[model.PolicyRef]compile.Refusal
}

func newMerged() *merged {
	return &merged{nodes: map[model.NodeName]snapshot.Delta{}, gone: map[model.NodeName]bool{}}
}

// pending takes what an estimate left to be published.
func (e *Engine) pending() *merged {
	m := e.owed
	if e.owed = nil; m == nil {
		m = newMerged()
	}
	return m
}

func (m *merged) add(c compile.Changes) {
	m.common = m.common.Then(c.Common)
	for _, n := range c.Gone {
		// Should it come back, its rows start from nothing.
		m.gone[n] = true
		delete(m.nodes, n)
	}
	for n, d := range c.Nodes {
		m.nodes[n] = m.nodes[n].Then(d)
	}
	m.refused = map[model.PolicyRef]compile.Refusal{}
	for _, r := range c.Refused {
		m.refused[r.Policy] = r
	}
}

// sift takes back candidates that do not fit, and returns those that do.
func (e *Engine) sift(candidates []*candidate, changes *merged) []*candidate {
	passed := candidates
	for {
		var fit []*candidate
		for _, c := range passed {
			r, bad := changes.refused[c.record.Ref]
			if !bad {
				fit = append(fit, c)
				continue
			}
			e.putInForce(c.record.Ref, c.policy)
			e.refuse(c.policy, v1alpha1.ReasonOverCapacity, r.Error())
			e.retry[c.record.Ref] = true
		}
		if len(fit) == len(passed) {
			return passed
		}
		passed = fit
		changes.add(e.compiler.Commit())
	}
}

// keep writes the records of candidates, and returns those that it could not
// write, with why.
func (e *Engine) keep(ctx context.Context, list []*candidate) map[*candidate]error {
	var mu sync.Mutex
	failed := map[*candidate]error{}
	parallel(list, func(c *candidate) {
		if err := e.Kept.Keep(ctx, c.record); err != nil {
			mu.Lock()
			defer mu.Unlock()
			failed[c] = err
		}
	})
	return failed
}

// settle puts kept candidates in force, and takes the others back: what is
// published must be what a restarted controller would publish.
func (e *Engine) settle(passed []*candidate, failed map[*candidate]error, changes *merged) {
	if len(passed) == 0 {
		return
	}
	for _, c := range passed {
		ref := c.record.Ref
		if err := failed[c]; err != nil {
			e.Log.Error(err, "spec is not put in force because it cannot be kept; trying again")
			e.retry[ref] = true
			e.putInForce(ref, c.policy)
			continue
		}
		e.noteRecord(c.record, false)
		delete(e.crowded, ref)
		c.policy.inForce, c.policy.model, c.policy.lost = c.record, c.model, nil
		e.compiler.PutPolicy(c.model, order(c.record))
		e.judge(c.policy)
	}
	changes.add(e.compiler.Commit())
}

// publish hands the changes to the store. The rows of endpoints that no node
// hosts belong to nobody.
func (e *Engine) publish(changes *merged) publish.Counter {
	delete(changes.nodes, "")
	for n := range changes.gone {
		e.Store.Remove(n)
	}
	return e.Store.Publish(e.Clock.Now(), changes.common, changes.nodes)
}

// outcomes completes what was decided in this batch with the state that holds it,
// and returns the objects that it is about.
func (e *Engine) outcomes(keys map[key]bool, changes *merged, counter publish.Counter) []Object {
	touched := map[Object]bool{}
	for k := range keys {
		switch k.kind {
		case kindClusterwide, kindNetworkPolicy, kindRuntime, kindUpstream:
			touched[Object{Policy: refOf(k)}] = true
		case kindExternal:
			touched[Object{Endpoint: model.EndpointID{Kind: model.EndpointExternal, Namespace: k.namespace, Name: k.name}}] = true
		case kindAddressGroup:
			touched[Object{Group: k.name}] = true
		}
	}
	for _, ref := range e.crowd(changes) {
		touched[Object{Policy: ref}] = true
	}
	for o := range touched {
		if p := e.policies[o.Policy]; p != nil && p.fresh {
			p.outcome.Counter, p.fresh = counter, false
		}
		if out, ok := e.peers[o]; ok && out.Accepted && out.Counter == 0 {
			out.Counter = counter
			e.peers[o] = out
		}
	}
	return slices.Collect(maps.Keys(touched))
}

// crowd judges policies that were accepted and do not fit any more, because
// endpoints came, and those that fit again. It returns both.
func (e *Engine) crowd(changes *merged) []model.PolicyRef {
	var out []model.PolicyRef
	for ref, r := range changes.refused {
		p := e.policies[ref]
		if p == nil || p.inForce == nil {
			continue
		}
		// A newer spec that was tried and refused has left its own verdict.
		told := e.crowded[ref] && !p.outcome.Older && p.outcome.Generation == p.live.GetGeneration()
		if !told {
			e.crowded[ref] = true
			e.refuse(p, v1alpha1.ReasonOverCapacity, r.Error()+instead(&p.model))
			p.outcome.Older = false
			out = append(out, ref)
		}
	}
	for ref := range e.crowded {
		if _, still := changes.refused[ref]; still {
			continue
		}
		delete(e.crowded, ref)
		if p := e.policies[ref]; p != nil {
			e.judge(p)
			e.queue.mark(keyOf(ref)) // a newer spec may fit now, too
		}
		out = append(out, ref)
	}
	return out
}

// instead says what stands in for a policy that was accepted and does not fit.
func instead(p *model.Policy) string {
	var directions []string
	for _, d := range [...]model.Direction{model.Ingress, model.Egress} {
		if p.Isolates(d) || len(p.Rules(d)) > 0 {
			directions = append(directions, strings.ToLower(d.String()))
		}
	}
	where := strings.Join(directions, " and ")
	if p.Runtime != nil {
		where = strings.TrimPrefix(where+" and in what its runtime sections are about", " and in ")
	}
	if p.Mode == model.Audit {
		return "; until there is room everything is staged as denied in " + where + ", and nothing is enforced"
	}
	return "; until there is room its subjects are cut off in " + where
}

// prune deletes the records that the batch made superfluous. What fails is tried
// again when the policy is looked at next, at the latest by the next leader.
func (e *Engine) prune(ctx context.Context, keys map[key]bool) {
	if !e.leading.Load() {
		return
	}
	parallel(e.superfluous(keys), func(r *accepted.Record) {
		if err := e.Kept.Drop(ctx, r); err != nil {
			e.Log.Error(err, "superfluous accepted spec stays for now")
		}
	})
}

// superfluous lists the records of policies that neither are in force nor would
// be chosen at the next start. The newest one of a policy that exists always
// stays: a version that cannot compile it is no reason to forget it.
func (e *Engine) superfluous(keys map[key]bool) []*accepted.Record {
	e.mu.Lock()
	defer e.mu.Unlock()
	var out []*accepted.Record
	for k := range keys {
		if _, ok := policyKinds[k.kind]; !ok {
			continue
		}
		ref := refOf(k)
		records := e.recordsOf(ref)
		stays := map[string]bool{}
		if p := e.policies[ref]; p != nil {
			var newest *accepted.Record
			for _, r := range records {
				if r.UID == p.live.GetUID() && r.Newer(newest) {
					newest = r
				}
			}
			for _, r := range []*accepted.Record{newest, p.inForce} {
				if r != nil {
					stays[r.Name] = true
				}
			}
		}
		for _, r := range records {
			if !stays[r.Name] {
				out = append(out, r)
			}
		}
	}
	return out
}

// width is how many requests are under way at a time.
const width = 16

// parallel calls f for every item, several at a time.
func parallel[T any](list []T, f func(T)) {
	work := make(chan T)
	var wg sync.WaitGroup
	for range min(width, len(list)) {
		wg.Go(func() {
			for item := range work {
				f(item)
			}
		})
	}
	for _, item := range list {
		work <- item
	}
	close(work)
	wg.Wait()
}
