package cache

import (
	"strconv"
	"time"

	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/message"
)

// addAge adds the age of a stored answer to its head h, and returns it in seconds.
func (l *local) addAge(h *message.Head, fresh *policy.Freshness, now int64) int32 {
	age := int64(fresh.AgeAt(now) / time.Second)
	l.text = strconv.AppendInt(l.text[:0], age, 10)
	h.AddBytes(message.Age, "Age", l.text)
	return int32(age)
}

// shape makes h, the head of an answer that the cache gives, the head of the answer to the conditions and the range of
// request, and returns which bytes of the body belong to it. A length below 0 is not known, and there is no part then.
func shape(request, h *message.Head, length, received int64) (at, n int64) {
	if h.Status != 200 {
		return 0, length
	}
	// RFC 9110 §13.2.2: Range is looked at after the conditions.
	if policy.NotModified(request, h, received) {
		h.Status = 304
		strip(h)
		return 0, 0
	}
	if length < 0 || request.Verb != message.VerbGet { // RFC 9110 §14.2
		return 0, length
	}
	at, n, part := policy.RangeOf(request, h, length)
	var text [3*20 + 8]byte
	t := append(text[:0], "bytes "...)
	switch part {
	case policy.Whole:
		return 0, length
	case policy.Unsatisfiable:
		h.Status, n = 416, 0
		strip(h)
		t = append(t, '*')
	default:
		h.Status = 206
		t = strconv.AppendInt(append(strconv.AppendInt(t, at, 10), '-'), at+n-1, 10)
	}
	h.AddBytes(message.ContentRange, "Content-Range", strconv.AppendInt(append(t, '/'), length, 10))
	return at, n
}

// strip leaves in h what an answer without the representation says of it: RFC 9110 §15.4.5.
func strip(h *message.Head) {
	h.Length = 0
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.Dropped() && !policy.InNotModified(f.ID, h.Name(i)) {
			f.Flags |= message.Dropped
		}
	}
}
