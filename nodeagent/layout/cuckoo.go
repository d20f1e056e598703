package layout

import (
	"errors"

	"palisade.dev/palisade/bpf"
)

// errFull says that a table needs more room, or another seed.
var errFull = errors.New("table full")

// maxMoves bounds the entries that one insertion may push elsewhere.
const maxMoves = 64

// bucket is a line of a two-choice table as a list of places for keys.
type bucket[K comparable] interface {
	places() int
	get(l *bpf.Line, place int) (K, uint32)
	put(l *bpf.Line, place int, key K, value uint32)
	hash(key K, seed uint32) uint64
}

// table is a two-choice table with buckets of one line: a key is in one of two
// lines, which its hash chooses. It has no state but the image's lines.
type table[K comparable, B bucket[K]] struct {
	im   *image
	at   section
	seed uint32
	kind B
	// firm fills the first line before the second, so that few look-ups need both;
	// else the emptier one is filled, which leaves more room.
	firm bool
}

func (t table[K, B]) choices(key K) (uint32, uint32) {
	h, mask := t.kind.hash(key, t.seed), t.at.lines-1
	return t.at.base + uint32(h)&mask, t.at.base + uint32(h>>32)&mask
}

func (t table[K, B]) find(line uint32, key K) int {
	l := &t.im.lines[line]
	for p := range t.kind.places() {
		if k, v := t.kind.get(l, p); v != 0 && k == key {
			return p
		}
	}
	return -1
}

func (t table[K, B]) free(line uint32) (place, count int) {
	l := &t.im.lines[line]
	place = -1
	for p := t.kind.places() - 1; p >= 0; p-- {
		if _, v := t.kind.get(l, p); v == 0 {
			place = p
			count++
		}
	}
	return place, count
}

func (t table[K, B]) write(line uint32, place int, key K, value uint32) {
	t.im.edit(line, func(l *bpf.Line) { t.kind.put(l, place, key, value) })
}

// put sets a key. Where both lines are full it moves others to their second
// choice, in an order that depends on nothing but the content.
func (t table[K, B]) put(key K, value uint32) error {
	a, b := t.choices(key)
	for _, line := range [...]uint32{a, b} {
		if p := t.find(line, key); p >= 0 {
			t.write(line, p, key, value)
			return nil
		}
	}
	for move := range maxMoves {
		pa, na := t.free(a)
		pb, nb := t.free(b)
		switch {
		case na > 0 && (t.firm || na >= nb):
			t.write(a, pa, key, value)
			return nil
		case nb > 0:
			t.write(b, pb, key, value)
			return nil
		}
		victim := move % t.kind.places()
		k, v := t.kind.get(&t.im.lines[a], victim)
		t.write(a, victim, key, value)
		first, second := t.choices(k)
		key, value = k, v
		if first == a {
			a, b = second, second
		} else {
			a, b = first, first
		}
	}
	// The key in hand has no place: the caller rebuilds the image from the rows.
	return errFull
}

func (t table[K, B]) remove(key K) {
	a, b := t.choices(key)
	for _, line := range [...]uint32{a, b} {
		if p := t.find(line, key); p >= 0 {
			var none K
			t.write(line, p, none, 0)
			return
		}
	}
}

// bucket4 holds IPv4 addresses and interfaces.
type bucket4 struct{}

func (bucket4) places() int { return 8 }

func (bucket4) get(l *bpf.Line, p int) (uint32, uint32) {
	e := &l.Bucket4().Entry[p]
	return e.Key, e.Value
}

func (bucket4) put(l *bpf.Line, p int, key, value uint32) {
	l.Bucket4().Entry[p] = bpf.Entry4{Key: key, Value: value}
}

func (bucket4) hash(key, seed uint32) uint64 { return spread(uint64(key ^ seed)) }

// bucket6 holds IPv6 addresses.
type bucket6 struct{}

func (bucket6) places() int { return 3 }

func (bucket6) get(l *bpf.Line, p int) (bpf.Key6, uint32) {
	b := l.Bucket6()
	return b.Key[p], b.Value[p]
}

func (bucket6) put(l *bpf.Line, p int, key bpf.Key6, value uint32) {
	b := l.Bucket6()
	b.Key[p], b.Value[p] = key, value
}

func (bucket6) hash(key bpf.Key6, seed uint32) uint64 {
	return spread(spread(key.High^uint64(seed)) + key.Low)
}
