package policy

import (
	"bytes"
	"time"

	"github.com/edge-proxy/edge/message"
)

// NotModified reports whether the conditions of request, a GET or HEAD, ask for 304 in place of stored, the head of
// an answer with status 200 that came at received: RFC 9111 §4.3.2. A condition that is malformed counts for nothing.
func NotModified(request, stored *message.Head, received int64) bool {
	// RFC 9110 §13.1.3: a recipient MUST ignore If-Modified-Since if the request contains an If-None-Match.
	if request.Has(message.IfNoneMatch) {
		return namesTag(request, stored)
	}
	since, ok := dateIn(request, message.IfModifiedSince, received)
	if !ok {
		return false
	}
	changed, ok := dateIn(stored, message.LastModified, received)
	if !ok {
		changed = dateOf(stored, received)
	}
	return changed <= since
}

// namesTag reports whether If-None-Match has the tag of stored, by weak comparison (RFC 9110 §13.1.2), or "*".
func namesTag(request, stored *message.Head) (found bool) {
	tag, _ := stored.Single(message.ETag)
	for i := range request.Fields {
		if f := &request.Fields[i]; f.ID != message.IfNoneMatch || f.Dropped() {
			continue
		}
		list := request.Value(i)
		if string(list) == "*" {
			found = true
			continue
		}
		// A tag may have a comma in it. RFC 9110 §5.6.1.2: a recipient MUST ignore empty list elements.
		for list = bytes.TrimLeft(list, ", \t"); len(list) > 0; list = bytes.TrimLeft(list, ", \t") {
			own := opaque(list)
			end := 2 + bytes.IndexByte(own[min(1, len(own)):], '"')
			if end < 2 || own[0] != '"' {
				return false
			}
			found, list = found || bytes.Equal(own[:end], opaque(tag)), own[end:]
		}
	}
	return found
}

// opaque returns a tag without the mark of a weak one.
func opaque(tag []byte) []byte { return bytes.TrimPrefix(tag, []byte("W/")) }

// InNotModified reports whether a field of a stored answer is sent with 304: RFC 9110 §15.4.5, and what tells caches
// on the way how long the answer is fresh, what browsers may show of it, and of other caches.
func InNotModified(id message.Name, name []byte) bool {
	switch id {
	case message.ETag, message.LastModified, message.CacheControl, message.Expires, message.ContentLocation:
		return true
	case message.Other:
		const targeted = "-Cache-Control"
		if at := len(name) - len(targeted); at > 0 && message.EqualFold(name[at:], targeted) {
			return true
		}
	}
	return InUnsatisfiable(id, name)
}

// InUnsatisfiable reports whether a field of a stored answer is sent with 416. Not so its lifetime: a cache on the way
// whose keys lack Range would give the 416 to all others.
func InUnsatisfiable(id message.Name, name []byte) bool {
	const crossOrigin = "Access-Control-"
	return id == message.Date || id == message.Vary || id == message.Age || message.EqualFold(name, "Cache-Status") ||
		len(name) > len(crossOrigin) && message.EqualFold(name[:len(crossOrigin)], crossOrigin)
}

// Renew puts the fields of news, a 304 to conditions that were made of stored, into stored, the head of a stored
// answer: RFC 9111 §3.2. Judge says afterwards whether stored may be stored again. Renew reports false, and changes
// nothing, where news is about another answer.
func Renew(stored, news *message.Head) (ok bool) {
	if !renews(stored, news) {
		return false
	}
	// The time at which a 304 without Date came takes the place of the Date of stored: RFC 9110 §6.6.1.
	stored.DelID(message.Age)
	stored.DelID(message.Date)
	old := len(stored.Fields)
	for i := range news.Fields {
		f, name := &news.Fields[i], news.Name(i)
		// The body stays, and so do the fields that describe its coding and its part. Content-Type may change: the
		// body is stored as it came, and not as it was understood.
		if f.Dropped() || endsHere(news, i) || f.ID == message.ContentEncoding || f.ID == message.ContentRange {
			continue
		}
		for j := range stored.Fields[:old] {
			own := &stored.Fields[j]
			if own.ID == f.ID && (f.ID != message.Other || message.EqualFoldBytes(stored.Name(j), name)) {
				own.Flags |= message.Dropped
			}
		}
		stored.AddBytes(f.ID, string(name), news.Value(i))
	}
	return true
}

