package micro

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

const again = "a head that was parsed before is written into memory again, as a proxy passes it on"

var writeEntries = []Entry{
	{"write-request/edge", "write a head", again, writeRequest},
	{"write-request/fasthttp", "write a head", again + ": RequestHeader.AppendBytes, names as they came",
		writeRequestFasthttp},
	{"write-request/nethttp", "write a head", again + ": http.Request.Write to a bufio.Writer that discards",
		writeRequestNetHTTP},

	{"write-response/edge", "write a head", again, writeResponse},
	{"write-response/fasthttp", "write a head", again + ": ResponseHeader.AppendBytes, names as they came",
		writeResponseFasthttp},
	{"write-response/nethttp", "write a head", again + ": http.Response.Write, as to HEAD, to a bufio.Writer that " +
		"discards", writeResponseNetHTTP},
}

func parsed(b *testing.B, in []byte, d *h1.Decoder) *message.Head {
	var h message.Head
	if n, _, _, err := d.Next(in, &h); n != len(in) || err != nil {
		b.Fatal(n, err)
	}
	return &h
}

func writeRequest(b *testing.B) {
	var d h1.Decoder
	d.InitRequests(nil)
	h := parsed(b, browserHead, &d)
	dst := make([]byte, 0, 4096)
	b.SetBytes(int64(len(h1.AppendRequest(dst, h))))
	for b.Loop() {
		dst = h1.AppendRequest(dst[:0], h)
	}
}

func writeRequestFasthttp(b *testing.B) { writeFasthttp(b, new(fasthttp.RequestHeader), browserHead) }

// writeFasthttp writes a head of either kind, by way of an interface: a nanosecond of some hundreds.
func writeFasthttp(b *testing.B, h interface {
	DisableNormalizing() bool
	Read(r *bufio.Reader) error
	AppendBytes(dst []byte) []byte
}, in []byte) {
	h.DisableNormalizing()
	if err := h.Read(bufio.NewReader(bytes.NewReader(in))); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	b.SetBytes(int64(len(h.AppendBytes(dst))))
	for b.Loop() {
		dst = h.AppendBytes(dst[:0])
	}
}

// writeNetHTTP writes a head by a function, to a bufio.Writer that discards.
func writeNetHTTP(b *testing.B, bytes int, write func(io.Writer) error) {
	w := bufio.NewWriter(io.Discard)
	b.SetBytes(int64(bytes))
	for b.Loop() {
		if err := write(w); err != nil {
			b.Fatal(err)
		}
	}
}

func writeRequestNetHTTP(b *testing.B) {
	r, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(browserHead)))
	if err != nil {
		b.Fatal(err)
	}
	writeNetHTTP(b, len(browserHead), r.Write)
}

func writeResponse(b *testing.B) {
	var d h1.Decoder
	d.InitResponses(nil)
	d.Expect(message.VerbGet)
	h := parsed(b, answerHead, &d)
	dst := make([]byte, 0, 4096)
	b.SetBytes(int64(len(h1.AppendResponse(dst, h, h1.ResponseOptions{}))))
	for b.Loop() {
		dst = h1.AppendResponse(dst[:0], h, h1.ResponseOptions{})
	}
}

func writeResponseFasthttp(b *testing.B) { writeFasthttp(b, new(fasthttp.ResponseHeader), answerHead) }

func writeResponseNetHTTP(b *testing.B) {
	asked := &http.Request{Method: http.MethodHead}
	r, err := http.ReadResponse(bufio.NewReader(bytes.NewReader(answerHead)), asked)
	if err != nil {
		b.Fatal(err)
	}
	writeNetHTTP(b, len(answerHead), r.Write)
}
