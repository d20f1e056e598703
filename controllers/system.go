package controllers

import (
	"context"
	"fmt"
	"net"
	"net/netip"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/clock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/cluster"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/controllers/accepted"
	"palisade.dev/palisade/controllers/gather"
	"palisade.dev/palisade/controllers/publish"
	"palisade.dev/palisade/controllers/status"
	"palisade.dev/palisade/policy/compile"
	"palisade.dev/palisade/policy/model"
)

// Names that manifests, agents and operators know.
const (
	// LeaseName is the Lease of leader election; its transitions are the terms of
	// generations.
	LeaseName = "palisade-controller"
	// ServiceName is the Service that agents connect to. The leader writes its
	// EndpointSlice, so that it leads to nobody else.
	ServiceName = "palisade-controller"
	// AgentAccount is the agents' ServiceAccount.
	AgentAccount = "palisade-nodeagent"
	// EpochAnnotation on the Lease is the epoch of generations. An operator raises
	// it after etcd was restored from a backup.
	EpochAnnotation = "palisade.dev/epoch"
)

// Options are what a system needs besides a manager.
type Options struct {
	Namespace     string
	ServiceRanges []netip.Prefix
	// Listener accepts the agents' streams.
	Listener net.Listener
	// PodAddress is where agents reach this replica, zero: nowhere but at
	// Listener's own address, and no EndpointSlice is written.
	PodAddress netip.Addr
	// Lease names the Lease that the manager's leader election uses; empty if
	// there is no leader election: the term is 0 then.
	Lease   string
	Limits  compile.Options
	Version string
	Clock   clock.WithTicker
	// Identify replaces the review of agents' tokens by the API server.
	Identify func(ctx context.Context, token string) (node string, err error)
}

// Scheme knows every kind that the controller reads or writes.
func Scheme() *runtime.Scheme {
	s := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(s))
	utilruntime.Must(v1alpha1.AddToScheme(s))
	return s
}

// System is the parts, put together.
type System struct {
	Engine  *gather.Engine
	Store   *publish.Store
	Tracker *publish.Tracker
	Writer  *status.Writer
	leader  *leader
}

// Setup builds the parts and adds them to a manager, which must have been made
// with gather.CacheOptions.
func Setup(mgr ctrl.Manager, o Options) (*System, error) {
	direct, err := directClient(mgr)
	if err != nil {
		return nil, err
	}
	s := &System{Store: publish.NewStore()}
	s.Tracker = publish.NewTracker(o.Clock.Now, func(_ model.NodeName, trouble bool) { s.Writer.NodeChanged(trouble) })
	s.Engine = &gather.Engine{
		Cache: mgr.GetCache(), Mapper: mgr.GetRESTMapper(),
		Kept:  &accepted.Store{Client: direct, Namespace: o.Namespace},
		Store: s.Store, OnChange: func(list []gather.Object) { s.Writer.Changed(list) },
		ServiceRanges: o.ServiceRanges, Options: o.Limits, Clock: o.Clock, Log: mgr.GetLogger().WithName("gather"),
	}
	s.Writer, err = status.Setup(mgr, &status.Shared{
		Client: mgr.GetClient(), Decisions: s.Engine,
		Nodes:    &status.Nodes{Client: mgr.GetClient(), Store: s.Store, Tracker: s.Tracker, Clock: o.Clock},
		Recorder: mgr.GetEventRecorder("palisade"), Clock: o.Clock,
		Limit: status.NewLimiter(),
	}, o.Clock)
	if err != nil {
		return nil, fmt.Errorf("status: %w", err)
	}
	s.leader = newLeader(mgr, direct, s, o)
	registerCollector(s)
	for _, r := range []interface{ Start(context.Context) error }{s.Engine, s.leader} {
		if err := mgr.Add(r); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// directClient reads and writes the API server without a cache: a cache would
// hold every Secret of the cluster to read one.
func directClient(mgr cluster.Cluster) (client.Client, error) {
	c, err := client.New(mgr.GetConfig(), client.Options{Scheme: mgr.GetScheme(), Mapper: mgr.GetRESTMapper(), HTTPClient: mgr.GetHTTPClient()})
	if err != nil {
		return nil, fmt.Errorf("client without a cache: %w", err)
	}
	return c, nil
}
