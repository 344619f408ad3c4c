package basicauth

import (
	"bytes"
	"encoding/base64"

	"github.com/edge-proxy/edge/message"
)

// The bounds of what a client sends.
const (
	credentialsMax = 1 << 10 // bytes of user, colon and password
	userMax        = 255     // bytes
	passwordMax    = credentialsMax - userMax - 1
)

// credentialsRoom has room for what base64 may decode to before its padding is known.
type credentialsRoom [credentialsMax + 2]byte

// credentials are the credentials of a request, in a buffer of the caller's.
type credentials struct {
	whole          []byte // user, colon and password
	user, password []byte
}

// outcome is what a field Authorization is.
type outcome uint8

const (
	given outcome = iota
	missing
	malformed
)

// strict takes no line ends and no bits that are left over: two texts never mean the same.
var strict = base64.StdEncoding.Strict()

// read returns the credentials of a request: RFC 7617 §2. The scheme is in any case; the first colon ends the user, so
// that a password may have one.
func read(h *message.Head, buf *credentialsRoom) (c credentials, o outcome) {
	value, several := h.Single(message.Authorization)
	const scheme = "basic"
	switch {
	case several:
		return c, malformed
	case len(value) < len(scheme) || !message.EqualFold(value[:len(scheme)], scheme):
		return c, missing // another scheme is as good as none
	case len(value) > len(scheme) && value[len(scheme)] != ' ':
		return c, missing
	}
	text := bytes.TrimLeft(value[len(scheme):], " ")
	if strict.DecodedLen(len(text)) > len(buf) {
		return c, malformed
	}
	n, err := strict.Decode(buf[:], text)
	if err != nil || n > credentialsMax {
		return c, malformed
	}
	c.whole = buf[:n]
	colon := bytes.IndexByte(c.whole, ':')
	if colon <= 0 || colon > userMax || hasControl(c.whole) {
		return c, malformed
	}
	c.user, c.password = c.whole[:colon], c.whole[colon+1:]
	return c, given
}

// hasControl reports whether a text has a control character: RFC 7617 §2, user and password have none.
func hasControl(text []byte) bool {
	return bytes.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f })
}
