package runtime

import (
	"github.com/prometheus/client_golang/prometheus"
)

// metrics are what is counted here and nowhere in the kernel.
type metrics struct {
	// named is how long containers had no name, and so the strictest rules of their pods.
	named prometheus.Histogram
}

func newMetrics() metrics {
	return metrics{named: prometheus.NewHistogram(prometheus.HistogramOpts{
		Name:    "palisade_nodeagent_container_naming_seconds",
		Help:    "From a container's cgroup to the rules of that container; the strictest of its pod's hold before.",
		Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5},
	})}
}

// Collectors give out what is known of the kernel's half.
func (r *Runtime) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		r.metrics.named,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "palisade_nodeagent_runtime_cgroups_unplaced_total",
			Help: "How often the kernel had no room for the cgroup of a pod or a container, whose processes are not judged then.",
		}, func() float64 {
			n, err := r.Unplaced()
			if err != nil {
				return 0 // the map is of one word that is always there
			}
			return float64(n)
		}),
	}
}
