package h1

import (
	"testing"

	"github.com/edge-proxy/edge/message"
)

// browserHead is what a browser sends for a page: 12 fields, about 650 bytes.
const browserHead = "GET /articles/2024/networking-engines?ref=home&page=2 HTTP/1.1\r\n" +
	"Host: www.example.org\r\n" +
	"Connection: keep-alive\r\n" +
	"Cache-Control: max-age=0\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
	"Chrome/126.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Sec-Fetch-Mode: navigate\r\n" +
	"Referer: https://www.example.org/articles\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-US,en;q=0.9,de;q=0.8\r\n" +
	"Cookie: session=9f86d081884c7d659a2feaa0c55ad015; theme=dark; consent=yes\r\n" +
	"\r\n"

const smallHead = "GET / HTTP/1.1\r\nHost: 127.0.0.1:8080\r\n\r\n"

const smallAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n" +
	"Date: Mon, 02 Jan 2006 15:04:05 GMT\r\n\r\n"

func benchNext(b *testing.B, in string, init func(*Decoder)) {
	var d Decoder
	var h message.Head
	p := []byte(in)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		init(&d)
		if _, ev, _, err := d.Next(p, &h); ev&HeadDone == 0 || err != nil {
			b.Fatal(ev, err)
		}
	}
}

func BenchmarkRequest_browser(b *testing.B) { benchNext(b, browserHead, requests) }
func BenchmarkRequest_small(b *testing.B)   { benchNext(b, smallHead, requests) }
func BenchmarkResponse_small(b *testing.B)  { benchNext(b, smallAnswer, responsesTo(message.VerbGet)) }

func benchHead(b *testing.B, in string, init func(*Decoder)) *message.Head {
	var d Decoder
	var h message.Head
	init(&d)
	if _, ev, _, err := d.Next([]byte(in), &h); ev&HeadDone == 0 || err != nil {
		b.Fatal(ev, err)
	}
	return &h
}

func BenchmarkAppendRequest_browser(b *testing.B) {
	h := benchHead(b, browserHead, requests)
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRequest(dst[:0], h)
	}
}

// The proxy adds fields after those that came.
func BenchmarkAppendRequest_forwarded(b *testing.B) {
	h := benchHead(b, browserHead, requests)
	h.AddID(message.XForwardedFor, "X-Forwarded-For", "192.0.2.7")
	h.AddID(message.XForwardedProto, "X-Forwarded-Proto", "https")
	h.AddID(message.Via, "Via", "1.1 edge")
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendRequest(dst[:0], h)
	}
}

func BenchmarkAppendResponse_small(b *testing.B) {
	h := benchHead(b, smallAnswer, responsesTo(message.VerbGet))
	dst := make([]byte, 0, 4096)
	b.ReportAllocs()
	for b.Loop() {
		dst = AppendResponse(dst[:0], h, ResponseOptions{})
	}
}

func BenchmarkChunked_pieces(b *testing.B) { // 16 chunks of 1 KiB
	var in []byte
	for range 16 {
		in = AppendChunk(in, make([]byte, 1024))
	}
	in = AppendLastChunk(in, nil)
	head := []byte("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	var d Decoder
	var h message.Head
	b.ReportAllocs()
	for b.Loop() {
		d.InitRequests(nil)
		d.Next(head, &h)
		for p := in; len(p) > 0; {
			n, _, _, err := d.Next(p, &h)
			if err != nil {
				b.Fatal(err)
			}
			p = p[n:]
		}
	}
}
