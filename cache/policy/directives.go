package policy

import (
	"bytes"
	"time"

	"github.com/edge-proxy/edge/message"
)

// directive is a set of those directives of Cache-Control that take no argument, or need none.
type directive uint8

const (
	noStore directive = 1 << iota
	noCache
	private
	public
	mustRevalidate
	mustUnderstand
	sharedAge // s-maxage with an argument that is valid
)

// listsMax bounds how many no-cache="…" and private="…" of an answer are kept apart.
const listsMax = 4

// directives is what the Cache-Control lines of an answer say (RFC 9111 §5.2.2).
//
//	lists[:listed] are spans of the head's Base, each a list of field names
type directives struct {
	seen      directive // whatever the argument. no-cache and private with field names are in lists instead
	plain     directive // without an argument: only so a directive permits something
	sMaxAge   int64     // ns, the least; -1: none
	maxAge    int64
	malformed bool // nobody can tell the members apart: counts as no-store
	listed    uint8
	lists     [listsMax]message.Span
}

// readDirectives reads all lines of Cache-Control as one list (RFC 9110 §5.3).
func readDirectives(answer *message.Head) directives {
	d := directives{sMaxAge: -1, maxAge: -1}
	for i := range answer.Fields {
		f := &answer.Fields[i]
		if f.ID != message.CacheControl || f.Dropped() {
			continue
		}
		// A quoted string that goes on in the next line would hide directives there from some readers: malformed.
		for rest := answer.Value(i); len(rest) > 0 && !d.malformed; {
			var m member
			m, rest = cutMember(rest)
			d.add(m, f.ValueAt+f.ValueLen)
		}
	}
	return d
}

// add reads one member. end is where its line ends in the head's Base.
func (d *directives) add(m member, end uint32) {
	switch {
	case m.malformed:
		d.malformed = true
	case len(m.name) == 0: // RFC 9110 §5.6.1.2: recipients MUST parse and ignore empty list elements
	case message.EqualFold(m.name, "max-age"):
		d.maxAge = leastSeconds(d.maxAge, m)
	case message.EqualFold(m.name, "s-maxage"):
		d.sMaxAge = leastSeconds(d.sMaxAge, m)
		if _, ok := m.seconds(); ok {
			d.plain |= sharedAge
		}
	case message.EqualFold(m.name, "no-cache"):
		d.addFields(noCache, m, end)
	case message.EqualFold(m.name, "private"):
		d.addFields(private, m, end)
	case message.EqualFold(m.name, "no-store"):
		d.addFlag(noStore, m)
	case message.EqualFold(m.name, "public"):
		d.addFlag(public, m)
	case message.EqualFold(m.name, "must-revalidate"):
		d.addFlag(mustRevalidate, m)
	case message.EqualFold(m.name, "must-understand"):
		d.addFlag(mustUnderstand, m)
	}
}

func (d *directives) addFlag(f directive, m member) {
	d.seen |= f
	if m.form == bare {
		d.plain |= f
	}
}

// addFields reads no-cache or private, which are about the whole answer unless they name fields (RFC 9111 §5.2.2.4).
func (d *directives) addFields(f directive, m member, end uint32) {
	if m.form != argued || !namesFields(m.argument) || d.listed == listsMax {
		d.addFlag(f, m)
		return
	}
	d.lists[d.listed] = message.Span{At: end - uint32(m.fromEnd), Len: uint32(len(m.argument))}
	d.listed++
}

// names reports whether a list of d, which was read from answer, names a field.
func (d *directives) names(answer *message.Head, field []byte) bool {
	for _, span := range d.lists[:d.listed] {
		for list, more := answer.Bytes(span), true; more; {
			var name []byte
			if name, list, more = message.CutElement(list); message.EqualFoldBytes(name, field) {
				return true
			}
		}
	}
	return false
}

// namesFields reports whether list is the names of one or more fields. A "'" in a name is not valid here, although it
// may stand in a token: a backend that writes it takes it for a quotation mark.
func namesFields(list []byte) (ok bool) {
	for more := true; more; {
		var name []byte
		name, list, more = message.CutElement(list)
		if len(name) == 0 {
			continue
		}
		if !message.ValidName(name) || bytes.IndexByte(name, '\'') >= 0 {
			return false
		}
		ok = true
	}
	return ok
}

