package quic

import "encoding/binary"

// paths are the addresses of the peer: the pair in use, and what is sent to others (RFC 9000 §8.2, §9). A server
// follows its client; the other end of a client stays where it is. Owned by its Conn.
//
//	              a packet that is no probe, with the highest number, from another address
//	┌───────────┐ ───────────────────────────────────────────────────────► ┌────────────┐
//	│ validated │                                                          │ challenged │
//	└───────────┘ ◄─────────────────────────────────────────────────────── └────────────┘
//	              PATH_RESPONSE; or one by safe, or no answer in time, and safe is in use again
//
// Acknowledgements and challenges alone leave by a path that is challenged, three times what came at most.
type paths struct {
	used    Path  // datagrams leave by it
	lead    ID    // of ours, by which the peer sends there
	in, out int64 // bytes by used, until it is validated
	movedAt int64
	trial   *trial // of used; nil: it is not challenged
	asides  []aside
}

// trial is the state of a path that is challenged.
type trial struct {
	safe      Path    // the last path that was validated
	meant     bool    // the peer has changed its id: it moves on purpose
	old       [8]byte // of PATH_CHALLENGE by safe
	challenge [8]byte // of PATH_CHALLENGE
	at        int64   // when the challenge is sent again, or given up
	tries     int
}

// aside is a datagram with PATH_CHALLENGE or PATH_RESPONSE alone, by any path.
type aside struct {
	to   Path
	id   ID
	kind frameKind
	data [8]byte
	full bool // it is padded: RFC 9000 §8.2.1, where as many bytes may leave
}

const (
	asidesMax   = 3                              // CVE-2023-49295
	leastAside  = 1 + idMax + 4 + 1 + 8 + tagLen // bytes, without padding
	pathPTOs    = 1 + 2 + 4                      // RFC 9000 §8.2.4: three in a row, each twice the one before
	pathBackoff = 8                              // doublings at most of the time between challenges
)

// room returns how many bytes may leave by a path that is not validated.
func (x *paths) room() int64 { return 3*x.in - x.out }

// hasAside reports whether a challenge or an answer is to be sent.
func (x *paths) hasAside() bool { return len(x.asides) > 0 }

// takeAside returns a challenge or an answer that is to be sent, or nil. It is borrowed until the next add.
func (x *paths) takeAside() *aside {
	n := len(x.asides)
	if n == 0 {
		return nil
	}
	x.asides = x.asides[:n-1]
	return &x.asides[:n][n-1]
}

// add queues a, instead of an aside of its kind that waits for its address. It reports false when too many wait.
func (x *paths) add(a aside) bool {
	for i := range x.asides {
		if x.asides[i].to == a.to && x.asides[i].kind == a.kind {
			x.asides[i] = a
			return true
		}
	}
	if len(x.asides) == asidesMax {
		return false
	}
	x.asides = append(x.asides, a)
	return true
}

// onChallenge takes PATH_CHALLENGE: it is answered where it came from (RFC 9000 §8.2.2), once a flush and address.
func (c *Conn) onChallenge(f *frame) {
	x := &c.paths
	id, full := c.theirs.current(), 3*c.in.size >= DatagramSize || c.in.from == x.used && c.flag&validated != 0
	if c.in.from != x.used {
		id = c.theirs.idFor(c.in.from, c.in.lead == x.lead)
	}
	if id == nil && x.trial == nil {
		c.theirs.dropElsewhere() // the peer has tried many addresses, and gives other ids for them
	}
	if id == nil || !x.add(aside{c.in.from, *id, framePathResponse, [8]byte(f.body), full}) {
		c.arena.Stats.Strays++
	}
}

// onPathResponse takes PATH_RESPONSE.
func (c *Conn) onPathResponse(f *frame) *Error {
	switch t := c.paths.trial; {
	case t == nil:
		return c.useless()
	case [8]byte(f.body) == t.challenge:
		c.flag |= tellMoved
		c.arena.Stats.Moves++
		c.endTrial(c.paths.used)
	case [8]byte(f.body) == t.old && c.in.from == t.safe && !t.meant:
		c.endTrial(t.safe) // RFC 9000 §9.3.3: the peer is still there, and a third party has sent its packets on
	default:
		return c.useless()
	}
	return nil
}

