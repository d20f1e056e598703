package publish

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var refusals = prometheus.NewCounterVec(prometheus.CounterOpts{
	Name: "palisade_node_refusals_total",
	Help: "Snapshots that nodes refused, by reason.",
}, []string{"reason"})

func init() { metrics.Registry.MustRegister(refusals) }
