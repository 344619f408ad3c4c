package policy

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// Coding is which of the content codings zstd, br and gzip a request takes: a set. A fill sends just its text to the
// backend. With the client's own text it might get a coding that others with the same Coding cannot read.
type Coding uint8

const (
	zstd Coding = 1 << iota
	br
	gzip
	codings = zstd | br | gzip

	codingStated Coding = 0x80 // in the key of a variant: the request has Accept-Encoding
)

var codingTexts = [codings + 1]string{
	0: "identity", zstd: "zstd", br: "br", gzip: "gzip", zstd | br: "zstd, br", zstd | gzip: "zstd, gzip",
	br | gzip: "br, gzip", zstd | br | gzip: "zstd, br, gzip",
}

// String returns the value of Accept-Encoding that asks for the codings of c, "identity" where it has none.
func (c Coding) String() string { return codingTexts[c&codings] }

// CodingOf returns the codings that request takes: those with a weight above 0 (RFC 9110 §12.5.3). stated reports
// whether there is an Accept-Encoding. Members that are malformed are ignored; of two that contradict each other the
// excluding one counts.
func CodingOf(request *message.Head) (c Coding, stated bool) {
	var named, taken, excluded Coding
	others := false // "*" is taken
	for member := range request.Elements(message.AcceptEncoding) {
		stated = true
		name, parameter, weighted := bytes.Cut(member, []byte{';'})
		zero, ok := false, true
		if weighted {
			zero, ok = parseWeight(bytes.Trim(parameter, blanks))
		}
		name = bytes.TrimRight(name, blanks)
		coding := codingNamed(name)
		switch {
		case !ok:
		case string(name) == "*":
			others = others || !zero
		case zero:
			named, excluded = named|coding, excluded|coding
		default:
			named, taken = named|coding, taken|coding
		}
	}
	// RFC 9110 §12.5.3: "*" matches any available content coding not explicitly listed in the field.
	if others {
		taken |= codings &^ named
	}
	return taken &^ excluded, stated
}

// codingNamed returns the coding of a name, 0 for others. RFC 9110 §8.4.1.3: x-gzip is equivalent to gzip.
func codingNamed(name []byte) Coding {
	switch {
	case message.EqualFold(name, "zstd"):
		return zstd
	case message.EqualFold(name, "br"):
		return br
	case message.EqualFold(name, "gzip"), message.EqualFold(name, "x-gzip"):
		return gzip
	}
	return 0
}

// parseWeight parses "q=" qvalue (RFC 9110 §12.4.2) and reports whether it is 0.
func parseWeight(b []byte) (zero, ok bool) {
	if len(b) < len("q=0") || len(b) > len("q=0.000") || b[0]|0x20 != 'q' || b[1] != '=' || b[2] != '0' && b[2] != '1' {
		return false, false
	}
	whole, digits := b[2], b[3:]
	if zero = whole == '0'; len(digits) == 0 {
		return zero, true
	}
	if digits[0] != '.' {
		return false, false
	}
	for _, c := range digits[1:] {
		if c < '0' || c > '9' || whole == '1' && c != '0' {
			return false, false
		}
		zero = zero && c == '0'
	}
	return zero, true
}