// renews reports whether news, a 304, is about stored. RFC 9111 §4.3.4: a strong validator of news has to be one of
// stored; a weak one has to correspond to one. Without any the conditions say what it is about: they named no other
// answer. Where not both have a tag, but news has a tag or Last-Modified, Last-Modified has to be the same in both.
func renews(stored, news *message.Head) bool {
	own, _ := stored.Single(message.ETag)
	tag, _ := news.Single(message.ETag)
	switch tagged := news.Has(message.ETag); {
	case news.Hops && hidesRules(news):
		return false
	case tagged && len(own) > 0:
		return bytes.Equal(tag, own) || len(opaque(tag)) < len(tag) && bytes.Equal(opaque(tag), opaque(own))
	case !tagged && !news.Has(message.LastModified):
		return true
	}
	modified, _ := stored.Single(message.LastModified)
	again, _ := news.Single(message.LastModified)
	return len(again) > 0 && bytes.Equal(again, modified)
}

// Part is how much of a stored answer a request gets.
type Part uint8

// How much of a stored answer a request gets.
const (
	Whole         Part = iota
	Partial            // one range: 206
	Unsatisfiable      // the range begins after the end: 416
)

// RangeOf returns which n bytes, from at on, of a stored answer to GET with status 200 the Range of request asks for
// (RFC 9110 §14.2). length is the length of its body. A range of several parts, in another unit, malformed, or of
// another answer than If-Range names is ignored. An empty body has no parts.
func RangeOf(request, stored *message.Head, length int64) (at, n int64, which Part) {
	first, last, ok := ParseRange(request)
	if !ok || length <= 0 || !rangeHolds(request, stored) {
		return 0, length, Whole
	}
	return Cut(first, last, length)
}

// Cut returns which n bytes, from at on, of a body of that length a range of ParseRange is.
func Cut(first, last, length int64) (at, n int64, which Part) {
	switch {
	case first < 0 && last > 0:
		n = min(last, length)
		return length - n, n, Partial
	case first < 0 || first >= length:
		return 0, 0, Unsatisfiable
	}
	return first, min(last, length-1) - first + 1, Partial
}

// FirstByteOf returns at which byte of the answer begins what request asks for, 0 without Range. It reports false for a
// range that counts from the end, of several parts, or that is malformed.
func FirstByteOf(request *message.Head) (at int64, ok bool) {
	if !request.Has(message.Range) {
		return 0, true
	}
	at, _, ok = ParseRange(request)
	return max(at, 0), ok && at >= 0
}

// positionMax stands for all positions above it.
const positionMax = 1 << 58

// ParseRange returns the one range that request asks for: first to last, or the last bytes, where first is -1. RFC 9110
// §14.2: false for a range that is ignored, in another unit, of several parts or malformed.
func ParseRange(request *message.Head) (first, last int64, ok bool) {
	const unit = "bytes="
	value, _ := request.Single(message.Range)
	if len(value) < len(unit) || !message.EqualFold(value[:len(unit)], unit) { // RFC 9110 §14.1: case-insensitive
		return 0, 0, false
	}
	from, to, ok := bytes.Cut(value[len(unit):], []byte{'-'})
	first, begins := parseDigits(from, positionMax)
	last, ends := parseDigits(to, positionMax)
	switch {
	case len(from) == 0:
		first, begins = -1, true
	case len(to) == 0:
		last, ends = positionMax, true
	}
	return first, last, ok && begins && ends && first <= last // RFC 9110 §14.1.1: else it is invalid
}

// rangeHolds reports whether If-Range names the answer that is stored, by strong comparison: RFC 9110 §13.1.5.
func rangeHolds(request, stored *message.Head) bool {
	value, several := request.Single(message.IfRange)
	if value == nil {
		return !several
	}
	if len(value) > 0 && value[0] == '"' {
		tag, _ := stored.Single(message.ETag)
		return bytes.Equal(value, tag)
	}
	// RFC 9110 §8.8.2.2: the time is a strong validator if the Date value is at least one second after it.
	made, dated := dateIn(stored, message.Date, 0)
	modified, _ := stored.Single(message.LastModified)
	at, ok := parseDate(modified, made)
	return dated && ok && made-at >= int64(time.Second) && bytes.Equal(value, modified)
}
