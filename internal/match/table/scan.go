package table

import (
	"bytes"
	"fmt"
	"strconv"
	"unicode/utf8"
)

// textMax is the most bytes of a key and of a value: their lengths are stored in 16 bits.
const textMax = 1<<16 - 1

// scanner goes through the lines of a file. Keys and values that it returns are borrowed until the next line.
// Owned by one goroutine.
type scanner struct {
	keys  Keys
	pairs bool // of a map

	rest   []byte
	line   []byte // without its end
	number int    // of line, from 1

	at         int // in line
	key, value []byte
	keyAt      int    // where the key begins in line
	unquoted   []byte // texts that were in quotes
}

// fault is what is wrong with a line, and where in it.
type fault struct {
	at         int
	text, hint string
}

func faultf(at int, hint, format string, args ...any) *fault {
	return &fault{at: at, text: fmt.Sprintf(format, args...), hint: hint}
}

// newScanner returns a scanner of a file's content, after a byte order mark.
func newScanner(keys Keys, pairs bool, content []byte) scanner {
	return scanner{keys: keys, pairs: pairs, rest: bytes.TrimPrefix(content, []byte("\xef\xbb\xbf"))}
}

// nextLine goes to the next line, and returns false after the last one.
func (s *scanner) nextLine() bool {
	if len(s.rest) == 0 {
		return false
	}
	s.number++
	if i := bytes.IndexByte(s.rest, '\n'); i >= 0 {
		s.line, s.rest = s.rest[:i], s.rest[i+1:]
	} else {
		s.line, s.rest = s.rest, nil
	}
	s.line = bytes.TrimSuffix(s.line, []byte("\r"))
	return true
}

// hasEntry reports whether line is more than blanks and a comment.
func (s *scanner) hasEntry() bool {
	s.at = 0
	s.skipBlanks()
	return s.at < len(s.line) && s.line[s.at] != '#'
}

// column is the place of a byte of line in characters, from 1.
func (s *scanner) column(at int) int { return utf8.RuneCount(s.line[:min(at, len(s.line))]) + 1 }

func (s *scanner) entry() *fault {
	for i, c := range s.line {
		if c < ' ' && c != '\t' || c == 0x7f {
			return faultf(i, "a text file is expected, in UTF-8, one entry a line", "control character %#02x", c)
		}
	}
	s.keyAt = s.at
	s.unquoted = s.unquoted[:0]
	var f *fault
	if s.key, f = s.text(s.pairs || s.keys == Addresses); f != nil {
		return f
	}
	if s.value = nil; s.pairs {
		s.skipBlanks()
		if s.ended() {
			return faultf(s.at, valueHint(s.key), "no value after the key %s", quoted(s.key))
		}
		if s.value, f = s.text(false); f != nil {
			return f
		}
	}
	if s.skipBlanks(); !s.ended() {
		return faultf(s.at, "a comment begins with #", "%s after the entry", quoted(s.line[s.at:]))
	}
	if n := max(len(s.key), len(s.value)); n > textMax {
		return faultf(s.keyAt, "", "a text of %d bytes: no more than %d are possible", n, textMax)
	}
	return nil
}

func valueHint(key []byte) string {
	if bytes.ContainsAny(key, ",=;:") {
		return "key and value are separated by blanks"
	}
	return `an empty value is written as ""`
}

// text reads a text in quotes, or a text that ends at a comment, at the end of the line, and if word is true, at a
// blank.
func (s *scanner) text(word bool) ([]byte, *fault) {
	if s.line[s.at] == '"' {
		return s.quotedText()
	}
	begin, end := s.at, s.at
	for ; s.at < len(s.line); s.at++ {
		switch c := s.line[s.at]; {
		case c == ' ' || c == '\t':
			if word {
				return s.line[begin:end], nil
			}
		case c == '#' && (end < s.at || s.keys == Addresses && word):
			return s.line[begin:end], nil
		default:
			end = s.at + 1
		}
	}
	return s.line[begin:end], nil
}

// quotedText reads a basic string of TOML.
func (s *scanner) quotedText() ([]byte, *fault) {
	begin, from := s.at, len(s.unquoted)
	for s.at++; s.at < len(s.line); {
		switch c := s.line[s.at]; c {
		case '"':
			s.at++
			if s.at < len(s.line) && s.line[s.at] != ' ' && s.line[s.at] != '\t' {
				return nil, faultf(s.at, "", "a blank must follow the closing quote")
			}
			return s.unquoted[from:len(s.unquoted):len(s.unquoted)], nil
		case '\\':
			if f := s.escape(); f != nil {
				return nil, f
			}
		default:
			s.unquoted = append(s.unquoted, c)
			s.at++
		}
	}
	return nil, faultf(begin, `it ends on the same line; a quote inside is written as \"`, "the quote is not closed")
}

// escapes are the characters after a backslash that stand for one byte.
var escapes = map[byte]byte{'b': '\b', 't': '\t', 'n': '\n', 'f': '\f', 'r': '\r', '"': '"', '\\': '\\'}

// escape reads what begins with a backslash.
func (s *scanner) escape() *fault {
	var digits int
	if s.at+1 < len(s.line) {
		c := s.line[s.at+1]
		if one, ok := escapes[c]; ok {
			s.unquoted = append(s.unquoted, one)
			s.at += 2
			return nil
		}
		digits = map[byte]int{'u': 4, 'U': 8}[c]
	}
	end := s.at + 2 + digits
	if digits > 0 && end <= len(s.line) {
		r, err := strconv.ParseUint(string(s.line[s.at+2:end]), 16, 32)
		if err == nil && r <= utf8.MaxRune && utf8.ValidRune(rune(r)) {
			s.unquoted = utf8.AppendRune(s.unquoted, rune(r))
			s.at = end
			return nil
		}
	}
	return faultf(s.at, `\b \t \n \f \r \" \\ \u0000 \U00000000 are possible`, "unknown escape in quotes")
}

func (s *scanner) skipBlanks() {
	for s.at < len(s.line) && (s.line[s.at] == ' ' || s.line[s.at] == '\t') {
		s.at++
	}
}

func (s *scanner) ended() bool { return s.at == len(s.line) || s.line[s.at] == '#' }

// quoted writes a text into a message, cut when it is long.
func quoted(text []byte) string {
	const most = 60
	if len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(string(text))
}
