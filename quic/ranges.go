package quic

// rangesMax is how many ranges of packets are remembered and acknowledged: CVE-2025-4821 and kin.
const rangesMax = 64

// ranges are the numbers of the packets of one space that came and whose frames were taken. The zero value has none.
//
//	forgotten, so never taken again │ set()[0] … set()[count-1]
//	0                            below
//
//	many == nil => count <= len(few)
type ranges struct {
	below int64
	count int
	few   [4]span
	many  *table // where few does not suffice
}

func (r *ranges) set() spans {
	if r.many != nil {
		return r.many[:r.count]
	}
	return r.few[:r.count]
}

// has reports whether the packet n has come, or is so old that this is not known any more. It is a duplicate then.
func (r *ranges) has(n int64) bool { return n < r.below || r.set().has(n) }

// add says that the packet n came, and was no duplicate. When there are too many ranges the oldest is forgotten.
func (r *ranges) add(a *Arena, n int64) {
	if r.many == nil && r.count == len(r.few) { // there may be one more
		r.many = a.takeTable()
		copy(r.many[:], r.few[:])
	}
	s := r.set()
	s.add(n, n+1)
	if r.count = len(s); r.count > rangesMax {
		r.forget(a, s[0].to-1)
	}
	r.shrink(a)
}

// highest returns the highest number, or none.
func (r *ranges) highest() int64 {
	if r.count == 0 {
		return r.below - 1
	}
	return r.set()[r.count-1].to - 1
}

// forget drops the numbers up to n, and takes no packet of them any more. It is called for the highest number of an ACK
// that the peer has acknowledged (RFC 9000 §13.2.4).
func (r *ranges) forget(a *Arena, n int64) {
	s := r.set()
	s.remove(0, n+1)
	r.count, r.below = len(s), max(r.below, n+1)
	r.shrink(a)
}

// shrink gives the table back when few suffices.
func (r *ranges) shrink(a *Arena) {
	if r.many != nil && r.count < len(r.few) {
		copy(r.few[:], r.many[:r.count])
		a.putTable(r.many)
		r.many = nil
	}
}

// drop forgets all numbers.
func (r *ranges) drop(a *Arena) { r.forget(a, r.highest()) }

// appendAck appends an ACK of as many of the newest ranges as fit into room octets: nothing where not even one does, or
// where there is none. delay is scaled.
func (r *ranges) appendAck(dst []byte, delay uint64, room int) []byte {
	s, begin, end := r.set(), len(dst), len(dst)+room
	if len(s) == 0 {
		return dst
	}
	top := s[len(s)-1]
	dst = appendFrame(dst, frameAck, uint64(top.to-1), delay)
	count := len(dst) // of further ranges: less than 64, so one octet
	dst = appendInteger(append(dst, 0), uint64(top.to-1-top.from))
	if len(dst) > end {
		return dst[:begin]
	}
	for i := len(s) - 2; i >= 0; i-- {
		fits := len(dst)
		dst = appendInteger(dst, uint64(s[i+1].from-s[i].to-1))
		dst = appendInteger(dst, uint64(s[i].to-1-s[i].from))
		if len(dst) > end {
			return dst[:fits]
		}
		dst[count]++
	}
	return dst
}
