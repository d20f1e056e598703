package webhooks

import (
	"context"

	"palisade.dev/palisade/api/v1alpha1"
	"palisade.dev/palisade/policy/model"
)

// Facts answers what rules ask about the cluster. It reads caches: an answer
// that is slow or missing denies the request.
type Facts interface {
	// Clusterwide returns the ClusterwidePolicy objects of a tier and priority.
	Clusterwide(ctx context.Context, tier v1alpha1.Tier, priority int32) ([]v1alpha1.ClusterwidePolicy, error)
	// Namespaces returns all namespaces, with their labels.
	Namespaces(ctx context.Context) ([]model.Namespace, error)
	// System returns the policy system itself, as endpoints.
	System(ctx context.Context) (System, error)
}

// System is the policy system itself and what it cannot do without.
type System struct {
	// Cluster holds the system's pods, the nodes, their namespaces, and every
	// policy in force that may select one of those pods.
	Cluster model.Cluster
	// Needs are judged in this order; those of one node stand together.
	Needs []Need
	// Acts are what processes of the system's pods have to do.
	Acts []Act
}

// Need is a connection that the policy system cannot do without.
type Need struct {
	What       string         // for example "node n1 to pod palisade-system/controller-x on 9443/tcp"
	Node       model.NodeName // whose need it is; empty for the API server's and the pods'
	Connection model.Connection
}

// Estimator says what a policy costs, compiled together with everything else.
type Estimator interface {
	Estimate(ctx context.Context, policy model.Policy) (Estimate, error)
}

// Estimate is the cost of a policy.
type Estimate struct {
	Entries int    // what the policy adds to the fullest node
	Budget  int    // what that node may hold for it
	Refused string // why the compiler would refuse it; empty if it would not
}
