package cel

import (
	"encoding/json"
	"testing"
)

// kubectl apply without --server-side keeps the whole object in an annotation,
// and annotations hold 256 KiB in all.
const annotations = 256 << 10

// TestCRDsCanBeApplied leaves room for the other annotations.
func TestCRDsCanBeApplied(t *testing.T) {
	for kind, crd := range loadCRDs(t) {
		encoded, err := json.Marshal(crd)
		if err != nil {
			t.Fatal(err)
		}
		if len(encoded) > annotations*90/100 {
			t.Errorf("the CRD of %s has %d bytes, too many for an annotation", kind, len(encoded))
		}
		t.Logf("%s: %d bytes", kind, len(encoded))
	}
}
