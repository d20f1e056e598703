package compile

// dict is a map that costs little while it is small, as nearly all are of the
// many that a compiler holds. Its order means nothing.
type dict[K comparable, V any] struct {
	items []item[K, V]
	at    map[K]int // where each key stands; only once that pays
}

type item[K comparable, V any] struct {
	key K
	val V
}

// longDict is the length from which looking for a key costs more than hashing it.
const longDict = 16

func (d *dict[K, V]) len() int { return len(d.items) }

func (d *dict[K, V]) find(k K) int {
	if d.at != nil {
		if i, ok := d.at[k]; ok {
			return i
		}
		return -1
	}
	for i := range d.items {
		if d.items[i].key == k {
			return i
		}
	}
	return -1
}

// get returns the value of a key, or the zero value.
func (d *dict[K, V]) get(k K) V {
	if i := d.find(k); i >= 0 {
		return d.items[i].val
	}
	var zero V
	return zero
}

func (d *dict[K, V]) has(k K) bool { return d.find(k) >= 0 }

// ref returns the place of a key's value, added as zero if it is not there. It
// is good until the next change of the dict.
func (d *dict[K, V]) ref(k K) *V {
	i := d.find(k)
	if i < 0 {
		i = len(d.items)
		d.items = append(d.items, item[K, V]{key: k})
		switch {
		case d.at != nil:
			d.at[k] = i
		case len(d.items) > longDict:
			d.at = make(map[K]int, 2*len(d.items))
			for j := range d.items {
				d.at[d.items[j].key] = j
			}
		}
	}
	return &d.items[i].val
}

func (d *dict[K, V]) put(k K, v V) { *d.ref(k) = v }

func (d *dict[K, V]) delete(k K) {
	i := d.find(k)
	if i < 0 {
		return
	}
	last := len(d.items) - 1
	moved := d.items[last]
	d.items[i] = moved
	d.items[last] = item[K, V]{}
	d.items = d.items[:last]
	if d.at != nil {
		d.at[moved.key] = i
		delete(d.at, k)
	}
}

// bag counts things.
type bag[T comparable] struct{ dict[T, int] }

// add counts a thing by and returns how often it is there now.
func (b *bag[T]) add(thing T, by int) int {
	n := b.ref(thing)
	*n += by
	if *n == 0 {
		b.delete(thing)
		return 0
	}
	return *n
}

func (b *bag[T]) each(visit func(T)) {
	for i := range b.items {
		visit(b.items[i].key)
	}
}
