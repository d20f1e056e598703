package gather

import (
	"context"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/utils/clock"
	"sigs.k8s.io/controller-runtime/pkg/cache"

	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// Window is how long changes are collected before they are compiled together.
const Window = 50 * time.Millisecond

// Engine turns what the API server says into published snapshots. It runs on
// every replica; only the leader accepts specs and keeps them. Set the fields,
// then add it to a manager.
type Engine struct {
	Cache  cache.Cache
	Mapper meta.RESTMapper
	Kept   *accepted.Store
	Store  *publish.Store
	// OnChange is told of objects whose outcome may have changed. It must not block.
	OnChange func([]Object)
	// ServiceRanges are the Services' ranges where the API server does not list them.
	ServiceRanges []netip.Prefix
	Options       compile.Options
	Clock         clock.WithTicker
	Log           logr.Logger

	once    sync.Once
	queue   *queue
	leading atomic.Bool
	ready   atomic.Bool

	// turn holds one token while somebody has fed the compiler what is not
	// settled: a batch that waits for records to be written lets go of mu, not of
	// this. It is taken before mu.
	turn chan struct{}

	mu       sync.Mutex // guards what follows, and stands for a consistent compiler
	compiler *compile.Compiler
	claims   *claims
	policies map[model.PolicyRef]*policy
	peers    map[Object]Outcome // ExternalWorkloads and AddressGroups
	retry    map[model.PolicyRef]bool
	crowded  map[model.PolicyRef]bool // in force once, over capacity now
	owed     *merged                  // compiled and not published yet, nil for nothing

	recordsMu sync.Mutex
	records   map[model.PolicyRef]map[string]*accepted.Record // by name of the revision
	lost      lost
}

// init makes the zero parts usable; callers may ask before the start.
func (e *Engine) init() {
	e.once.Do(func() {
		e.queue = newQueue(e.Clock.Now)
		e.turn = make(chan struct{}, 1)
		e.compiler = compile.New(e.Options)
		e.claims = newClaims()
		e.policies = map[model.PolicyRef]*policy{}
		e.peers = map[Object]Outcome{}
		e.retry = map[model.PolicyRef]bool{}
		e.crowded = map[model.PolicyRef]bool{}
		e.records = map[model.PolicyRef]map[string]*accepted.Record{}
		e.lost = lost{revisions: map[string]map[string]*accepted.Unreadable{}, policies: map[string]model.PolicyRef{}}
	})
}

// NeedLeaderElection tells the manager that every replica compiles.
func (e *Engine) NeedLeaderElection() bool { return false }

// Ready reports whether everything that was there at the start is compiled.
func (e *Engine) Ready() bool { return e.ready.Load() }

// Start runs until the context ends. Nothing is published before everything
// that exists has been seen: half a cluster would be a wrong policy.
func (e *Engine) Start(ctx context.Context) error {
	e.init()
	registrations, err := e.watch(ctx, e.Cache, e.Mapper)
	if err != nil {
		return err
	}
	if !e.Cache.WaitForCacheSync(ctx) {
		return errors.New("gather: the caches did not fill")
	}
	for _, r := range registrations {
		for !r.HasSynced() {
			select {
			case <-ctx.Done():
				return nil
			case <-e.Clock.After(Window):
			}
		}
	}
	e.mu.Lock()
	e.claims.setRanges("services", e.ServiceRanges)
	e.mu.Unlock()
	e.batch(ctx)
	e.ready.Store(true)
	e.Log.Info("everything that exists is compiled", "nodes", len(e.Store.Digests()))
	e.run(ctx)
	return nil
}

// retryEvery is how often specs that did not fit, or could not be kept, are
// tried again.
const retryEvery = 30 * time.Second

func (e *Engine) run(ctx context.Context) {
	ticker := e.Clock.NewTicker(retryEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C():
			e.markRetries()
		case <-e.queue.signal:
			select {
			case <-ctx.Done():
				return
			case <-e.Clock.After(Window):
			}
			e.batch(ctx)
		}
	}
}

// Lead makes this replica accept specs from now on.
func (e *Engine) Lead() {
	e.init()
	e.leading.Store(true)
	e.mu.Lock()
	defer e.mu.Unlock()
	for ref := range e.policies {
		e.queue.mark(keyOf(ref))
	}
}

func (e *Engine) markRetries() {
	e.mu.Lock()
	defer e.mu.Unlock()
	for ref := range e.retry {
		e.queue.mark(keyOf(ref))
	}
	clear(e.retry)
}

func (e *Engine) noteRecord(r *accepted.Record, deleted bool) {
	e.recordsMu.Lock()
	defer e.recordsMu.Unlock()
	if deleted {
		e.forgetRecord(r.Ref, r.Name)
		return
	}
	if e.records[r.Ref] == nil {
		e.records[r.Ref] = map[string]*accepted.Record{}
	}
	e.records[r.Ref][r.Name] = r
}

// forgetRecord needs recordsMu.
func (e *Engine) forgetRecord(ref model.PolicyRef, name string) {
	if delete(e.records[ref], name); len(e.records[ref]) == 0 {
		delete(e.records, ref)
	}
}

// newest returns the newest record of a policy, nil if there is none.
func (e *Engine) newest(ref model.PolicyRef) *accepted.Record {
	e.recordsMu.Lock()
	defer e.recordsMu.Unlock()
	var out *accepted.Record
	for _, r := range e.records[ref] {
		if r.Newer(out) {
			out = r
		}
	}
	return out
}

func (e *Engine) recordsOf(ref model.PolicyRef) []*accepted.Record {
	e.recordsMu.Lock()
	defer e.recordsMu.Unlock()
	return slices.Collect(maps.Values(e.records[ref]))
}
