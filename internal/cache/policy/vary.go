package policy

import (
	"bytes"
	"encoding/binary"
	"iter"
	"slices"

	"github.com/edge-proxy/edge/message"
)

const (
	varyMax = 8   // names of fields: each more multiplies the variants of an answer
	nameMax = 255 // bytes: the length of a name is one byte
)

// AppendVary appends the names of the fields by which answer varies: Vary, and Origin where
// Access-Control-Allow-Origin names one: many backends forget Vary then. The names are in lower case, sorted, each
// once, with its length in front in a byte. With ReasonVary nothing is appended: there are more than 8 names, or one
// is "*", malformed or longer than 255 bytes.
func AppendVary(dst []byte, answer *message.Head) (names []byte, why Reason) {
	names = dst
	for origin := range answer.Elements(message.AccessControlAllowOrigin) {
		if string(origin) != "*" {
			names, _ = addName(names, len(dst), []byte("origin"))
		}
	}
	for name := range answer.Elements(message.Vary) {
		// RFC 9111 §4.1: a stored response with a Vary field value containing a member "*" always fails to match.
		ok := len(name) == 0 || string(name) != "*" && message.ValidName(name)
		if ok && len(name) > 0 {
			names, ok = addName(names, len(dst), name)
		}
		if !ok {
			return dst, ReasonVary
		}
	}
	return names, ReasonNone
}

// UnionVary appends the names of a and b, two lists by AppendVary, as one such list. It reports false, and appends
// nothing, where that has more than 8 names. dst must not overlap a and b.
func UnionVary(dst, a, b []byte) (names []byte, ok bool) {
	names = append(dst, a...)
	for name := range Names(b) {
		if names, ok = addName(names, len(dst), name); !ok {
			return dst, false
		}
	}
	return names, true
}

// addName adds a name to the sorted list at names[at:], unless it is there. It reports false where there is no room.
func addName(names []byte, at int, name []byte) (_ []byte, ok bool) {
	if len(name) > nameMax {
		return names, false
	}
	var room [1 + nameMax]byte
	own := message.AppendLower(append(room[:0], byte(len(name))), name)
	count, place := 0, at
	for list := names[at:]; len(list) > 0; count++ {
		var listed []byte
		listed, list = cutName(list)
		switch bytes.Compare(listed, own[1:]) {
		case 0:
			return names, true
		case -1:
			place = len(names) - len(list)
		}
	}
	if count == varyMax {
		return names, false
	}
	return slices.Insert(names, place, own...), true
}

// cutName cuts the first name off a list by AppendVary.
func cutName(names []byte) (name, rest []byte) {
	end := 1 + int(names[0])
	return names[1:end], names[end:]
}

// Names goes over a list by AppendVary.
func Names(names []byte) iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		for rest := names; len(rest) > 0; {
			var name []byte
			if name, rest = cutName(rest); !yield(name) {
				return
			}
		}
	}
}

// AppendVariant appends the values that request has in the fields names, a list by AppendVary, in a normal form: what
// it appends is equal for two requests only where these values mean the same (RFC 9111 §4.1).
//
//	Accept-Encoding   one byte: 0 where there is none, else 0x80 | its Coding
//	other fields      4 bytes: 0 where there is none, else 1 + the length of the text that follows
//
// The text is the members of all lines without blanks around commas, of Accept-Language in lower case.
// Host is not to be asked for here: the authority is part of every key.
func AppendVariant(dst, names []byte, request *message.Head) []byte {
	for name := range Names(names) {
		id := message.LookupBytes(name)
		if id == message.AcceptEncoding {
			c, stated := CodingOf(request)
			if stated {
				c |= codingStated
			}
			dst = append(dst, byte(c))
			continue
		}
		at := len(dst)
		dst = append(dst, 0, 0, 0, 0)
		found := false
		switch id {
		case message.AcceptLanguage:
			dst, found = appendLanguages(dst, request)
		case message.Cookie:
			dst, found = appendCookies(dst, request)
		default:
			dst, found = appendLines(dst, request, id, name)
		}
		if found {
			binary.LittleEndian.PutUint32(dst[at:], uint32(1+len(dst)-at-4))
		}
	}
	return dst
}

