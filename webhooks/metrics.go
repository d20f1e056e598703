package webhooks

import (
	"strconv"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

// Outcomes of a request, as label values.
const (
	outcomeAllowed = "allowed"
	outcomeRefused = "refused"
	outcomeError   = "error" // denied, because it could not be judged
)

var (
	requests = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "palisade_admission_requests_total",
		Help: "Objects that admission judged, by kind and outcome; an error is a denial.",
	}, []string{"kind", "outcome"})
	violations = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "palisade_admission_violations_total",
		Help: "Violations that admission found, by rule and severity.",
	}, []string{"rule", "severity"})
)

func init() { metrics.Registry.MustRegister(requests, violations) }

func count(kind, outcome string, found ...Violation) {
	requests.WithLabelValues(kind, outcome).Inc()
	for _, v := range found {
		violations.WithLabelValues(strconv.Itoa(int(v.Rule.Number)), string(v.Rule.Severity)).Inc()
	}
}
