package quic

// space is a packet number space (RFC 9000 §12.3) with its keys. Owned by its Conn.
//
//	sent holds the packets that ask for an acknowledgement and are neither acknowledged nor lost, by number,
//	and other ones between them; frames holds what these packets carry, in the same order
type space struct {
	read, write keys
	recv        ranges
	cryptoIn    assembly
	cryptoOut   outgoing

	sent   ring[sentPacket]
	frames ring[sentFrame]
	next   int64 // number of the next packet
	acked  int64 // the highest number that was acknowledged, or none
	flying int   // packets of sent whose state is sentFlying

	lastAt  int64 // when the last packet was sent that asks for an acknowledgement
	lossAt  int64 // when the next packet counts as lost by time, 0: none
	ackAt   int64 // when an acknowledgement is due, 0: never
	highAt  int64 // when the highest packet came
	unacked int   // packets that ask for an acknowledgement, since the last one was sent
	probes  int   // packets that have to be sent, whatever the window says
	outage  outage
}

func newSpace() *space { return &space{acked: none, recv: ranges{}} }

// sentPacket is a packet on its way.
type sentPacket struct {
	number int64
	at     int64
	frames uint32 // the position of its first frame, counted from the beginning
	size   uint16
	count  uint8 // frames
	state  sentState
}

// sentState is what is known of a packet that was sent.
type sentState uint8

const (
	sentFlying sentState = iota
	sentAcked
	sentLost
)

// sentFrame is what has to be known of a frame when its packet is acknowledged or lost.
type sentFrame struct {
	stream *Stream // of frames of a stream
	from   int64   // offset; highest number of an ACK; sequence number of an id
	n      int32
	kind   frameKind
	end    bool
}

// ring is a queue. place counts what was ever taken from the front. An empty ring has no memory of its own.
type ring[T any] struct {
	items []T
	head  int
	n     int
	place uint32
}

// rings keeps the memory of empty rings of one kind, for the connections of an Arena.
type rings[T any] struct {
	free  [][]T
	items int // in all of free
}

const (
	ringLeast = 32
	spareRing = 32 << 10 // items of a kind that an Arena keeps
)

// take returns memory for more than n items.
func (f *rings[T]) take(n int) (items []T) {
	last := len(f.free) - 1
	if last < 0 || len(f.free[last]) <= n {
		return make([]T, max(ringLeast, 2*n))
	}
	items, f.free[last] = f.free[last], nil
	f.free, f.items = f.free[:last], f.items-len(items)
	return items
}

// put keeps memory whose items are zero, if there is room.
func (f *rings[T]) put(items []T) {
	if n := len(items); n > 0 && f.items+n <= spareRing {
		f.free, f.items = append(f.free, items), f.items+n
	}
}

func (r *ring[T]) at(i int) *T { return &r.items[(r.head+i)&(len(r.items)-1)] }

// push appends a zero, and returns it: its parts are written where they stay, since a copy would wait for its stores.
// spare has the memory of empty rings.
func (r *ring[T]) push(spare *rings[T]) *T {
	if r.n == len(r.items) {
		items := spare.take(r.n)
		n := copy(items, r.items[r.head:])
		copy(items[n:], r.items[:r.head])
		clear(r.items)
		spare.put(r.items)
		r.items, r.head = items, 0
	}
	r.n++
	return r.at(r.n - 1)
}

func (r *ring[T]) pop() {
	var zero T
	*r.at(0) = zero
	r.head = (r.head + 1) & (len(r.items) - 1)
	r.n--
	r.place++
}

// release gives the memory of an empty ring back.
func (r *ring[T]) release(spare *rings[T]) {
	if r.n == 0 && r.items != nil {
		spare.put(r.items)
		r.items, r.head = nil, 0
	}
}

// find returns the index in sent of the first packet whose number is n or higher.
func (s *space) find(n int64) int {
	low, high := 0, s.sent.n
	for low < high {
		if mid := (low + high) / 2; s.sent.at(mid).number < n {
			low = mid + 1
		} else {
			high = mid
		}
	}
	return low
}

// frame returns frame i of p.
func (s *space) frame(p *sentPacket, i int) *sentFrame {
	return s.frames.at(int(p.frames-s.frames.place) + i)
}

// trim drops packets from the front that are acknowledged or lost.
func (s *space) trim(a *Arena) {
	for s.sent.n > 0 && s.sent.at(0).state != sentFlying {
		for range s.sent.at(0).count {
			s.frames.pop()
		}
		s.sent.pop()
	}
	s.sent.release(&a.sent)
	s.frames.release(&a.frames)
}

// forgetSent forgets the packets on their way: nothing will be known of them.
func (s *space) forgetSent(a *Arena) {
	for s.sent.n > 0 {
		s.sent.at(0).state = sentLost
		s.trim(a)
	}
	s.flying, s.lossAt, s.probes = 0, 0, 0
}

// drop gives all memory back: nothing is sent or taken any more.
func (s *space) drop(m memory) {
	a := m.arena
	s.forgetSent(a)
	s.cryptoIn.drop(m)
	s.cryptoOut.drop(a)
	s.recv.drop(a)
	s.ackAt = 0
}

// ackDue reports whether an acknowledgement has to be sent now.
func (s *space) ackDue(now int64) bool { return s.ackAt != 0 && s.ackAt <= now }
