package layout

import (
	"encoding/binary"
	"encoding/hex"
	"hash/fnv"
	"math/rand/v2"
	"strings"

	"palisade.dev/palisade/bpf"
	"palisade.dev/palisade/snapshot"
)

// secret is what texts are hashed with: words that only root can read, so that
// nobody can look for two texts of one fingerprint. Its lines are as the kernel has them.
type secret [bpf.RuntimeKeyLines]bpf.Line

// newSecret draws the words from a seed.
func newSecret(seed [32]byte) *secret {
	source := rand.NewChaCha8(seed)
	s := &secret{}
	for i := range s {
		for j := range s[i] {
			s[i][j] = source.Uint64()
		}
	}
	return s
}

// RuntimeSecretOf copies the words from a side's lines, for AdoptRuntimeSecret. A
// side that an agent without runtime rules left has none.
func RuntimeSecretOf(lines []bpf.Line) []bpf.Line {
	if len(lines) < bpf.HeaderLines {
		return nil
	}
	at := lines[1].Edges().Reserved[0]
	if at == 0 || at >= uint64(len(lines)) {
		return nil
	}
	first := uint64(lines[at].RuntimeHeader().KeyBase)
	if first+bpf.RuntimeKeyLines > uint64(len(lines)) {
		return nil
	}
	return append([]bpf.Line(nil), lines[first:first+bpf.RuntimeKeyLines]...)
}

// AdoptRuntimeSecret takes over the words of an earlier agent, by which the kernel
// remembers who executed what. It must come before the first Apply.
func (l *Layout) AdoptRuntimeSecret(lines []bpf.Line) {
	if len(lines) == bpf.RuntimeKeyLines && l.im == nil {
		l.secret = (*secret)(lines)
	}
}

// sum is the sum of a text's words in two lanes.
type sum struct{ a, b uint64 }

// product is match.h's rt_product.
func product(word, key uint64) uint64 {
	return uint64(uint32(word)+uint32(key)) * uint64(uint32(word>>32)+uint32(key>>32))
}

// sum is match.h's rt_add_text.
func (s *secret) sum(text string) sum {
	var out sum
	for i := 0; i*8 < len(text); i++ {
		var b [8]byte
		copy(b[:], text[i*8:])
		word := binary.LittleEndian.Uint64(b[:])
		out.a += product(word, s[i/8*2][i%8])
		out.b += product(word, s[i/8*2+1][i%8])
	}
	return out
}

// about says what a row's key is about, besides its text.
type about struct {
	kind    bpf.RuntimeKey
	number  uint32 // of a rule set, or of a kind of pods
	section uint8
	length  int
}

// key is match.h's rt_key.
func (s *secret) key(x sum, w about) bpf.Key6 {
	last := &s[2*bpf.RuntimeKeyBlocks]
	word := uint64(uint32(w.section)<<16|uint32(w.length))<<32 | uint64(w.number<<4|uint32(w.kind))
	a := (x.a + product(word, last[0])) * 0x9e3779b97f4a7c15
	b := (x.b + product(word, last[1])) * 0xd6e8feb86659fd93
	return bpf.Key6{High: b ^ b>>32, Low: a ^ a>>32}
}

// text is the key of a row about a text.
func (s *secret) text(kind bpf.RuntimeKey, number uint32, section uint8, text string) bpf.Key6 {
	return s.key(s.sum(text), about{kind, number, section, len(text)})
}

// fingerprint is match.h's rt_fingerprint: a path by itself.
func (s *secret) fingerprint(path string) uint64 {
	k := s.text(bpf.RuntimeKeyNode, 0, 0, path)
	return k.Low ^ k.High
}

// words is the key of a row about two words: a pod, or a container's name.
func (s *secret) words(kind bpf.RuntimeKey, number uint32, w bpf.Key6) bpf.Key6 {
	last := &s[2*bpf.RuntimeKeyBlocks]
	return s.key(sum{
		product(w.High, last[2]) + product(w.Low, last[4]),
		product(w.High, last[3]) + product(w.Low, last[5]),
	}, about{kind: kind, number: number})
}

// from is the key of a row about an executable that rules ask for.
func (s *secret) from(number uint32, path string) bpf.Key6 {
	last := &s[2*bpf.RuntimeKeyBlocks]
	f := s.fingerprint(path)
	return s.key(sum{product(f, last[2]), product(f, last[3])}, about{kind: bpf.RuntimeKeyFrom, number: number})
}

// Fingerprint is what the kernel remembers of an executable's path.
func (l *Layout) Fingerprint(path string) uint64 { return l.secret.fingerprint(path) }

// PodKey is how the kernel names a pod, from the name of its cgroup: the 32
// hexadecimal digits of its UID or, of a static pod, of the hash of its
// configuration, as 128 bits, the first digit highest; hyphens and underscores do
// not count. Another text is hashed by FNV-1a: High over the text, Low over the
// text and a zero byte. The node itself, snapshot.RuntimeNodeUID, is zero.
func PodKey(uid string) bpf.Key6 {
	if uid == snapshot.RuntimeNodeUID {
		return bpf.Key6{}
	}
	digits := strings.NewReplacer("-", "", "_", "").Replace(uid)
	if b, err := hex.DecodeString(digits); err == nil && len(b) == 16 {
		return bpf.Key6{High: binary.BigEndian.Uint64(b), Low: binary.BigEndian.Uint64(b[8:])}
	}
	h := fnv.New64a()
	h.Write([]byte(uid))
	high := h.Sum64()
	h.Write([]byte{0})
	return bpf.Key6{High: high, Low: h.Sum64()}
}

// ContainerName is how the kernel names a container: FNV-1a of its name, never one
// of the numbers that stand for what is no container with a name.
func ContainerName(name string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(name))
	if x := h.Sum64(); x > 15 {
		return x
	}
	return 1 << 63
}
