package gather

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	compileSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "palisade_compile_seconds", Help: "Time to compile a batch of changes.",
		Buckets: prometheus.ExponentialBuckets(0.0005, 2, 16),
	})
	publishSeconds = prometheus.NewHistogram(prometheus.HistogramOpts{
		Name: "palisade_publish_seconds", Help: "Time from the first change of a batch until it is published.",
		Buckets: prometheus.ExponentialBuckets(0.01, 2, 12),
	})
	refused = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "palisade_spec_refusals_total", Help: "Specs that were not accepted, by reason.",
	}, []string{"reason"})
	unreadable = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "palisade_unreadable_objects_total", Help: "Objects that count as absent because nothing can be made of them.",
	}, []string{"error"})
)

func init() { metrics.Registry.MustRegister(compileSeconds, publishSeconds, refused, unreadable) }
