package nodeagent

import (
	"crypto/ed25519"
	"errors"
	"testing"

	"palisade.dev/palisade/snapshot"
)

// A new signing key comes as a delta that changes no row.
func TestNewSignatureOfTheSameRows(t *testing.T) {
	b := newBench(t)
	rows := set(node, "a")
	b.mustApply(t, full(1, rows))
	again := delta(2, rows, rows)
	if !again.Delta.Empty() {
		t.Fatalf("delta %v", again.Delta)
	}
	again.Signature = snapshot.Sign(otherKey, again.Commit)
	if err := b.Apply(t.Context(), again); err == nil {
		t.Error("taken though the key is not trusted")
	}
	both := snapshot.NewKeys(signingKey.Public().(ed25519.PublicKey), otherKey.Public().(ed25519.PublicKey))
	fresh := snapshot.NewKeys(otherKey.Public().(ed25519.PublicKey))
	b.keys = both
	b.mustApply(t, again) // to the stream, no error is an acknowledgement
	if g, d := b.kernel.Generation(); g.Counter != 2 || d != rows.Digest() {
		t.Errorf("the kernel has %s of %s", d, g)
	}
	b.keys = fresh
	if h, ok := b.Held(); !ok || h.Generation.Counter != 2 {
		t.Errorf("held %v, %t after the old key went", h, ok)
	}
	after := restart(t, b.dir, &kernel{})
	after.keys = fresh
	if ok, err := after.Recover(t.Context()); !ok || errors.Is(err, snapshot.ErrDamaged) || after.kernel.gen.Counter != 2 {
		t.Errorf("after a reboot: %t, %v, kernel at %s", ok, err, after.kernel.gen)
	}
	for range 2 { // also once the old signature is out of the files
		after = restart(t, b.dir, &kernel{})
		after.keys = fresh
		if ok, err := after.Recover(t.Context()); !ok || err != nil {
			t.Errorf("after another reboot: %t, %v", ok, err)
		}
	}
}
