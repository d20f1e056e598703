package index

// list is a set of few or many things. Its order means nothing: whoever makes
// bytes of it sorts.
type list[T comparable] struct {
	items []T
	at    map[T]int // where each thing stands; only once that pays
}

// longList is the length from which looking for a thing costs more than knowing
// where it is.
const longList = 32

func (l *list[T]) len() int { return len(l.items) }

func (l *list[T]) add(thing T) {
	if l.at != nil {
		l.at[thing] = len(l.items)
	}
	l.items = append(l.items, thing)
}

func (l *list[T]) remove(thing T) {
	i := l.find(thing)
	if i < 0 {
		return
	}
	last := len(l.items) - 1
	moved := l.items[last]
	l.items[i] = moved
	var zero T
	l.items[last] = zero
	l.items = l.items[:last]
	if l.at != nil {
		l.at[moved] = i
		delete(l.at, thing)
	}
}

func (l *list[T]) find(thing T) int {
	if l.at == nil && len(l.items) > longList {
		l.at = make(map[T]int, len(l.items))
		for i, t := range l.items {
			l.at[t] = i
		}
	}
	if l.at != nil {
		if i, ok := l.at[thing]; ok {
			return i
		}
		return -1
	}
	for i, t := range l.items {
		if t == thing {
			return i
		}
	}
	return -1
}

func (l *list[T]) each(visit func(T)) {
	for _, thing := range l.items {
		visit(thing)
	}
}
