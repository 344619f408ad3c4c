package micro

import (
	"bufio"
	"bytes"
	_ "embed"
	"net/http"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// Heads as they come from the wire: a request of two lines, and what a browser sends for a page (12 fields, about 650
// bytes).
var (
	//go:embed testdata/small.http
	smallHead []byte
	//go:embed testdata/browser.http
	browserHead []byte
)

const (
	inPlace = "the head lies in memory and is decoded in place, strictly, with its framing"
	byBufio = ", through a bufio.Reader that is used again: filling it copies the head once"
)

var parseEntries = []Entry{
	{"parse-request/browser/edge", "parse a head", inPlace, parseRequest(browserHead)},
	{"parse-request/browser/fasthttp", "parse a head", "RequestHeader.Read" + byBufio + "; it parses all fields at " +
		"once, but does not split cookies", parseRequestFasthttp(browserHead, false)},
	{"parse-request/browser/fasthttp-asis", "parse a head", "the same with names left as they came, as a proxy would",
		parseRequestFasthttp(browserHead, true)},
	{"parse-request/browser/nethttp", "parse a head", "http.ReadRequest" + byBufio, parseRequestNetHTTP(browserHead)},

	{"parse-request/small/edge", "parse a head", inPlace, parseRequest(smallHead)},
	{"parse-request/small/fasthttp", "parse a head", "RequestHeader.Read" + byBufio,
		parseRequestFasthttp(smallHead, false)},
	{"parse-request/small/nethttp", "parse a head", "http.ReadRequest" + byBufio, parseRequestNetHTTP(smallHead)},
}

func parseRequest(in []byte) func(b *testing.B) {
	return func(b *testing.B) {
		var d h1.Decoder
		var h message.Head
		d.InitRequests(nil)
		b.SetBytes(int64(len(in)))
		for b.Loop() {
			if n, _, _, err := d.Next(in, &h); n != len(in) || err != nil {
				b.Fatal(n, err)
			}
		}
	}
}

func parseRequestFasthttp(in []byte, asIs bool) func(b *testing.B) {
	return func(b *testing.B) {
		var h fasthttp.RequestHeader
		if asIs {
			h.DisableNormalizing()
		}
		readAgain(b, in, h.Read)
	}
}

func parseRequestNetHTTP(in []byte) func(b *testing.B) {
	return func(b *testing.B) {
		readAgain(b, in, func(r *bufio.Reader) error { _, err := http.ReadRequest(r); return err })
	}
}

// readAgain has read take in from a reader that is filled anew each time: what callers of these packages have anyway.
// The call by way of a function is a nanosecond of some hundreds.
func readAgain(b *testing.B, in []byte, read func(r *bufio.Reader) error) {
	src := bytes.NewReader(in)
	r := bufio.NewReader(src)
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		src.Reset(in)
		r.Reset(src)
		if err := read(r); err != nil {
			b.Fatal(err)
		}
	}
}
