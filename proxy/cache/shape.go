package cache

import (
	"strconv"
	"time"

	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
)

// addAge adds the age of a stored answer to its head h, and returns it in seconds.
func (l *local) addAge(h *message.Head, fresh *policy.Freshness, now int64) int32 {
	age := int64(fresh.AgeAt(now) / time.Second)
	l.text = strconv.AppendInt(l.text[:0], age, 10)
	h.AddBytes(message.Age, "Age", l.text)
	return int32(age)
}

// shape changes h, the head of a whole answer, to what the conditions and the range of request ask for, and returns
// which n bytes of the body go with it, from at on. length is the length of the body; below 0: it is not known, and no
// range is cut out of it.
func shape(request, h *message.Head, length, received int64) (at, n int64) {
	if h.Status != 200 {
		return 0, length
	}
	// RFC 9110 §13.2.2: Range is looked at after the conditions.
	if policy.NotModified(request, h, received) {
		h.Status = 304
		strip(h, policy.InNotModified)
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
		strip(h, policy.InUnsatisfiable)
		t = append(t, '*')
	default:
		h.Status = 206
		t = strconv.AppendInt(append(strconv.AppendInt(t, at, 10), '-'), at+n-1, 10)
	}
	h.AddBytes(message.ContentRange, "Content-Range", strconv.AppendInt(append(t, '/'), length, 10))
	return at, n
}

// strip drops the body of h, and all fields but those that keeps names.
func strip(h *message.Head, keeps func(id message.Name, name []byte) bool) {
	h.Length = 0
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.Dropped() && !keeps(f.ID, h.Name(i)) {
			f.Flags |= message.Dropped
		}
	}
}
