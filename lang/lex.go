package lang

import (
	"net/netip"
	"strings"
)

// token is a kind of word of the language.
type token uint8

const (
	tokEnd token = iota
	tokName
	tokNumber
	tokAddress
	tokPrefix
	tokText
	tokOperator // its text says which
)

// lexer cuts one text into tokens, one at a time: the parser asks for the next one, since in a template an expression
// ends where only the parser knows it. Owned by its parser.
type lexer struct {
	src string
	pos int // of the byte after the token

	tok     token
	at, end int    // of the token
	text    string // of the token; the content of a text
	quote   byte   // of a text
}

// operators, longest first.
var operators = []string{
	"&&", "||", "==", "!=", "<=", ">=", "!~", "??",
	"<", ">", "~", "!", "?", ":", "+", "-", "%", "(", ")", "[", "]", "{", "}", ",", ".",
}

func letter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' || c == '_' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func hexadecimal(c byte) bool { return digit(c) || c|0x20 >= 'a' && c|0x20 <= 'f' }

func (l *lexer) next() *Error {
	for l.pos < len(l.src) && strings.IndexByte(" \t\r\n", l.src[l.pos]) >= 0 {
		l.pos++
	}
	l.at = l.pos
	if l.pos == len(l.src) {
		l.set(tokEnd, l.pos)
		return nil
	}
	c := l.src[l.pos]
	if hexadecimal(c) || c == ':' {
		if ok, err := l.address(); ok || err != nil {
			return err
		}
	}
	switch {
	case digit(c):
		return l.number()
	case letter(c):
		l.set(tokName, l.run(l.pos, func(c byte) bool { return letter(c) || digit(c) }))
		return nil
	case c == '"' || c == '\'' || c == '`':
		return l.literal(c)
	}
	for _, op := range operators {
		if strings.HasPrefix(l.src[l.pos:], op) {
			l.set(tokOperator, l.pos+len(op))
			return nil
		}
	}
	return l.unknown(c)
}

// set makes src[at:end] the token.
func (l *lexer) set(tok token, end int) {
	l.tok, l.end, l.pos, l.text = tok, end, end, l.src[l.at:end]
}

// run returns the end of the bytes from at that is holds for.
func (l *lexer) run(at int, is func(byte) bool) int {
	for at < len(l.src) && is(l.src[at]) {
		at++
	}
	return at
}

// name continues a name after a dot. The names of fields have dashes, so here a dash is a part of the name.
func (l *lexer) name() bool {
	if l.pos == len(l.src) || !letter(l.src[l.pos]) && !digit(l.src[l.pos]) {
		return false
	}
	l.at = l.pos
	l.set(tokName, l.run(l.pos, func(c byte) bool { return letter(c) || digit(c) || c == '-' }))
	return true
}

// address reads an address or a prefix. It reports false where neither begins.
func (l *lexer) address() (bool, *Error) {
	end := l.run(l.pos, func(c byte) bool { return hexadecimal(c) || c == ':' || c == '.' })
	word := l.src[l.pos:end]
	if strings.HasSuffix(word, ":") && !strings.HasSuffix(word, "::") {
		word = word[:len(word)-1] // of a choice: a ? ::1 : ::2
	}
	if !strings.Contains(word, "::") && strings.Count(word, ":") < 6 {
		word, _, _ = strings.Cut(word, ":")
		if strings.Count(word, ".") != 3 || strings.Trim(word, "0123456789.") != "" {
			return false, nil
		}
	}
	end = l.pos + len(word)
	ip, err := netip.ParseAddr(word)
	if err != nil {
		return false, problem(l.at, end, "%s is no address", word)
	}
	if end == len(l.src) || l.src[end] != '/' {
		if end < len(l.src) && l.src[end] == '%' && ip.Is6() {
			return false, problem(l.at, end, "an address has no zone here")
		}
		l.set(tokAddress, end)
		return true, nil
	}
	end = l.run(end+1, digit)
	word = l.src[l.pos:end]
	prefix, err := netip.ParsePrefix(word)
	if err != nil {
		return false, problem(l.at, end, "%s is no prefix", word).
			hint("after the slash is a number from 0 to %d", ip.BitLen())
	}
	if prefix != prefix.Masked() {
		return false, problem(l.at, end, "%s has bits after the first %d", word, prefix.Bits()).
			hint("did you mean %s?", prefix.Masked())
	}
	if prefix.Addr().Is4In6() && prefix.Bits() < 96 {
		return false, problem(l.at, end, "%s holds IPv4 addresses, which are written as such", word)
	}
	l.set(tokPrefix, end)
	return true, nil
}

