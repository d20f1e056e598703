package store

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"

	"google.golang.org/protobuf/proto"

	"palisade.dev/palisade/snapshot"
	"palisade.dev/palisade/snapshot/wire"
)

// A frame of the journal is
//
//	u32 size of the commit, u64 size of the delta, commit, delta, SHA-256 of all that
//
// the commit as on the wire, the delta as snapshot/README.md says.
type frame struct {
	commit snapshot.Commit
	sig    snapshot.Signature
	delta  snapshot.Delta
}

const frameHead = 4 + 8

func appendFrame(b []byte, c snapshot.Commit, sig snapshot.Signature, d snapshot.Delta) []byte {
	start := len(b)
	commit, err := proto.Marshal(&wire.Commit{
		Generation: wire.FromGeneration(c.Generation), Digest: c.Digest[:],
		Key: sig.Key[:], Signature: sig.Sig[:], Format: c.Format,
	})
	if err != nil {
		panic("journal: " + err.Error()) // a message of plain bytes and numbers cannot fail
	}
	delta := snapshot.AppendDelta(nil, d)
	b = binary.BigEndian.AppendUint32(b, uint32(len(commit)))
	b = binary.BigEndian.AppendUint64(b, uint64(len(delta)))
	b = append(append(b, commit...), delta...)
	sum := sha256.Sum256(b[start:])
	return append(b, sum[:]...)
}

func readFrame(b []byte, node string) (frame, []byte, error) {
	short := fmt.Errorf("last frame is cut off: %w", snapshot.ErrDamaged)
	if len(b) < frameHead {
		return frame{}, nil, short
	}
	nc, nd := uint64(binary.BigEndian.Uint32(b)), binary.BigEndian.Uint64(b[4:])
	if left := uint64(len(b) - frameHead); nc > left || nd > left-nc || left-nc-nd < sha256.Size {
		return frame{}, nil, short
	}
	body := frameHead + int(nc+nd)
	if sum := sha256.Sum256(b[:body]); !bytes.Equal(sum[:], b[body:body+sha256.Size]) {
		return frame{}, nil, fmt.Errorf("checksum of a frame: %w", snapshot.ErrDamaged)
	}
	var c wire.Commit
	if err := proto.Unmarshal(b[frameHead:frameHead+nc], &c); err != nil {
		return frame{}, nil, fmt.Errorf("commit of a frame: %w", err)
	}
	digest, err := wire.ToDigest(c.GetDigest())
	if err != nil || len(c.GetKey()) != len(snapshot.KeyID{}) || len(c.GetSignature()) != len(snapshot.Signature{}.Sig) {
		return frame{}, nil, fmt.Errorf("commit of a frame: %w", snapshot.ErrDamaged)
	}
	d, err := snapshot.DecodeDelta(b[frameHead+nc : body])
	if err != nil {
		return frame{}, nil, fmt.Errorf("frame: %w", err)
	}
	return frame{
		commit: snapshot.Commit{Node: node, Format: c.GetFormat(), Generation: wire.ToGeneration(c.GetGeneration()), Digest: digest},
		sig:    snapshot.Signature{Key: snapshot.KeyID(c.GetKey()), Sig: [64]byte(c.GetSignature())},
		delta:  d,
	}, b[body+sha256.Size:], nil
}
