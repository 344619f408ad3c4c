package h2

// streamList is a doubly linked list of streams. A stream is in one list of each kind at most. The zero value has the
// kind bySending.
type streamList struct {
	first, last *Stream
	kind        listKind
}

// listKind says which of a stream's links a list uses.
type listKind uint8

const (
	bySending listKind = iota // streams in the order, or streams that wait for window
	byReading                 // streams that owe, by their last release; or streams that linger
	listKinds
)

// links are the neighbours of a stream.
type links struct{ prev, next *Stream }

func (l *streamList) push(s *Stream) { l.insert(s, nil) }

// insert puts s in front of at, or at the end when that is nil.
func (l *streamList) insert(s, at *Stream) {
	before := l.last
	if at != nil {
		before = at.links[l.kind].prev
		at.links[l.kind].prev = s
	} else {
		l.last = s
	}
	if before != nil {
		before.links[l.kind].next = s
	} else {
		l.first = s
	}
	s.links[l.kind] = links{before, at}
}

// remove takes s out, if it is in.
func (l *streamList) remove(s *Stream) {
	k := s.links[l.kind]
	if k.prev == nil && l.first != s {
		return
	}
	if k.prev != nil {
		k.prev.links[l.kind].next = k.next
	} else {
		l.first = k.next
	}
	if k.next != nil {
		k.next.links[l.kind].prev = k.prev
	} else {
		l.last = k.prev
	}
	s.links[l.kind] = links{}
}

// behindSerial returns the first stream that is not serial or that came later than s: s goes in front of it.
func (l *streamList) behindSerial(s *Stream) *Stream {
	at := l.first
	for at != nil && at.serial && at.ID < s.ID {
		at = at.links[l.kind].next
	}
	return at
}
