package h1

import "github.com/edge-proxy/edge/message"

// Repeats keeps the head of a request without a body that came twice in a row, byte for byte, as pollers, health checks
// and load generators send it: from the third time on it is copied, not decoded. The zero value keeps none. It is for
// the Decoders of one goroutine that have the same Limits.
//
//	bytes is empty, or a whole head that was decoded to head
type Repeats struct {
	bytes []byte
	rest  uint8 // heads that pass before one is kept again: most clients do not repeat themselves
	last  int   // bytes of the head before
	head  message.Head
}

const (
	repeatMax  = 2 << 10 // bytes of a head that is kept
	repeatRest = 255
)

// Recall makes h the head that r keeps, where in begins with that, as Next does, and returns how many bytes that are:
// HeadDone and End. 0: it is another one, or d is not before a head.
func (d *Decoder) Recall(in []byte, h *message.Head, r *Repeats) (n int) {
	if len(r.bytes) == 0 {
		return 0
	}
	return d.recall(in, h, r)
}

func (d *Decoder) recall(in []byte, h *message.Head, r *Repeats) (n int) {
	if n = len(r.bytes); len(in) < n || d.state != atHead || d.scanned > 0 || d.err != nil {
		return 0
	}
	if string(in[:n]) != string(r.bytes) {
		r.bytes, r.rest = r.bytes[:0], repeatRest
		return 0
	}
	fields := append(h.Fields[:0], r.head.Fields...)
	*h = r.head
	h.Base, h.Fields = in[:n-2:n-2], fields
	d.blank = false
	return n
}

// Note is told of each request without a body: its head as it came, and as it was decoded.
func (r *Repeats) Note(head []byte, h *message.Head) {
	if r.rest > 0 {
		r.rest--
		return
	}
	r.note(head, h)
}

// note keeps a head where the one before was as long.
func (r *Repeats) note(head []byte, h *message.Head) {
	n := len(head)
	if n == r.last && n <= repeatMax && n == len(h.Base)+2 { // else an empty line came first
		r.head.Become(h)
		r.bytes = append(r.bytes[:0], head...)
	}
	r.last = n
}
