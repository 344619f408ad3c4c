package compress

import "github.com/edge-proxy/edge/message"

// Coding is a content coding: RFC 9110 §8.4.1, RFC 8878 §7.2.
type Coding uint8

// The content codings.
const (
	Identity Coding = iota
	Gzip
	Zstd
	codings
)

// String returns the name of c in fields.
func (c Coding) String() string { return [codings]string{"identity", "gzip", "zstd"}[c] }

// Negotiate returns the one of offered, best first, that the client of the request h wants most, and Identity where it
// wants none of them, or says nothing.
func Negotiate(h *message.Head, offered []Coding) Coding {
	var names [codings]string
	for i, c := range offered {
		names[i] = c.String()
	}
	if i := h.Preferred(names[:len(offered)]...); i >= 0 {
		return offered[i]
	}
	return Identity
}
