package quic

// StreamKind says which ends of a stream may send.
type StreamKind uint8

// The kinds of streams.
const (
	TwoWay StreamKind = iota
	OneWay
)

// Stream is one stream of a Conn. Owned by its Conn, which uses it again after Done.
//
//	refs == the number of its frames in packets that are on their way
//	freed once it is done, recvOver and sendOver hold, and refs is 0
type Stream struct {
	ID    uint64
	Owner any // the caller's; nil in a stream that the peer has opened

	in   assembly
	out  outgoing
	refs int32
	flag streamFlags

	urgency uint8 // 0 first
	serial  bool  // sent before streams of its urgency that were opened later

	sendMax   int64 // up to here the peer takes bytes
	recvMax   int64 // up to here we take bytes, as announced
	window    int64 // how far ahead of released recvMax is announced
	delivered int64 // bytes that the caller was given
	released  int64 // of these, bytes that it is done with
	openedAt  int64 // when recvMax was announced last
	resetTo   uint64
	stopCode  uint64

	sending, waiting, control links // in the lists of these names
}

type streamFlags uint16

const (
	recvOver   streamFlags = 1 << iota // its end or a reset was told; or it is of our side alone
	sendOver                           // our data, or our reset, was acknowledged; or it is of the peer alone
	sendReset                          // RESET_STREAM was asked for
	resetDue                           // RESET_STREAM is to be sent
	stopDue                            // STOP_SENDING is to be sent
	windowDue                          // MAX_STREAM_DATA is to be sent
	discarding                         // what comes is thrown away
	streamDone                         // Done was called
	roomLater                          // it makes room for another one when it is freed
	controlDue = resetDue | stopDue | windowDue
)

// openWindow moves the window of s on by what was released, and doubles it, up to most, where it was drained fast. It
// is called when MAX_STREAM_DATA leaves: Release has no time of its own.
func (s *Stream) openWindow(now, most int64) {
	if s.recvMax-s.released <= s.window/2 { // else the frame was lost
		if now-s.openedAt < growWithin {
			s.window = min(2*s.window, most)
		}
		s.openedAt = now
	}
	s.recvMax = max(s.recvMax, s.released+s.window)
}

// links are the place of a stream in a list.
type links struct{ next, prev *Stream }

// streamList is a queue of streams in the order of their priorities. which names the links that it uses.
type streamList struct {
	first, last *Stream
	which       func(*Stream) *links
}

func (l *streamList) has(s *Stream) bool { return l.first == s || l.which(s).prev != nil }

func (l *streamList) push(s *Stream) {
	if l.has(s) {
		return
	}
	at := l.last
	for at != nil && s.precedes(at) {
		at = l.which(at).prev
	}
	k := l.which(s)
	*k = links{prev: at, next: l.first}
	if at == nil {
		l.first = s
	} else {
		k.next = l.which(at).next
		l.which(at).next = s
	}
	if k.next == nil {
		l.last = s
	} else {
		l.which(k.next).prev = s
	}
}

// precedes reports whether s, which comes later, has its turn before t.
func (s *Stream) precedes(t *Stream) bool {
	return s.urgency < t.urgency || s.urgency == t.urgency && s.serial && s.ID < t.ID
}

// remove takes s out, and reports whether it was in l.
func (l *streamList) remove(s *Stream) bool {
	if !l.has(s) {
		return false
	}
	k := l.which(s)
	if k.prev == nil {
		l.first = k.next
	} else {
		l.which(k.prev).next = k.next
	}
	if k.next == nil {
		l.last = k.prev
	} else {
		l.which(k.next).prev = k.prev
	}
	*k = links{}
	return true
}

func sendingLinks(s *Stream) *links { return &s.sending }
func waitingLinks(s *Stream) *links { return &s.waiting }
func controlLinks(s *Stream) *links { return &s.control }

// byClient and oneWay are the bits of a stream's ID that say who opened it, and its kind (RFC 9000 §2.1).
const (
	byServerBit = 1
	oneWayBit   = 2
)

// streamTable finds open streams by their ID. Open addressing; at most three quarters are used.
type streamTable struct {
	slots []*Stream
	used  int
}

func (t *streamTable) at(id uint64) int { return int(id*0x9e3779b97f4a7c15>>32) & (len(t.slots) - 1) }

func (t *streamTable) get(id uint64) *Stream {
	if t.used == 0 {
		return nil
	}
	for i := t.at(id); t.slots[i] != nil; i = (i + 1) & (len(t.slots) - 1) {
		if t.slots[i].ID == id {
			return t.slots[i]
		}
	}
	return nil
}

const tableLeast = 8

func (t *streamTable) put(s *Stream) {
	if 4*(t.used+1) > 3*len(t.slots) {
		old := t.slots
		t.slots, t.used = make([]*Stream, max(tableLeast, 2*len(old))), 0
		for _, s := range old {
			if s != nil {
				t.put(s)
			}
		}
	}
	i := t.at(s.ID)
	for t.slots[i] != nil {
		i = (i + 1) & (len(t.slots) - 1)
	}
	t.slots[i] = s
	t.used++
}

func (t *streamTable) remove(id uint64) {
	mask := len(t.slots) - 1
	i := t.at(id)
	for t.slots[i].ID != id {
		i = (i + 1) & mask
	}
	t.used--
	for hole := i; ; { // streams after it move up, unless they are at home between
		i = (i + 1) & mask
		s := t.slots[i]
		if s == nil {
			t.slots[hole] = nil
			return
		}
		if home := t.at(s.ID); (i-home)&mask >= (i-hole)&mask {
			t.slots[hole], hole = s, i
		}
	}
}
