package status

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var writes = prometheus.NewCounter(prometheus.CounterOpts{
	Name: "palisade_status_writes_total", Help: "Statuses written.",
})

func init() { metrics.Registry.MustRegister(writes) }
