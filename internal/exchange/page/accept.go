package page

import (
	"strings"

	"github.com/edge-proxy/edge/message"
)

// rank says how much a client wants a type, the larger the more.
type rank struct {
	quality  int // thousandths; 0: not at all
	specific int // of the range that said so: 0 "*/*", 1 "text/*", 2 "application/x+json" for JSON, 3 the type itself
	early    int // the ranges before it, negative: clients list first what they want most
}

func (r rank) above(o rank) bool {
	switch {
	case r.quality != o.quality:
		return r.quality > o.quality
	case r.specific != o.specific:
		return r.specific > o.specific
	}
	return r.early > o.early
}

// rangesMax bounds how much of Accept is read: browsers send fewer than ten ranges. Over HTTP/2 a request of 20 bytes
// repeats a field of the connection until its head is full, and each answer looks at the list once for every type.
const rangesMax = 32

// rankOf returns how much the client of the request h wants a type, which may have parameters: what the most specific
// range says that it is in. A client that says nothing takes anything (RFC 9110 §12.5.1), and so does a nil h.
func rankOf(h *message.Head, t string) rank {
	t, _, _ = strings.Cut(t, ";")
	n, found := 0, -1
	var r rank
	if h != nil {
		for element := range h.Elements(message.Accept) {
			part, parameters := message.SplitParameters(element)
			if s := match(part, t); s > found {
				found = s
				r = rank{quality: message.Quality(parameters), specific: s, early: -n}
			}
			if n++; n == rangesMax {
				break
			}
		}
	}
	if n == 0 {
		return rank{quality: 1000}
	}
	return r
}

// match returns how closely a range names the type t, -1 where t is not in it.
func match(r []byte, t string) int {
	major, _, _ := strings.Cut(t, "/")
	switch {
	case message.EqualFold(r, t):
		return 3
	case t == typeJSON && len(r) > len("+json") && message.EqualFold(r[len(r)-len("+json"):], "+json") &&
		!message.EqualFold(r, typeProblem):
		return 2 // its programs read JSON
	case len(r) == len(major)+2 && message.EqualFold(r[:len(major)], major) && string(r[len(major):]) == "/*":
		return 1
	case string(r) == "*/*", string(r) == "*": // the second is what some clients of Java send
		return 0
	}
	return -1
}
