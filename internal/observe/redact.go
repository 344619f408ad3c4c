package observe

import (
	"bytes"
	"encoding/hex"
	"regexp"
	"strings"
)

// Redacted stands in logs in place of a value that a Redaction hides.
const Redacted = "REDACTED"

// NameMax is how long the name of a parameter may be whose values are hidden.
const NameMax = 64

// Redaction hides the values of parameters in queries: tokens and keys, which a reader of a log could use. A nil one
// hides nothing but users of URLs. Immutable after NewRedaction.
type Redaction struct {
	byEnd [32][]string // names in lower case without hyphens and underscores, by the last five bits of them
}

// NewRedaction returns what hides the values of parameters with these names, whatever case their letters have, with and
// without hyphens and underscores, and with a prefix: token stands for resetToken, too. nil where there are none.
func NewRedaction(names []string) *Redaction {
	d, any := &Redaction{}, false
	for _, name := range names {
		if name = joiners.Replace(strings.ToLower(name)); name != "" {
			end := &d.byEnd[name[len(name)-1]&31]
			*end, any = append(*end, name), true
		}
	}
	if !any {
		return nil
	}
	return d
}

var joiners = strings.NewReplacer("-", "", "_", "")

// Hides reports whether d hides the values of that name.
func (d *Redaction) Hides(name string) bool {
	_, parted := nameBefore(view(name))
	return d != nil && d.names(view(name), parted)
}

// Text returns text with Redacted in place of each value to be hidden: text itself where there is none, else a copy in
// *room. text is a query, a target, a URL, or anything else with name=value in it. A name begins with the text or after
// one of "?&;#= ", and a value ends before "&": origins differ in what they read as a parameter, and this hides more
// than any of them reads. An empty value stays. Users and passwords of URLs are left out. Allocates only for these, and
// where *room is too small.
func (d *Redaction) Text(room *[]byte, text []byte) []byte {
	text = withoutUsers(text)
	if d == nil {
		return text
	}
	hidden, from := (*room)[:0], 0 // text[from:] is still to be copied
	start := 0                     // of a name
	escaped := bytes.IndexByte(text, '%') >= 0
	for at, size := equals(text, escaped); at >= 0; {
		value := at + size
		if d.names(nameBefore(text[start:at])) {
			if end := value + valueLen(text[value:]); end > value {
				hidden = append(append(hidden, text[from:value]...), Redacted...)
				from, value = end, end
			}
		}
		if at, size = equals(text[value:], escaped); at >= 0 {
			start, at = value, at+value
		}
	}
	if from == 0 {
		return text
	}
	*room = append(hidden, text[from:]...)
	return *room
}

// equals returns where the first equals sign of p is, and how long it is: it may be escaped, since some origins decode
// a query before they divide it. at is -1 where there is none.
func equals(p []byte, escaped bool) (at, size int) {
	if !escaped {
		return bytes.IndexByte(p, '='), 1
	}
	for i, c := range p {
		if c == '=' {
			return i, 1
		} else if c == '%' && len(p)-i > 2 && p[i+1] == '3' && p[i+2]|0x20 == 'd' {
			return i, 3
		}
	}
	return -1, 0
}

// users matches the users and passwords of URLs.
var users = regexp.MustCompile(`://[^/?#&; ]*@`)

// withoutUsers returns text without the users and passwords of URLs in it: text itself where there are none.
func withoutUsers(text []byte) []byte {
	if bytes.IndexByte(text, '@') < 0 || !users.Match(text) {
		return text
	}
	return users.ReplaceAll(text, []byte("://"))
}

// valueLen returns how long the value is that p begins with. A "#" does not end it: values of cookies may have one.
func valueLen(p []byte) int {
	if end := bytes.IndexByte(p, '&'); end >= 0 {
		return end
	}
	return len(p)
}

// What a byte is to a name.
const (
	breaks = 1 << iota // a name begins after it
	parts              // names may have it, and parts of names lie between two of it; or it escapes a byte
)

var nameByte = [256]uint8{'?': breaks, '&': breaks, ';': breaks, '#': breaks, '=': breaks, ' ': breaks,
	'%': parts, '[': parts, ']': parts, '+': parts, ',': parts, '"': parts, '\t': parts}

// nameBefore returns the name that p ends with, and whether it has a byte of parts.
func nameBefore(p []byte) (name []byte, parted bool) {
	at, found := len(p), uint8(0)
	for at > 0 && nameByte[p[at-1]]&breaks == 0 {
		at--
		found |= nameByte[p[at]]
	}
	return p[at:], found != 0
}

// names reports whether name, as it came, is one of the names of d, or has one as a part: token[] and user[password]
// are parameters token and password for PHP and Rails, and +token is token for PHP.
func (d *Redaction) names(name []byte, parted bool) bool {
	if d.has(name) {
		return true
	}
	if !parted {
		return false
	}
	var room [TextMax]byte // the value of a longer name is beyond what logs have of a text
	name = unescaped(room[:0], name)
	from := 0
	for at, c := range name {
		if nameByte[c] != 0 && c != '%' {
			if d.has(name[from:at]) {
				return true
			}
			from = at + 1
		}
	}
	return d.has(name[from:]) || d.has(name)
}

// has reports whether name, without escapes, is one of the names of d, or ends with one after a hyphen, an underscore
// or a small letter that a capital follows.
func (d *Redaction) has(name []byte) bool {
	end := len(name)
	for end > 0 && joins(name[end-1]) {
		end--
	}
	if end == 0 {
		return false
	}
	for _, of := range d.byEnd[name[end-1]&31] {
		at := end
		for n := len(of); n > 0 && at > 0; {
			at--
			c := name[at]
			if joins(c) {
				continue
			} else if 'A' <= c && c <= 'Z' {
				c |= 0x20
			}
			if n--; c != of[n] {
				break
			} else if n == 0 && begins(name, at) {
				return true
			}
		}
	}
	return false
}

// begins reports whether a word of name begins at at.
func begins(name []byte, at int) bool {
	return at == 0 || joins(name[at-1]) || name[at] < 'a' && name[at-1] >= 'a'
}

func joins(c byte) bool { return c == '-' || c == '_' }

// unescaped appends name with the bytes that its escapes stand for, as far as dst has room.
func unescaped(dst, name []byte) []byte {
	for len(name) > 0 && len(dst) < cap(dst) {
		c, size := name[:1], 1
		if c[0] == '%' && len(name) > 2 {
			var b [1]byte
			if _, err := hex.Decode(b[:], name[1:3]); err == nil {
				c, size = b[:], 3
			}
		}
		dst, name = append(dst, c[0]), name[size:]
	}
	return dst
}

// Redact hides in Path, Query and Referer of r what d names: a path may have parameters after ";". The copies are r's
// own: they last until the next Redact.
func (r *Record) Redact(d *Redaction) {
	r.Query, r.Referer = d.Text(&r.hidden[0], r.Query), d.Text(&r.hidden[1], r.Referer)
	r.Path = d.Text(&r.hidden[2], r.Path)
}
