package wire

import (
	"fmt"

	"palisade.dev/palisade/snapshot"
)

// Transfer is one generation on its way to a node.
type Transfer struct {
	// Base is the digest of the set that Delta starts from; nil: the empty set.
	Base      *snapshot.Digest
	Delta     snapshot.Delta
	Commit    snapshot.Commit
	Signature snapshot.Signature
}

// FromGeneration and ToGeneration translate generations; a missing one is the zero one.
func FromGeneration(g snapshot.Generation) *Generation {
	return &Generation{Epoch: g.Epoch, Term: g.Term, Counter: g.Counter}
}

// ToGeneration is the other direction of FromGeneration.
func ToGeneration(g *Generation) snapshot.Generation {
	return snapshot.Generation{Epoch: g.GetEpoch(), Term: g.GetTerm(), Counter: g.GetCounter()}
}

// ToDigest reads a digest, which must be whole.
func ToDigest(b []byte) (snapshot.Digest, error) {
	if len(b) != len(snapshot.Digest{}) {
		return snapshot.Digest{}, fmt.Errorf("digest of %d bytes: %w", len(b), ErrProtocol)
	}
	return snapshot.Digest(b), nil
}

// Messages cuts a transfer into the messages that carry it and hands them to
// send one by one.
func (t *Transfer) Messages(send func(*ControllerMessage) error) error {
	data := snapshot.AppendDelta(nil, t.Delta)
	begin := &Begin{Generation: FromGeneration(t.Commit.Generation), Size: uint64(len(data))}
	if t.Base != nil {
		begin.Base = t.Base[:]
	}
	if err := send(&ControllerMessage{Body: &ControllerMessage_Begin{Begin: begin}}); err != nil {
		return err
	}
	for len(data) > 0 {
		n := min(len(data), MaxChunk)
		if err := send(&ControllerMessage{Body: &ControllerMessage_Chunk{Chunk: &Chunk{Data: data[:n]}}}); err != nil {
			return err
		}
		data = data[n:]
	}
	return send(&ControllerMessage{Body: &ControllerMessage_Commit{Commit: &Commit{
		Generation: FromGeneration(t.Commit.Generation),
		Digest:     t.Commit.Digest[:],
		Key:        t.Signature.Key[:],
		Signature:  t.Signature.Sig[:],
		Format:     t.Commit.Format,
	}}})
}

// Receiver puts transfers together again. It belongs to one stream and is not
// safe for concurrent use; after an error the stream is at an end.
type Receiver struct {
	// Node is the node whose commits the stream carries.
	Node string

	begin *Begin
	data  []byte
}

// Receive takes the next message. It returns a transfer when the message
// completes one, nil while there is more to come. It checks bounds, order and
// encoding; base, digest, signature and generation are the caller's to check.
func (r *Receiver) Receive(m *ControllerMessage) (*Transfer, error) {
	if err := Strict(m); err != nil {
		return nil, err
	}
	switch body := m.Body.(type) {
	case *ControllerMessage_Begin:
		return nil, r.open(body.Begin)
	case *ControllerMessage_Chunk:
		return nil, r.append(body.Chunk.GetData())
	case *ControllerMessage_Commit:
		return r.close(body.Commit)
	default:
		return nil, fmt.Errorf("message %T in a transfer: %w", body, ErrProtocol)
	}
}

func (r *Receiver) open(b *Begin) error {
	if r.begin != nil {
		return fmt.Errorf("second begin: %w", ErrProtocol)
	}
	if b.GetSize() > MaxTransfer {
		return fmt.Errorf("transfer of %d bytes is over %d: %w", b.GetSize(), MaxTransfer, ErrProtocol)
	}
	r.begin, r.data = b, nil
	return nil
}

// append grows the buffer by what really came, not by what was announced.
func (r *Receiver) append(data []byte) error {
	switch {
	case r.begin == nil:
		return fmt.Errorf("chunk without begin: %w", ErrProtocol)
	case len(data) == 0 || len(data) > MaxChunk:
		return fmt.Errorf("chunk of %d bytes: %w", len(data), ErrProtocol)
	case uint64(len(r.data)+len(data)) > r.begin.GetSize():
		return fmt.Errorf("more than the %d bytes announced: %w", r.begin.GetSize(), ErrProtocol)
	}
	r.data = append(r.data, data...)
	return nil
}

func (r *Receiver) close(c *Commit) (*Transfer, error) {
	begin, data := r.begin, r.data
	r.begin, r.data = nil, nil
	switch {
	case begin == nil:
		return nil, fmt.Errorf("commit without begin: %w", ErrProtocol)
	case uint64(len(data)) != begin.GetSize():
		return nil, fmt.Errorf("%d of %d bytes came: %w", len(data), begin.GetSize(), ErrProtocol)
	case ToGeneration(c.GetGeneration()) != ToGeneration(begin.GetGeneration()):
		return nil, fmt.Errorf("begin and commit name different generations: %w", ErrProtocol)
	case len(c.GetKey()) != len(snapshot.KeyID{}), len(c.GetSignature()) != len(snapshot.Signature{}.Sig):
		return nil, fmt.Errorf("signature of the wrong size: %w", ErrProtocol)
	}
	digest, err := ToDigest(c.GetDigest())
	if err != nil {
		return nil, err
	}
	t := &Transfer{
		Commit:    snapshot.Commit{Node: r.Node, Format: c.GetFormat(), Generation: ToGeneration(c.GetGeneration()), Digest: digest},
		Signature: snapshot.Signature{Key: snapshot.KeyID(c.GetKey()), Sig: [64]byte(c.GetSignature())},
	}
	if len(begin.GetBase()) > 0 {
		base, err := ToDigest(begin.GetBase())
		if err != nil {
			return nil, err
		}
		t.Base = &base
	}
	if t.Delta, err = snapshot.DecodeDelta(data); err != nil {
		return nil, fmt.Errorf("generation %s: %w", t.Commit.Generation, err)
	}
	return t, nil
}
