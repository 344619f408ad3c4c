package quic

// length finds how long a full datagram may be, where a path has use for full datagrams (RFC 9000 §14.3). There are two
// lengths: 1200 octets, which every path takes, and what fits into an Ethernet packet. What the kernel knows of the
// path is not believed. Owned by its Conn.
//
//	DatagramSize ── wanted ─► PING of the longer length ── acknowledged ─► longer ── rowMax lost ─► DatagramSize
//	      ▲                         │ lost, at most triesMax times
//	      └─────────────────────────┘
type length struct {
	full   int   // of a full datagram
	longer int   // what is tried
	probe  int64 // the packet that tries it, or none
	tries  int
	due    bool  // the packet is to be sent
	high   int64 // the highest packet of more than DatagramSize that was acknowledged
	row    int   // higher ones that were lost
}

const (
	mostIPv4   = 1500 - 20 - 8 // in an Ethernet packet
	mostIPv6   = 1500 - 40 - 8
	triesMax   = 3
	rowMax     = 3
	smallAfter = 2 // probes of PTO
)

// reset begins anew on a path of which nothing is known.
func (l *length) reset() { *l = length{full: DatagramSize, probe: none, high: none} }

// wanted says that a path has a full datagram, which the peer takes with most bytes at most.
func (l *length) wanted(p Path, most int) {
	if l.full > DatagramSize || l.probe != none || l.tries == triesMax {
		return
	}
	l.longer = mostIPv6
	if p.Peer.Addr().Is4() {
		l.longer = mostIPv4
	}
	l.longer = min(l.longer, most)
	l.due = l.longer > DatagramSize
}

// sent says that packet n tries the longer length.
func (l *length) sent(n int64) {
	l.due, l.probe = false, n
	l.tries++
}

// acked says that a packet of more than DatagramSize has arrived, and reports whether full has grown.
func (l *length) acked(p *sentPacket) (grown bool) {
	l.high, l.row = max(l.high, p.number), 0
	if p.number != l.probe {
		return false
	}
	l.full, l.probe, l.tries = int(p.size), none, 0
	return true
}

// lost says that a packet of more than DatagramSize is lost, and reports whether it may have been too long for the
// path: then congestion is no reason.
func (l *length) lost(p *sentPacket) (tooLong bool) {
	if p.number == l.probe {
		l.probe = none
		return true
	}
	if p.number > l.high {
		if l.row++; l.row == rowMax {
			l.reset()
		}
	}
	return false
}

// limit returns how long a datagram may be after probes of PTO in a row without an answer.
func (l *length) limit(probes int) int {
	if probes >= smallAfter {
		return DatagramSize // the path may take no longer ones any more
	}
	return l.full
}

// triesLonger reports whether the longer length is tried now: not where the address may be forged.
func (c *Conn) triesLonger() bool {
	return c.length.due && c.flag&validated != 0 && c.sent.window.fits(c.now)
}

// appendLonger writes the PING that tries the longer length.
func (c *Conn) appendLonger(dst []byte) []byte {
	end := len(dst) + c.length.longer - tagLen
	p, dst := c.beginPacket(dst, OneRTT, c.spaces[OneRTT], c.theirs.current())
	dst = append(dst, byte(framePing))
	p.note(framePing, nil)
	for len(dst) < end {
		dst = append(dst, byte(framePadding))
	}
	c.length.sent(p.space.next)
	return p.seal(dst)
}
