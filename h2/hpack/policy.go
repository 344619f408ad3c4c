package hpack

import (
	"encoding/binary"
	"strings"

	"github.com/edge-proxy/edge/internal/base/huffman"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// policy says how a field is represented when no table holds it.
type policy uint8

const (
	indexed  policy = iota // what stays the same from message to message: it enters the table at once
	volatile               // what may be unique: it enters the table when it comes a second time, see Encoder.seen
	plain                  // what does not come again, or must not stay in a table: never put in
	never                  // credentials: no proxy on the way may put it into a table either (RFC 7541 §7.1.3)
	crumb                  // volatile, or never when so short that it could be guessed
)

// crumbMin is the length from which a cookie is too long to be guessed one byte at a time.
const crumbMin = 20

// known is a name whose representation is at hand.
type known struct {
	text    string // lower case
	literal string // as a string literal of RFC 7541 §5.2
	front   front
	static  uint8 // the first index of the static table that has the name, or 0
	policy  policy
}

// names holds the names that message has numbers for, and after them the pseudo-fields.
var names = knownNames()

// pseudoAt is the index in names of a pseudo-field.
func pseudoAt(p section.Pseudo) int { return int(message.NameCount) + int(p) }

func knownNames() (names [int(message.NameCount) + int(section.PseudoCount)]known) {
	var literal []byte
	for i := range names {
		k := &names[i]
		if i < int(message.NameCount) {
			k.text = strings.ToLower(message.Name(i).String())
		} else {
			k.text = section.Pseudo(i - int(message.NameCount)).String()
		}
		literal = huffman.AppendString(literal[:0], []byte(k.text), 0, 7)
		k.literal = string(literal)
		k.front = frontOf(k.text)
		k.static = staticIndex(k.text)
	}
	for policy, list := range map[policy][]message.Name{
		never: {message.Authorization, message.ProxyAuthorization, message.SetCookie},
		crumb: {message.Cookie},
		plain: {message.SecWebSocketKey, message.SecWebSocketAccept, message.XRequestID, message.TraceParent},
		volatile: {
			message.Age, message.ContentLength, message.ContentLocation, message.ContentRange, message.Date,
			message.ETag, message.Expires, message.Forwarded, message.IfMatch, message.IfModifiedSince,
			message.IfNoneMatch, message.IfRange, message.IfUnmodifiedSince, message.LastModified, message.Link,
			message.Location, message.Range, message.RetryAfter, message.ServerTiming, message.TraceState,
			message.XForwardedFor, message.XRealIP, message.ContentDisposition, message.ClientIP, message.TrueClientIP,
			message.XClientIP, message.XClusterClientIP, message.CFConnectingIP, message.FastlyClientIP,
			message.FlyClientIP, message.ProxyClientIP, message.WLProxyClientIP, message.ClientCert,
			message.ClientCertChain, message.XOriginalURI, message.XOriginalURL, message.XRewriteURL,
			message.XOriginatingIP, message.XProxyUserIP, message.XRemoteAddr, message.XRemoteIP,
		},
	} {
		for _, id := range list {
			names[id].policy = policy
		}
	}
	return names
}

// staticIndex returns the first entry of the static table that has the name, which is in lower case, or 0.
func staticIndex(name string) uint8 {
	for i, f := range staticFields {
		if i > 0 && f[0] == name {
			return uint8(i)
		}
	}
	return 0
}

// unnumbered returns the index of the names in the static table that message has no number for.
func unnumbered(name []byte) int {
	switch len(name) {
	case len("from"):
		if message.EqualFold(name, "from") {
			return 37
		}
	case len("refresh"):
		if message.EqualFold(name, "refresh") {
			return 52
		}
	}
	return 0
}

// codedNames finds the number of a name by the last bytes of its literal: what peers write in full again and again, as
// it is in no static table. Where two share a slot, one of them has to be decoded.
var codedNames = func() (slots [1 << codedBits]message.Name) {
	for id := message.Name(1); id < message.NameCount; id++ {
		if s := names[id].literal; len(s) >= 8 {
			slots[codedSlot([]byte(s[len(s)-8:]))] = id
		}
	}
	return slots
}()

const codedBits = 9

func codedSlot(last []byte) uint64 {
	return binary.LittleEndian.Uint64(last) * hashSeed >> (64 - codedBits)
}

// codedName returns the number of the name whose literal is at block[at:], if it is written as our encoder would.
func codedName(block []byte, at int) message.Name {
	if at >= len(block) {
		return message.Other
	}
	end := at + 1 + int(block[at]&0x7f)
	if end-at < 8 || end > len(block) {
		return message.Other
	}
	id := codedNames[codedSlot(block[end-8:end])]
	if string(block[at:end]) != names[id].literal {
		return message.Other
	}
	return id
}
