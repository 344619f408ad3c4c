package engine

import "time"

// Reliever is a Handler that holds memory as long as its peer keeps it waiting: the peer does not take what was
// sent, or does not go on with a message that it began.
type Reliever interface {
	// Relieve ends what c's peer has kept waiting for age at least, as if a timeout had passed. Runs on c's
	// reactor.
	Relieve(c *Conn, age time.Duration)
}

// relief is the search for connections that can be given up under pressure. It goes round the slots, a part of them
// in each tick. The first round is for peers that have kept us waiting longest; each later round is for a shorter
// age. The pressure decides how many rounds there are.
// Owned by its reactor.
//
//	0 <= hand < slots, or 0; 0 <= left <= slots; 0 <= round <= the number of ages
//	left > 0 => round > 0     a round is in progress; it has ended when none is left
type relief struct {
	hand  int // the slot that is looked at next
	left  int // slots of this round
	round int // rounds that were begun
}

// reliefAges is for how long, at least, the peers of each round have kept us waiting.
var reliefAges = [...]time.Duration{16 * time.Second, 4 * time.Second, time.Second, 250 * time.Millisecond, 0}

// reliefRounds is how many rounds there are at each step of pressure. At the last step all peers that keep us
// waiting are given up before a newcomer is refused.
var reliefRounds = [...]int{PressureAccept: 3, PressureRead: 4, PressureShed: 5}

// reliefPerTick is how many slots are looked at in one tick.
const reliefPerTick = 4096

// relieve asks handlers to end what their peers keep waiting, until the pressure is gone or all were asked.
func (r *Reactor) relieve() {
	s := &r.relief
	for range reliefPerTick {
		p := r.Pressure()
		if p < PressureAccept {
			s.left, s.round = 0, 0
			break
		}
		if s.left == 0 && !s.beginRound(p, len(r.slots)) {
			break
		}
		s.left--
		s.hand = (s.hand + 1) % len(r.slots)
		if c := r.slots[s.hand].conn; c != nil && c.state < closed {
			r.current = c
			c.freeUnderPressure(reliefAges[s.round-1])
		}
	}
	r.current = nil
	r.retrySoon() // for the next part of the round, or for another search
}

// beginRound begins a round over so many slots. It reports false after the last one: the search begins anew in a later
// tick.
func (s *relief) beginRound(p Pressure, slots int) bool {
	if s.round >= reliefRounds[p] || slots == 0 {
		s.round = 0
		return false
	}
	s.round++
	s.left = slots
	return true
}

// freeUnderPressure gives up c if it is closing, else the part of it that its handler chooses. The bytes that a closing
// connection has read are freed at once: its own turn may be some ticks away, and new work on other connections
// would be refused until then.
func (c *Conn) freeUnderPressure(age time.Duration) {
	r := c.reactor
	if c.state == closing {
		if c.queued > 0 && r.opts.SendTimeout-time.Duration(c.deadline-r.now) >= age {
			r.stats.GivenUp++
			c.giveUp(ErrTimeout)
		}
	} else if h, ok := c.handler.(Reliever); ok {
		h.Relieve(c, age)
	}
	if c.state >= closing {
		c.releaseKept()
	}
}