// endTrial makes the path in use, or the path before, count as validated.
func (c *Conn) endTrial(by Path) {
	if by != c.paths.used {
		c.arena.Stats.MovesFailed++
		c.use(by)
	}
	c.paths.trial = nil
	c.flag |= validated
	c.theirs.dropElsewhere()
}

// move follows the peer to another address.
func (c *Conn) move(to Path) {
	x := &c.paths
	back := x.trial != nil && to == x.trial.safe
	soon := x.movedAt != 0 && c.now < x.movedAt+c.sent.rtt.smoothed
	if soon || !back && c.theirs.idFor(to, c.in.lead == x.lead) == nil {
		c.arena.Stats.Strays++ // the next packet from there moves c, if the peer stays
		return
	}
	if c.flag&validated != 0 {
		// RFC 9000 §9.3.3: a third party on the way may have sent the packet on from an address of its own, and the
		// peer's answer to this challenge brings c back.
		x.trial = &trial{safe: x.used}
		binary.LittleEndian.PutUint64(x.trial.old[:], c.o.random())
		x.add(aside{x.used, *c.theirs.current(), framePathChallenge, x.trial.old, true})
	}
	c.use(to)
	x.movedAt, x.in, x.out = c.now, int64(c.in.size), 0
	if back {
		c.endTrial(to)
		return
	}
	c.flag &^= validated
	x.trial.meant = x.trial.meant || c.in.lead != x.lead
	x.lead = c.in.lead
	binary.LittleEndian.PutUint64(x.trial.challenge[:], c.o.random())
	x.trial.tries = 0
	c.tryPath()
}

// use makes to the path in use. What was learned of another address does not hold for it (RFC 9000 §9.4); another port
// alone comes from a NAT on the same path.
func (c *Conn) use(to Path) {
	x := &c.paths
	if to.Peer.Addr() != x.used.Peer.Addr() || to.Local != x.used.Local {
		s := c.spaces[OneRTT]
		c.sent.since, s.outage = s.next, outage{}
		c.sent.rtt.reset()
		c.sent.window.flight = 0
		c.sent.window.reset(DatagramSize)
		c.sent.sampledAt, c.sent.ptoCount = 0, 0
		c.length.reset()
	}
	c.theirs.change(x.used, to)
	x.used = to
}

// tryPath challenges the path in use, again until the time is over: then the path before is used again.
func (c *Conn) tryPath() {
	x, t := &c.paths, c.paths.trial
	wait := c.sent.rtt.probeAfter(ackDelay)
	if c.now >= x.movedAt+pathPTOs*max(wait, 3*rttStart) { // the PTO of a path that is not known
		c.endTrial(t.safe)
		return
	}
	if room := x.room(); room >= leastAside {
		// Small challenges leave room for more: the client may have nothing to send that would give us some.
		full := room >= 2*DatagramSize
		x.add(aside{to: x.used, id: *c.theirs.current(), kind: framePathChallenge, data: t.challenge, full: full})
	}
	t.at = c.now + wait<<min(t.tries, pathBackoff)
	t.tries++
}

// appendAside writes a challenge or an answer. Nothing is noted of it: its loss says nothing of congestion, and it is
// sent again by tryPath or when the peer asks again.
func (c *Conn) appendAside(dst []byte, a *aside) []byte {
	at, limit := len(dst), len(dst)
	mine := a.to == c.paths.used
	if a.full && (!mine || c.flag&validated != 0 || c.paths.room() >= DatagramSize) {
		limit += DatagramSize
	}
	p, dst := c.beginPacket(dst, OneRTT, c.spaces[OneRTT], &a.id)
	dst = appendPath(dst, a.kind, &a.data)
	for len(dst) < limit-tagLen {
		dst = append(dst, byte(framePadding))
	}
	dst = p.seal(dst)
	if mine {
		c.paths.out += int64(len(dst) - at)
	}
	return dst
}
