package publish

import (
	"crypto/ed25519"

	"palisade.dev/palisade/snapshot"
)

// The signature of a snapshot that never changes would outlive the key that made
// it: the agent keeps it on disk, and after a restart without a controller would
// find it signed by a key that nobody trusts any more. So when another key signs,
// every agent gets what it holds once more, as a delta of nothing.

// signer is the key that signs now.
func (s *Server) signer() snapshot.KeyID {
	return snapshot.KeyIDOf(s.Material().Signing.Active(s.Now()).Private.Public().(ed25519.PublicKey))
}

// oldestSigner is the oldest key that agents trust. An agent that connects does
// not say who signed what it holds; at worst it is this one, because of a key
// that is not trusted an agent would say that it holds nothing.
func (s *Server) oldestSigner() snapshot.KeyID {
	return snapshot.KeyIDOf(s.Material().Signing[0].Private.Public().(ed25519.PublicKey))
}

// renewal returns the step that has the agent's snapshot signed anew, if it needs
// that. Its generation is newer than the agent's, or the agent would not keep it.
func (n *session) renewal() (Step, bool) {
	if !n.known || n.signer == n.server.signer() {
		return Step{}, false
	}
	store := n.server.Store
	newest := n.server.generation(store.Counter())
	if newest.Epoch == n.generation.Epoch && newest.Term == n.generation.Term {
		store.Raise(Counter(n.generation.Counter) + 1)
	}
	step, ok := store.Again(n.node, n.held)
	if n.older {
		step.Digest = n.digest // of what it was sent, not of all there is
	}
	return step, ok && n.server.generation(step.Counter).Compare(n.generation) > 0
}
