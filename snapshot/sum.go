package snapshot

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"runtime"
	"sync"
)

// Digest identifies a set of entries. Sets are equal exactly if their digests are.
type Digest [32]byte

// String is the digest in hexadecimal.
func (d Digest) String() string { return hex.EncodeToString(d[:]) }

// ParseDigest reads what String prints.
func ParseDigest(s string) (Digest, error) {
	var d Digest
	b, err := hex.DecodeString(s)
	if err != nil || len(b) != len(d) {
		return d, fmt.Errorf("digest %q: not %d hexadecimal bytes", s, len(d))
	}
	copy(d[:], b)
	return d, nil
}

// Sum is the homomorphic hash of a set of entries (LtHash: 1,024 lanes of 16
// bits, added up lane by lane). Adding and removing an entry cost the same
// whatever the size of the set, in any order; the sum of a union of disjoint sets
// is the sum of the sums. README.md says how an entry becomes lanes, and what
// was measured. The zero Sum is that of the empty set.
type Sum struct {
	lanes [sumWords]uint64 // four lanes in each word, lowest bits first
}

const (
	sumBytes = 2048
	sumWords = sumBytes / 8
	// Adding words would carry from lane to lane: the top bit of every lane is
	// added apart, without carry.
	laneTops = 0x8000_8000_8000_8000
)

// scratch saves an allocation of 2 KiB for every entry.
var scratch = sync.Pool{New: func() any { return new([sumBytes]byte) }}

// Add puts an entry into the sum.
func (s *Sum) Add(e Entry) {
	x := scratch.Get().(*[sumBytes]byte)
	defer scratch.Put(x)
	expand(x, e)
	for i := range s.lanes {
		s.lanes[i] = addLanes(s.lanes[i], binary.LittleEndian.Uint64(x[i*8:]))
	}
}

// Remove takes an entry out of the sum.
func (s *Sum) Remove(e Entry) {
	x := scratch.Get().(*[sumBytes]byte)
	defer scratch.Put(x)
	expand(x, e)
	for i := range s.lanes {
		s.lanes[i] = subLanes(s.lanes[i], binary.LittleEndian.Uint64(x[i*8:]))
	}
}

// Combine returns the sum of the union of two sets that share no entry.
func (s *Sum) Combine(other *Sum) *Sum {
	out := *s
	for i := range out.lanes {
		out.lanes[i] = addLanes(out.lanes[i], other.lanes[i])
	}
	return &out
}

// Digest hashes the lanes.
func (s *Sum) Digest() Digest {
	h := sha256.New()
	h.Write([]byte("palisade sum\x00"))
	var b [sumBytes]byte
	for i, w := range s.lanes {
		binary.LittleEndian.PutUint64(b[i*8:], w)
	}
	h.Write(b[:])
	return Digest(h.Sum(nil))
}

// sumOf sums up entries, on all processors if they are many.
func sumOf(entries map[EntryKey][]byte) Sum {
	workers := min(runtime.GOMAXPROCS(0), 1+len(entries)/10_000)
	if workers == 1 {
		var sum Sum
		for id, v := range entries {
			sum.Add(Entry{id.Table, []byte(id.Key), v})
		}
		return sum
	}
	parts := make([][]Entry, workers)
	i := 0
	for id, v := range entries {
		parts[i%workers] = append(parts[i%workers], Entry{id.Table, []byte(id.Key), v})
		i++
	}
	sums := make([]Sum, workers)
	var wait sync.WaitGroup
	for w := range parts {
		wait.Go(func() {
			for _, e := range parts[w] {
				sums[w].Add(e)
			}
		})
	}
	wait.Wait()
	total := sums[0]
	for w := 1; w < workers; w++ {
		total = *total.Combine(&sums[w])
	}
	return total
}

func addLanes(a, b uint64) uint64 {
	return ((a &^ laneTops) + (b &^ laneTops)) ^ ((a ^ b) & laneTops)
}

func subLanes(a, b uint64) uint64 {
	return ((a | laneTops) - (b &^ laneTops)) ^ ((a ^ ^b) & laneTops)
}

// expand fills x with the key stream of AES-256 in counter mode, from a zero
// counter, under the SHA-256 of the entry.
func expand(x *[sumBytes]byte, e Entry) {
	h := sha256.New()
	var head [16]byte
	n := copy(head[:], "palisade entry\x00")
	head[n] = uint8(e.Table)
	h.Write(head[:])
	var size [4]byte
	binary.BigEndian.PutUint32(size[:], uint32(len(e.Key)))
	h.Write(size[:])
	h.Write(e.Key)
	h.Write(e.Value)
	var key [sha256.Size]byte
	block, err := aes.NewCipher(h.Sum(key[:0]))
	if err != nil {
		panic(err) // only for a key of the wrong size
	}
	var iv [aes.BlockSize]byte
	clear(x[:])
	cipher.NewCTR(block, iv[:]).XORKeyStream(x[:], x[:])
}
