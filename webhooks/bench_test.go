package webhooks

import (
	"testing"

	"palisade.dev/palisade/webhooks/rules"
)

func BenchmarkJudge(b *testing.B) {
	f := &fakeCluster{system: testSystem()}
	e, err := NewEngine(b.Context(), rules.Modules(), f, f)
	if err != nil {
		b.Fatal(err)
	}
	req := policyRequest(b, isolating("shop", "p"))
	for b.Loop() {
		if _, err := e.Judge(b.Context(), req); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkLoad(b *testing.B) {
	for b.Loop() {
		if _, err := NewEngine(b.Context(), rules.Modules(), nil, nil); err != nil {
			b.Fatal(err)
		}
	}
}
