package h2

// urgencyDefault is the urgency of a stream that says none.
const urgencyDefault = 3

// prioritise applies a Priority field (RFC 9218 §4), a dictionary of structured fields: u is the urgency, i says that
// the answer is of use in parts. A client that sends none at all says neither, and its answers take turns.
func (s *Stream) prioritise(v []byte) {
	s.urgency, s.serial = urgencyDefault, true
	for len(v) > 0 {
		for len(v) > 0 && (v[0] == ' ' || v[0] == '\t' || v[0] == ',') {
			v = v[1:]
		}
		n := 0
		for n < len(v) && v[n] != ',' && v[n] != ';' && v[n] != ' ' {
			n++
		}
		switch member := v[:n]; { // the last one counts
		case n == 3 && string(member[:2]) == "u=" && member[2] >= '0' && member[2] <= '7':
			s.urgency = member[2] - '0'
		case string(member) == "i", string(member) == "i=?1":
			s.serial = false
		case string(member) == "i=?0":
			s.serial = true
		}
		for v = v[n:]; len(v) > 0 && v[0] != ','; {
			v = v[1:]
		}
	}
}
