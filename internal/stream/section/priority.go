package section

// urgencyDefault is the urgency of a Priority field that says none.
const urgencyDefault = 3

// ReadPriority reads a Priority field (RFC 9218 §4), a dictionary of structured fields: u is the urgency, 0 first and 7
// last, i says that the answer is of use in parts. Without it answers of one urgency are sent one after another.
func ReadPriority(v []byte) (urgency uint8, serial bool) {
	urgency, serial = urgencyDefault, true
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
			urgency = member[2] - '0'
		case string(member) == "i", string(member) == "i=?1":
			serial = false
		case string(member) == "i=?0":
			serial = true
		}
		for v = v[n:]; len(v) > 0 && v[0] != ','; {
			v = v[1:]
		}
	}
	return urgency, serial
}
