package controllers

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/controllers/trust"
)

// leader does what only one replica does at a time, once it leads.
type leader struct {
	options Options
	system  *System
	server  *publish.Server
	keeper  *trust.Keeper
	cached  client.Client
	direct  client.Client
	clock   clock.WithTicker
	log     logr.Logger

	term    atomic.Pointer[term]
	serving atomic.Bool
}

type term struct{ epoch, term uint32 }

func newLeader(mgr ctrl.Manager, direct client.Client, s *System, o Options) *leader {
	l := &leader{
		options: o, system: s, cached: mgr.GetClient(), direct: direct, clock: o.Clock,
		log:    mgr.GetLogger().WithName("leader"),
		keeper: &trust.Keeper{Client: direct, Namespace: o.Namespace, Now: o.Clock.Now},
	}
	identify := o.Identify
	if identify == nil {
		identify = publish.IdentifyByToken(direct, "system:serviceaccount:"+o.Namespace+":"+AgentAccount)
	}
	host, _, _ := net.SplitHostPort(o.Listener.Addr().String())
	addresses := []net.IP{net.IPv4(127, 0, 0, 1)}
	if ip := net.ParseIP(host); ip != nil && !ip.IsUnspecified() {
		addresses = append(addresses, ip)
	}
	if o.PodAddress.IsValid() {
		addresses = append(addresses, net.IP(o.PodAddress.AsSlice()))
	}
	l.server = &publish.Server{
		Store: s.Store, Tracker: s.Tracker, Material: l.keeper.Current, Term: l.currentTerm, Identify: identify,
		Names:     []string{ServiceName, ServiceName + "." + o.Namespace, ServiceName + "." + o.Namespace + ".svc"},
		Addresses: addresses, Version: o.Version, Log: mgr.GetLogger().WithName("stream"), Now: o.Clock.Now,
	}
	return l
}

// NeedLeaderElection tells the manager to start this on the leader only.
func (l *leader) NeedLeaderElection() bool { return true }

func (l *leader) currentTerm() (uint32, uint32) {
	t := l.term.Load()
	return t.epoch, t.term
}

// How often the leader looks at its keys and at the epoch on its Lease, and
// waits for what it needs to begin.
const (
	keysEvery  = time.Hour
	epochEvery = 15 * time.Second
	beginEvery = 100 * time.Millisecond
)

// Start leads until the context ends.
func (l *leader) Start(ctx context.Context) error {
	for !l.system.Engine.Ready() {
		if !l.pause(ctx, beginEvery) {
			return nil
		}
	}
	if err := l.begin(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	served := make(chan error, 1)
	go func() { served <- l.server.Serve(ctx, l.options.Listener) }()
	l.serving.Store(true)
	defer l.serving.Store(false)
	l.announce(ctx)
	keys, epoch := l.clock.NewTicker(keysEvery), l.clock.NewTicker(epochEvery)
	defer keys.Stop()
	defer epoch.Stop()
	for {
		select {
		case err := <-served:
			return err
		case <-ctx.Done():
			return <-served
		case <-keys.C():
			if _, err := l.keeper.Ensure(ctx); err != nil {
				l.log.Error(err, "certificates and keys are looked at again later")
			}
			l.announce(ctx)
		case <-epoch.C():
			l.followEpoch(ctx)
		}
	}
}

// followEpoch takes over an epoch that an operator has raised. One that is lower
// changes nothing: agents would refuse it.
func (l *leader) followEpoch(ctx context.Context) {
	t, err := l.readTerm(ctx)
	if err != nil {
		l.log.Error(err, "epoch is looked at again later")
		return
	}
	if now := l.term.Load(); t.epoch > now.epoch {
		l.term.Store(&term{t.epoch, now.term})
		l.log.Info("epoch raised", "epoch", t.epoch)
	}
}

// begin prepares everything that serving needs.
func (l *leader) begin(ctx context.Context) error {
	if _, err := l.keeper.Ensure(ctx); err != nil {
		return err
	}
	t, err := l.readTerm(ctx)
	if err != nil {
		return err
	}
	l.term.Store(t)
	last, err := l.lastCounter(ctx)
	if err != nil {
		return err
	}
	l.system.Store.Raise(last + 1)
	l.system.Tracker.Begin()
	l.system.Engine.Lead()
	l.log.Info("leading", "epoch", t.epoch, "term", t.term, "counter", l.system.Store.Counter())
	return nil
}

// readTerm reads the Lease: the transitions of leadership, and the epoch.
func (l *leader) readTerm(ctx context.Context) (*term, error) {
	if l.options.Lease == "" {
		return &term{}, nil
	}
	lease := &coordinationv1.Lease{}
	key := client.ObjectKey{Namespace: l.options.Namespace, Name: l.options.Lease}
	if err := l.direct.Get(ctx, key, lease); err != nil {
		return nil, fmt.Errorf("lease %s: %w", key, err)
	}
	return termOf(lease)
}

var errEpoch = errors.New("epoch is no number of at most 32 bits")

func termOf(lease *coordinationv1.Lease) (*term, error) {
	t := &term{}
	if n := lease.Spec.LeaseTransitions; n != nil && *n > 0 {
		t.term = uint32(*n)
	}
	if text, ok := lease.Annotations[EpochAnnotation]; ok {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("lease %s/%s: annotation %s: %q: %w", lease.Namespace, lease.Name, EpochAnnotation, text, errEpoch)
		}
		t.epoch = uint32(n)
	}
	return t, nil
}

// lastCounter is the greatest counter that any status shows: people compare
// those of different leaders.
func (l *leader) lastCounter(ctx context.Context) (publish.Counter, error) {
	var pnp v1alpha1.NetworkPolicyList
	var cwp v1alpha1.ClusterwidePolicyList
	var pew v1alpha1.ExternalWorkloadList
	var pag v1alpha1.AddressGroupList
	for _, list := range []client.ObjectList{&pnp, &cwp, &pew, &pag} {
		if err := l.cached.List(ctx, list); err != nil {
			return 0, err
		}
	}
	var last int64
	for i := range pnp.Items {
		last = max(last, pnp.Items[i].Status.SnapshotGeneration)
	}
	for i := range cwp.Items {
		last = max(last, cwp.Items[i].Status.SnapshotGeneration)
	}
	for i := range pew.Items {
		last = max(last, pew.Items[i].Status.SnapshotGeneration)
	}
	for i := range pag.Items {
		last = max(last, pag.Items[i].Status.SnapshotGeneration)
	}
	return publish.Counter(last), nil
}

func (l *leader) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-l.clock.After(d):
		return true
	}
}
