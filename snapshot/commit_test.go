package snapshot

import (
	"bytes"
	"crypto/ed25519"
	"errors"
	"slices"
	"strings"
	"testing"
)

func testKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func public(k ed25519.PrivateKey) ed25519.PublicKey { return k.Public().(ed25519.PublicKey) }

func sampleCommit() Commit {
	return Commit{Node: "node-a", Format: Format, Generation: Generation{1, 2, 3}, Digest: sampleSet().Digest()}
}

func TestGenerationOrder(t *testing.T) {
	sorted := []string{"0.0.1", "0.0.2", "0.1.1", "0.10.0", "1.0.0", "1.0.18446744073709551615"}
	var parsed []Generation
	for _, s := range sorted {
		g, err := ParseGeneration(s)
		if err != nil || g.String() != s {
			t.Fatalf("%s: %v, %v", s, g, err)
		}
		parsed = append(parsed, g)
	}
	if !slices.IsSortedFunc(parsed, Generation.Compare) {
		t.Fatal("generations are out of order")
	}
	for _, s := range []string{"", "1.2", "1.2.3.4", "a.0.0", "4294967296.0.0", "-1.0.0"} {
		if g, err := ParseGeneration(s); err == nil {
			t.Errorf("%q: %v", s, g)
		}
	}
}

func TestSignatures(t *testing.T) {
	old, next, other := testKey(1), testKey(2), testKey(3)
	overlap := NewKeys(public(old), public(next))
	c := sampleCommit()
	for name, key := range map[string]ed25519.PrivateKey{"old": old, "next": next} {
		if err := Verify(overlap, c, Sign(key, c)); err != nil {
			t.Errorf("%s key during rotation: %v", name, err)
		}
	}
	if err := Verify(NewKeys(public(next)), c, Sign(old, c)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("retired key: %v", err)
	}
	if err := Verify(overlap, c, Sign(other, c)); !errors.Is(err, ErrUnknownKey) {
		t.Errorf("foreign key: %v", err)
	}
	sig := Sign(old, c)
	changed := map[string]func(*Commit){
		"node":    func(c *Commit) { c.Node = "node-b" },
		"format":  func(c *Commit) { c.Format++ },
		"epoch":   func(c *Commit) { c.Generation.Epoch++ },
		"term":    func(c *Commit) { c.Generation.Term++ },
		"counter": func(c *Commit) { c.Generation.Counter++ },
		"digest":  func(c *Commit) { c.Digest[31] ^= 1 },
	}
	for name, change := range changed {
		d := c
		change(&d)
		if err := Verify(overlap, d, sig); !errors.Is(err, ErrSignature) {
			t.Errorf("commit with another %s: %v", name, err)
		}
	}
	sig.Sig[0] ^= 1
	if err := Verify(overlap, c, sig); !errors.Is(err, ErrSignature) {
		t.Errorf("changed signature: %v", err)
	}
}

func TestKeysAsText(t *testing.T) {
	keys := NewKeys(public(testKey(1)), public(testKey(2)))
	text, err := keys.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back Keys
	if err := back.UnmarshalText(text); err != nil || len(back) != 2 {
		t.Fatalf("%d keys, %v", len(back), err)
	}
	for name, bad := range map[string]string{
		"empty": "", "no key": "0011223344556677", "short key": "0011223344556677 00ff",
		"other name": strings.Replace(string(text), KeyIDOf(public(testKey(1))).String(), "0011223344556677", 1),
	} {
		if err := back.UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
