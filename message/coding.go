package message

// codingsMax bounds how much of Accept-Encoding is read: over HTTP/2 a request repeats a field of 20 bytes until its
// head is full.
const codingsMax = 256

// offeredMax bounds the content codings that Preferred chooses from.
const offeredMax = 8

// PreferredIn is Head.Preferred for the values of the fields Accept-Encoding of a request.
func PreferredIn(values []string, offered ...string) int {
	var h Head
	for _, v := range values {
		h.AddID(AcceptEncoding, "Accept-Encoding", v)
	}
	return h.Preferred(offered...)
}

// Preferred returns the index of the one of offered, content codings with the best first, that the client of the
// request h wants most, and -1 where it wants none of them, or says nothing: RFC 9110 §12.5.3. At equal weights a
// coding is better than none.
func (h *Head) Preferred(offered ...string) int {
	const absent = -1
	var named [offeredMax]int
	for i := range named {
		named[i] = absent
	}
	others, identity, n := absent, absent, 0
	for element := range h.Elements(AcceptEncoding) {
		if n++; n > codingsMax {
			break
		}
		name, parameters := SplitParameters(element)
		switch {
		case string(name) == "*":
			others = max(others, Quality(parameters))
			continue
		case EqualFold(name, "identity"):
			identity = max(identity, Quality(parameters))
			continue
		case EqualFold(name, "x-gzip"): // RFC 9110 §8.4.1.3: the same
			name = name[2:]
		}
		for i, c := range offered[:min(len(offered), offeredMax)] {
			if EqualFold(name, c) {
				named[i] = max(named[i], Quality(parameters))
			}
		}
	}
	best, most := -1, max(identity-1, 0)
	for i := range offered[:min(len(offered), offeredMax)] {
		q := named[i]
		if q == absent {
			q = others
		}
		if q > most {
			best, most = i, q
		}
	}
	return best
}