func (l *lexer) number() *Error {
	end := l.run(l.pos, func(c byte) bool { return digit(c) || letter(c) })
	if end < len(l.src) && (l.src[end] == '.' || l.src[end] == '/') {
		long := l.run(end, func(c byte) bool { return digit(c) || c == '.' || c == '/' })
		if strings.IndexByte(l.src[end:long], '/') >= 0 {
			return problem(l.at, long, "%s is no prefix", l.src[l.at:long]).
				hint("all four parts are written: 10.0.0.0/8")
		}
		if long > end+1 {
			return problem(l.at, long, "%s is neither a number nor an address", l.src[l.at:long]).
				hint("numbers have no fraction")
		}
	}
	word := l.src[l.at:end]
	unit := strings.TrimLeft(word, "0123456789")
	if _, ok := units[unit]; !ok {
		return problem(l.at, end, "%s has a unit that is not known", word).
			hint("k m g are sizes, ms s m h durations")
	}
	if len(word)-len(unit) > 18 {
		return problem(l.at, end, "a number has at most 18 digits")
	}
	l.set(tokNumber, end)
	return nil
}

// literal reads a text up to its quote. A backslash keeps the quote after it from ending the text, and is dropped;
// before any other byte it stands for itself, as regular expressions want it.
func (l *lexer) literal(quote byte) *Error {
	var content strings.Builder
	for i := l.pos + 1; i < len(l.src); i++ {
		c := l.src[i]
		if c == quote {
			l.set(tokText, i+1)
			l.text, l.quote = content.String(), quote
			return nil
		}
		if c == '\\' && quote != '`' && i+1 < len(l.src) {
			i++
			if l.src[i] != quote {
				content.WriteByte(c)
			}
			c = l.src[i]
		}
		content.WriteByte(c)
	}
	err := problem(l.at, len(l.src), "the text that begins here has no end")
	if strings.HasSuffix(l.src, `\`+string(quote)) {
		return err.hint("a backslash keeps the quote in the text")
	}
	return err.hint("a %c is missing", quote)
}

// unknown says what a byte means elsewhere that begins no token.
func (l *lexer) unknown(c byte) *Error {
	end := l.run(l.pos+1, func(c byte) bool { return letter(c) || digit(c) || c == '.' || c == '-' })
	word := l.src[l.pos:end]
	switch c {
	case '=':
		return problem(l.pos, l.pos+1, "= is no operator").hint("== compares")
	case '&', '|':
		return problem(l.pos, l.pos+1, "%c is no operator", c).hint("write %q, or %c%c",
			map[byte]string{'&': "and", '|': "or"}[c], c, c)
	case '$':
		err := problem(l.pos, end, "a name has no $")
		if here := foreignName(word); here != "" {
			return err.hint("%s", here)
		}
		return err.hint("variables are written without it")
	case '/':
		return problem(l.pos, l.pos+1, "/ is no operator").hint("a regular expression stands in quotes, as a text does")
	case '#':
		return problem(l.pos, l.pos+1, "a comment does not stand in a text").hint("put it on a line of the file")
	}
	if c >= 0x80 || c < ' ' {
		return problem(l.pos, l.pos+1, "this character has no meaning outside of quotes")
	}
	return problem(l.pos, l.pos+1, "%q has no meaning here", string(c))
}