// appendCookies appends all lines of Cookie as one. RFC 9113 §8.2.3: they are concatenated using "; ". A comma among
// cookies separates nothing, so every blank stays.
func appendCookies(dst []byte, request *message.Head) (_ []byte, found bool) {
	for i := range request.Fields {
		if f := &request.Fields[i]; f.ID != message.Cookie || f.Dropped() {
			continue
		}
		if found {
			dst = append(dst, "; "...)
		}
		dst, found = append(dst, request.Value(i)...), true
	}
	return dst, found
}

// appendLines appends all lines of a field as one list.
func appendLines(dst []byte, request *message.Head, id message.Name, name []byte) (_ []byte, found bool) {
	j := joiner{dst: dst, keptLen: len(dst), atStart: true}
	for i := range request.Fields {
		f := &request.Fields[i]
		if f.ID != id || f.Dropped() || id == message.Other && !message.EqualFoldBytes(request.Name(i), name) {
			continue
		}
		if found {
			j.add(',')
		}
		for _, c := range request.Value(i) {
			j.add(c)
		}
		found = true
	}
	return j.dst[:j.keptLen], found
}

// joiner writes a comma separated list without the blanks around its commas. Inside of quotation marks every byte
// stays as it is, also over the end of a line: the text is what the lines joined by commas mean (RFC 9110 §5.3).
type joiner struct {
	dst     []byte
	keptLen int  // of dst; the bytes after them are blanks, which are dropped if a comma or the end follows
	atStart bool // of a member: only blanks came since the last comma
	quoted  bool
	escaped bool // the byte before is the backslash of a quoted-pair
}

// add takes the next byte of the lines, which commas join.
func (j *joiner) add(c byte) {
	blank := c == ' ' || c == '\t'
	switch {
	case j.quoted:
		j.quoted = c != '"' || j.escaped
		j.escaped = c == '\\' && !j.escaped
	case blank && j.atStart:
		return
	case blank:
		j.dst = append(j.dst, c)
		return
	case c == ',':
		j.dst = j.dst[:j.keptLen]
	case c == '"':
		j.quoted = true
	}
	j.dst = append(j.dst, c)
	j.atStart = c == ',' && !j.quoted
	j.keptLen = len(j.dst)
}

// languagesMax bounds the members of Accept-Language that are sorted.
const languagesMax = 32

// appendLanguages appends the members of Accept-Language, those with a higher weight first. The order of members with
// the same weight stays: RFC 9110 §12.5.4 says that recipients may take it as a priority, and most do. Of more than 32
// members the order stays as it came.
func appendLanguages(dst []byte, request *message.Head) (_ []byte, found bool) {
	var ends [languagesMax + 1]int
	start, n := len(dst), 0
	ends[0] = start
	for member := range request.Elements(message.AcceptLanguage) {
		if found = true; len(member) > 0 {
			dst = append(appendLanguage(dst, member), ',')
			if n++; n <= languagesMax {
				ends[n] = len(dst)
			}
		}
	}
	if n > 1 && n <= languagesMax {
		dst = sortParts(dst, ends[:n+1])
	}
	return dst[:max(start, len(dst)-1)], found // without the last comma
}

// sortParts sorts the parts of b, members with a comma after each, that begin and end at some places.
func sortParts(b []byte, places []int) []byte {
	var parts [languagesMax][]byte
	n := len(places) - 1
	for i := range n {
		parts[i] = b[places[i]:places[i+1]]
	}
	weight := func(part []byte) int {
		_, parameters, _ := bytes.Cut(part[:len(part)-1], []byte{';'})
		return message.Quality(parameters)
	}
	slices.SortStableFunc(parts[:n], func(a, b []byte) int { return weight(b) - weight(a) })
	start, end := places[0], len(b)
	for _, part := range parts[:n] {
		b = append(b, part...)
	}
	return b[:start+copy(b[start:], b[end:])]
}

// appendLanguage appends a member in lower case, without blanks around its semicolons.
func appendLanguage(dst, member []byte) []byte {
	for more := true; more; {
		var part []byte
		part, member, more = bytes.Cut(member, []byte{';'})
		if dst = message.AppendLower(dst, bytes.Trim(part, " \t")); more {
			dst = append(dst, ';')
		}
	}
	return dst
}
