package h1bench

import (
	"bufio"
	"bytes"
	"net/http"
	"os"
	"testing"

	"github.com/valyala/fasthttp"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/message"
)

// head returns a request head: what a browser sends for a page, 12 fields, about 650 bytes.
func head(tb testing.TB) []byte {
	b, err := os.ReadFile("testdata/browser.http")
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

func BenchmarkParse_h1(b *testing.B) {
	in := head(b)
	var d h1.Decoder
	var h message.Head
	d.InitRequests(nil)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		if n, _, _, err := d.Next(in, &h); n != len(in) || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkParse_fasthttp(b *testing.B) {
	in := head(b)
	var h fasthttp.RequestHeader
	src := bytes.NewReader(in)
	r := bufio.NewReader(src)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		src.Reset(in)
		r.Reset(src)
		if err := h.Read(r); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkParse_nethttp(b *testing.B) {
	in := head(b)
	src := bytes.NewReader(in)
	r := bufio.NewReader(src)
	b.ReportAllocs()
	b.SetBytes(int64(len(in)))
	for b.Loop() {
		src.Reset(in)
		r.Reset(src)
		if _, err := http.ReadRequest(r); err != nil {
			b.Fatal(err)
		}
	}
}
