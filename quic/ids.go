package quic

import "crypto/subtle"

// ownIDs are the connection ids by which the peer reaches this side, by sequence number.
type ownIDs struct {
	ids    [idsKept]ownID
	count  int
	next   uint64 // sequence number of the next one
	told   uint64 // the peer knows the numbers below
	retire []ID   // IDRetired is due for them
}

type ownID struct {
	id       ID
	token    [16]byte
	sequence uint64
	due      bool // NEW_CONNECTION_ID is to be sent
}

func (o *ownIDs) add(id ID) *ownID {
	o.ids[o.count] = ownID{id: id, sequence: o.next}
	o.count++
	o.next++
	return &o.ids[o.count-1]
}

// issueIDs gives the peer as many ids as it keeps.
func (c *Conn) issueIDs() {
	for most := int(min(c.peer.ids, idsKept)); c.own.count < most; {
		id, token := c.o.NewID()
		n := c.own.add(id)
		n.token, n.due = token, true
	}
}

// idDue returns an id of which NEW_CONNECTION_ID is to be sent.
func (o *ownIDs) idDue() *ownID {
	for i := range o.count {
		if o.ids[i].due {
			return &o.ids[i]
		}
	}
	return nil
}

// bySequence returns the id with a sequence number, nil when it is retired.
func (o *ownIDs) bySequence(n uint64) *ownID {
	for i := range o.count {
		if o.ids[i].sequence == n {
			return &o.ids[i]
		}
	}
	return nil
}

// onRetireID takes RETIRE_CONNECTION_ID.
func (c *Conn) onRetireID(n uint64) *Error {
	if n >= c.own.told { // RFC 9000 §19.16; else a packet could retire ids without end, each made for the one before
		return errRetire
	}
	id := c.own.bySequence(n)
	if id == nil {
		return c.useless() // again
	}
	if id.id == c.in.lead { // RFC 9000 §19.16: not the id of the packet that carries it
		return errRetire
	}
	c.own.retire = append(c.own.retire, id.id)
	c.own.count--
	*id = c.own.ids[c.own.count]
	c.issueIDs()
	return nil
}

// peerIDs are the connection ids by which this side reaches the peer. The first one is in use.
type peerIDs struct {
	ids     [idsKept]peerID
	count   int
	first   ID       // that long headers of the peer name
	below   uint64   // ids of lower numbers are retired
	retired []uint64 // sequence numbers for RETIRE_CONNECTION_ID
	flying  int      // of these, sent and not acknowledged
}

type peerID struct {
	id       ID
	token    [16]byte
	hasToken bool
	sequence uint64
	at       *Path // the last path of packets with it; nil: none, or the path in use
}

// take sets the id that a long header of the peer named.
func (p *peerIDs) take(b []byte) {
	p.first, _ = MakeID(b)
	p.ids[0].id = p.first
	p.count = max(p.count, 1)
}

func (p *peerIDs) current() *ID { return &p.ids[0].id }

// spare returns which id is for packets to another address: 0, the id in use, where the peer has given none that went
// nowhere else.
func (p *peerIDs) spare(to Path) (i int) {
	for n := p.count - 1; n > 0; n-- {
		if at := p.ids[n].at; at == nil {
			i = n
		} else if *at == to {
			return n
		}
	}
	p.ids[i].at = &to
	return i
}

// idFor returns the id for packets to another address, or nil where none may go there. RFC 9000 §9.5: observers must
// not join addresses by an id; but where a NAT has changed the address, the peer still sends by the same id of ours.
func (p *peerIDs) idFor(to Path, same bool) *ID {
	i := p.spare(to)
	if i == 0 && !same && p.current().n > 0 {
		return nil
	}
	return &p.ids[i].id
}

// change makes the id for another address the id in use.
func (p *peerIDs) change(from, to Path) {
	i := p.spare(to)
	p.ids[0].at = &from
	p.ids[0], p.ids[i] = p.ids[i], p.ids[0]
}

// dropElsewhere drops the ids that went to addresses which are not in use.
func (p *peerIDs) dropElsewhere() {
	for i := p.count - 1; i > 0; i-- {
		if p.ids[i].at != nil && p.dropID(p.ids[i].sequence) == nil {
			p.count--
			p.ids[i] = p.ids[p.count]
		}
	}
}

// onNewID takes NEW_CONNECTION_ID, and reports whether it said something new.
func (p *peerIDs) onNewID(f *frame) (fresh bool, err *Error) {
	if p.current().n == 0 {
		return false, errIDEmpty // RFC 9000 §19.15
	}
	id, _ := MakeID(f.body)
	for i := range p.count {
		if known := &p.ids[i]; known.sequence == f.value {
			if known.id != id {
				return false, errIDChanged
			}
			return false, nil
		} else if known.id == id {
			return false, errIDChanged
		}
	}
	p.below = max(p.below, f.before)
	if f.value < p.below {
		return true, p.dropID(f.value)
	}
	kept := 0
	for i := range p.count {
		if p.ids[i].sequence >= p.below {
			p.ids[kept] = p.ids[i]
			kept++
		} else if err := p.dropID(p.ids[i].sequence); err != nil {
			return false, err
		}
	}
	if p.count = kept; kept == idsKept {
		return false, errIDLimit
	}
	n := peerID{id: id, hasToken: true, sequence: f.value}
	copy(n.token[:], f.token)
	p.ids[kept] = n
	p.count++
	return true, nil
}

// dropID queues a RETIRE_CONNECTION_ID for an id that is not used any more.
func (p *peerIDs) dropID(sequence uint64) *Error {
	if len(p.retired)+p.flying >= retiredMax {
		return errRetireFlood
	}
	for _, n := range p.retired {
		if n == sequence {
			return nil
		}
	}
	p.retired = append(p.retired, sequence)
	return nil
}

// isReset reports whether a packet that cannot be opened is a stateless reset: it ends with the
// token of the id in use.
func (p *peerIDs) isReset(packet []byte) bool {
	used := &p.ids[0] // RFC 9000 §10.3.1: not those that are spare or retired
	return used.hasToken && subtle.ConstantTimeCompare(packet[len(packet)-16:], used.token[:]) == 1
}
