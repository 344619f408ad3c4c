package compress

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

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

// elementsMax bounds how much of Accept-Encoding is read: over HTTP/2 a request repeats a field of 20 bytes until its
// head is full.
const elementsMax = 256

// absent is the quality of a coding that Accept-Encoding does not name.
const absent = -1

// Negotiate returns the one of offered, best first, that the client of the request h wants most, and Identity where it
// wants none of them, or says nothing: RFC 9110 §12.5.3.
func Negotiate(h *message.Head, offered []Coding) Coding {
	named, any, n := [codings]int{absent, absent, absent}, absent, 0
	for element := range h.Elements(message.AcceptEncoding) {
		if n++; n > elementsMax {
			break
		}
		name, parameters, _ := bytes.Cut(element, []byte(";"))
		name = bytes.TrimSpace(name)
		switch {
		case string(name) == "*":
			any = max(any, message.Quality(parameters))
		case message.EqualFold(name, "gzip"), message.EqualFold(name, "x-gzip"):
			named[Gzip] = max(named[Gzip], message.Quality(parameters))
		case message.EqualFold(name, "zstd"):
			named[Zstd] = max(named[Zstd], message.Quality(parameters))
		case message.EqualFold(name, "identity"):
			named[Identity] = max(named[Identity], message.Quality(parameters))
		}
	}
	best, most := Identity, max(named[Identity]-1, 0) // at equal weights a coding is better than none
	for _, c := range offered {
		q := named[c]
		if q == absent {
			q = any
		}
		if q > most {
			best, most = c, q
		}
	}
	return best
}