// leastSeconds returns the lesser one of two lifetimes: length, -1 for none, and the argument of m, 0 where it is
// invalid. RFC 9111 §4.2.1: caches are encouraged to consider responses that have invalid freshness information to be
// stale.
func leastSeconds(length int64, m member) int64 {
	own, _ := m.seconds()
	if length < 0 {
		return own
	}
	return min(length, own)
}

// seconds returns the argument of m as nanoseconds; 0 and false where it is invalid.
func (m *member) seconds() (ns int64, ok bool) {
	if m.form != argued {
		return 0, false
	}
	return parseSeconds(m.argument)
}

// parseSeconds parses delta-seconds (RFC 9111 §1.2.2), 1*DIGIT, and returns nanoseconds, at most ageMax.
func parseSeconds(b []byte) (ns int64, ok bool) {
	var seconds int64
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		seconds = min(seconds*10+int64(c-'0'), int64(ageMax/time.Second))
	}
	return seconds * int64(time.Second), len(b) > 0
}

// form is how a member of Cache-Control is written.
type form uint8

const (
	bare    form = iota // name
	argued              // name=token or name="string"
	invalid             // blanks around "=", or something after the quoted string
)

// member is one member of Cache-Control: name [ "=" ( token / quoted-string ) ], RFC 9111 §5.2. It aliases its line.
type member struct {
	name      []byte // empty: there is none between two commas
	argument  []byte // without its quotation marks, otherwise as it came
	fromEnd   int    // bytes of the line from the argument on
	form      form
	malformed bool // it is no directive, or there are quotation marks where none belong
}

// cutMember cuts the first member off line.
func cutMember(line []byte) (m member, rest []byte) {
	line = bytes.TrimLeft(line, " \t")
	end := bytes.IndexAny(line, "=,\" \t")
	if end < 0 {
		end = len(line)
	}
	m.name, rest = line[:end], line[end:]
	if rest = bytes.TrimLeft(rest, " \t"); len(rest) == 0 || rest[0] == ',' {
		m.malformed = len(m.name) > 0 && !message.ValidName(m.name)
		return m, afterComma(rest)
	}
	// Without "=" a comma is missing, or something else is wrong: `public max-age=0`.
	if rest[0] != '=' || !message.ValidName(m.name) {
		m.malformed = true
		return m, nil
	}
	m.form = argued
	argument := bytes.TrimLeft(rest[1:], " \t")
	if end < len(line) && line[end] != '=' || len(argument) != len(rest)-1 {
		m.form = invalid
	}
	if len(argument) > 0 && argument[0] == '"' {
		rest = m.cutQuoted(argument[1:])
	} else {
		m.argument, m.fromEnd, rest = argument, len(argument), nil
		if comma := bytes.IndexByte(argument, ','); comma >= 0 {
			m.argument, rest = argument[:comma], argument[comma:]
		}
		m.argument = bytes.TrimRight(m.argument, " \t")
		m.malformed = bytes.IndexByte(m.argument, '"') >= 0
	}
	return m, afterComma(rest)
}

// cutQuoted reads the argument of m from quoted, which begins after the quotation mark, and returns what follows the
// member, from its comma on.
func (m *member) cutQuoted(quoted []byte) (rest []byte) {
	end := 0
	for end < len(quoted) && quoted[end] != '"' {
		if quoted[end] == '\\' { // RFC 9110 §5.6.4: a quoted-pair
			end++
		}
		end++
	}
	if end >= len(quoted) {
		m.malformed = true
		return nil
	}
	m.argument, m.fromEnd, rest = quoted[:end], len(quoted), quoted[end+1:]
	comma := bytes.IndexByte(rest, ',')
	if comma < 0 {
		comma = len(rest)
	}
	if garbage := bytes.TrimRight(rest[:comma], " \t"); len(garbage) > 0 {
		m.form = invalid
		m.malformed = bytes.IndexByte(garbage, '"') >= 0
	}
	return rest[comma:]
}

// afterComma returns line, which is empty or begins with a comma, without the comma.
func afterComma(line []byte) []byte {
	if len(line) == 0 {
		return nil
	}
	return line[1:]
}
