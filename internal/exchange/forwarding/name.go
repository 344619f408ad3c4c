package forwarding

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// loopsMax is how often a request may have come through proxies of our name before it counts as going in circles.
const loopsMax = 8

// Name is the name of a proxy in the texts that it stands in.
// Immutable.
type Name struct {
	name  string
	via   string // the value of Via
	via10 string // the same for a message of HTTP/1.0
	via20 string // and of HTTP/2
	via30 string // and of HTTP/3

	// The lines that every request gets: Via, X-Forwarded-Proto for a client that asked by http, and forLine. They are
	// copied in one go.
	lines    string
	linesTLS string // the same for a client that asked by https
}

// NewName makes a Name of a token.
func NewName(name string) *Name {
	via := "1.1 " + name
	lines := "Via: " + via + "\r\n" + protoLine
	return &Name{
		name, via, "1.0 " + name, "2.0 " + name, "3.0 " + name,
		lines + "http\r\n" + forLine, lines + "https\r\n" + forLine,
	}
}

// String returns the token.
func (n *Name) String() string { return n.name }

// viaOf is the value of Via for a message: RFC 9110 §7.6.3 wants the version that it came in.
func (n *Name) viaOf(h *message.Head) string {
	switch h.Proto {
	case message.HTTP10:
		return n.via10
	case message.HTTP20:
		return n.via20
	case message.HTTP30:
		return n.via30
	}
	return n.via
}

// count returns how many elements of a Via field are of that name: RFC 9110 §7.6.3.
func (n *Name) count(via []byte) (ours int) {
	for more := true; more; {
		var item []byte
		item, via, more = message.CutElement(via)
		by := item[bytes.IndexByte(item, ' ')+1:]
		if end := bytes.IndexByte(by, ' '); end >= 0 { // a comment
			by = by[:end]
		}
		if string(by) == n.name {
			ours++
		}
	}
	return ours
}
