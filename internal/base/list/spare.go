package list

// Spare keeps elements that are out of use for those that are needed next. The zero value is empty. It locks nothing.
type Spare[T any] struct{ kept []*T }

// Take returns the element that came last, a new one where s has none.
func (s *Spare[T]) Take() *T {
	last := len(s.kept) - 1
	if last < 0 {
		return new(T)
	}
	t := s.kept[last]
	s.kept[last], s.kept = nil, s.kept[:last]
	return t
}

// Put keeps t, unless s has most elements.
func (s *Spare[T]) Put(t *T, most int) {
	if len(s.kept) < most {
		s.kept = append(s.kept, t)
	}
}

// Buffers is a Spare of buffers.
type Buffers struct{ kept [][]byte }

// Take returns an empty buffer, a new one for size bytes where b has none.
func (b *Buffers) Take(size int) []byte {
	last := len(b.kept) - 1
	if last < 0 {
		return make([]byte, 0, size)
	}
	buf := b.kept[last]
	b.kept = b.kept[:last]
	return buf
}

// Put keeps buf, unless b has most buffers or buf has a capacity above largest.
func (b *Buffers) Put(buf []byte, most, largest int) {
	if cap(buf) > 0 && cap(buf) <= largest && len(b.kept) < most {
		b.kept = append(b.kept, buf[:0])
	}
}
