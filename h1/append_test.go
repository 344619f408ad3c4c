package h1

import (
	"bytes"
	"fmt"
	"math"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

func decodeRequest(t testing.TB, in string) *message.Head {
	t.Helper()
	var d Decoder
	var h message.Head
	d.InitRequests(nil)
	if _, ev, _, err := d.Next([]byte(in), &h); ev&HeadDone == 0 || err != nil {
		t.Fatalf("%q: %d %v", in, ev, err)
	}
	return &h
}

func decodeResponse(t testing.TB, in string, v message.Verb) *message.Head {
	t.Helper()
	var d Decoder
	var h message.Head
	d.InitResponses(nil)
	d.Expect(v)
	if _, ev, _, err := d.Next([]byte(in), &h); ev&HeadDone == 0 || err != nil {
		t.Fatalf("%q: %d %v", in, ev, err)
	}
	return &h
}

func TestAppendRequest(t *testing.T) {
	for _, c := range []struct {
		name, in, want string
		change         func(*message.Head)
	}{
		{"as it came, Host first", "GET /a HTTP/1.1\r\nA: b\r\nHost: a\r\nC:\t d  \r\nE:f\r\ng: h\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\nE: f\r\ng: h\r\n\r\n", nil},
		{"fields of framing are not copied",
			"POST / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive, x-b\r\nTE: trailers\r\n" +
				"Keep-Alive: a\r\nX-B: 1\r\nProxy-Connection: a\r\nUpgrade: b\r\nHTTP2-Settings: c\r\nAge: 1\r\n" +
				"Content-Length: 007\r\n\r\n",
			"POST / HTTP/1.1\r\nHost: a\r\nAge: 1\r\nContent-Length: 7\r\nConnection: TE\r\n" +
				"TE: trailers\r\n\r\n", nil},
		{"TE without trailers", "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5\r\nConnection: te\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n", nil},
		{"upgrade", "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip, Trailers\r\n" +
			"Upgrade: websocket\r\nConnection: upgrade\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: TE, Upgrade\r\nTE: trailers\r\nUpgrade: websocket\r\n\r\n", nil},
		{"upgrade that is not sent on",
			"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n" +
				"Connection: upgrade, http2-settings\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(h *message.Head) { h.Upgrade = false }},
		{"chunked", post("A: b\r\nTransfer-Encoding: Chunked\r\n"),
			"POST / HTTP/1.1\r\nHost: a\r\nA: b\r\nTransfer-Encoding: chunked\r\n\r\n", nil},
		{"POST without a body", post(""), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", nil},
		{"absolute form", "GET http://b/c?d HTTP/1.1\r\nHost: b\r\n\r\n", "GET /c?d HTTP/1.1\r\nHost: b\r\n\r\n", nil},
		{"the start as it came, with a line behind it", "GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\nC: d\r\n\r\n", func(h *message.Head) { h.Add("C", "d") }},
		{"another target", "GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n",
			"GET /b HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", func(h *message.Head) { h.SetTarget("/b") }},
		{"another authority", "GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: b\r\nA: b\r\n\r\n", func(h *message.Head) { h.SetAuthority("b") }},
		{"another method", "GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n",
			"HEAD /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", func(h *message.Head) { h.SetMethod("HEAD") }},
		{"Host in lower case", "GET /a HTTP/1.1\r\nhost: a\r\nA: b\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", nil},
		{"space behind Host", "GET /a HTTP/1.1\r\nHost: a \r\nA: b\r\n\r\n",
			"GET /a HTTP/1.1\r\nHost: a\r\nA: b\r\n\r\n", nil},
		{"HTTP/1.0 that closes", "GET / HTTP/1.0\r\nHost: a\r\n\r\n",
			"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", nil},
		{"changed on the way", "GET / HTTP/1.1\r\nHost: a\r\nCookie: b\r\nAge: 1\r\n\r\n",
			"GET /x HTTP/1.1\r\nHost: up:80\r\nAge: 1\r\nVia: 1.1 edge\r\n\r\n", func(h *message.Head) {
				h.DelID(message.Cookie)
				h.AddID(message.Via, "Via", "1.1 edge")
				h.SetTarget("/x")
				h.SetAuthority("up:80")
			}},
		{"no way to tell the length", post(""), "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
			func(h *message.Head) { h.Length = message.LengthUnknown }},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := decodeRequest(t, c.in)
			if c.change != nil {
				c.change(h)
			}
			if got := string(AppendRequest([]byte("> "), h)); got != "> "+c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

func TestAppendResponse(t *testing.T) {
	const chunks = "Transfer-Encoding: chunked\r\n"
	for _, c := range []struct {
		name, in, want string
		o              ResponseOptions
		change         func(*message.Head)
	}{
		{"as it came", answer("200 OK", "A: b\r\nContent-Length: 2\r\nC: d\r\n"),
			answer("200 OK", "A: b\r\nC: d\r\nContent-Length: 2\r\n"), ResponseOptions{}, nil},
		{"reason of its own", answer("200 Fine", "Content-Length: 0\r\n"), answer("200 Fine", "Content-Length: 0\r\n"),
			ResponseOptions{}, nil},
		{"reason from the registry", answer("404", "Content-Length: 0\r\n"), answer("404 Not Found",
			"Content-Length: 0\r\n"),
			ResponseOptions{}, nil},
		{"status without a phrase", answer("299", "Content-Length: 0\r\n"), answer("299 ", "Content-Length: 0\r\n"),
			ResponseOptions{}, nil},
		{"last on the connection", answer("200 OK", "Content-Length: 0\r\n"),
			answer("200 OK", "Content-Length: 0\r\nConnection: close\r\n"), ResponseOptions{Close: true}, nil},
		{"the origin's close is not ours", answer("200 OK", "Connection: close\r\nContent-Length: 0\r\n"),
			answer("200 OK", "Content-Length: 0\r\n"), ResponseOptions{}, nil},
		{"chunked", answer("200 OK", chunks), answer("200 OK", chunks), ResponseOptions{}, nil},
		{"chunked to HTTP/1.0", answer("200 OK", chunks), answer("200 OK", "Connection: close\r\n"),
			ResponseOptions{ToHTTP10: true}, nil},
		{"keep-alive to HTTP/1.0", answer("200 OK", "Content-Length: 1\r\n"),
			answer("200 OK", "Content-Length: 1\r\nConnection: keep-alive\r\n"), ResponseOptions{ToHTTP10: true}, nil},
		{"until close", answer("200 OK", ""), answer("200 OK", "Connection: close\r\n"), ResponseOptions{}, nil},
		{"until close, sent in chunks", answer("200 OK", ""), answer("200 OK", chunks), ResponseOptions{},
			func(h *message.Head) { h.Chunked = true }},
		{"RFC 9110 §8.6 204 has no framing", answer("204 No Content", "Content-Length: 0\r\n"), answer("204 No Content",
			""),
			ResponseOptions{}, nil},
		{"RFC 9110 §8.6 1xx has no framing", answer("103 Early Hints", "Content-Length: 0\r\nLink: a\r\n"),
			answer("103 Early Hints", "Link: a\r\n"), ResponseOptions{Close: true}, nil},
		{"RFC 9110 §15.4.5 304 keeps its length", answer("304 Not Modified", "Content-Length: 7\r\n"),
			answer("304 Not Modified", "Content-Length: 7\r\n"), ResponseOptions{}, nil},
		{"RFC 9110 §9.3.2 HEAD made here", answer("200 OK", ""), answer("200 OK", "Content-Length: 9\r\n"),
			ResponseOptions{HeadRequest: true}, func(h *message.Head) { h.Length = 9 }},
		{"RFC 9110 §9.3.2 HEAD without length", answer("200 OK", chunks), answer("200 OK", ""),
			ResponseOptions{HeadRequest: true}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := decodeResponse(t, c.in, message.VerbGet)
			if c.change != nil {
				c.change(h)
			}
			if got := string(AppendResponse([]byte("> "), h, c.o)); got != "> "+c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
	h := decodeResponse(t, answer("200 OK", "Content-Length: 5\r\n"), message.VerbHead)
	if got := string(AppendResponse(nil, h, ResponseOptions{HeadRequest: true})); got != answer("200 OK",
		"Content-Length: 5\r\n") {
		t.Errorf("answer to HEAD: %q", got)
	}
}

func TestAppendChunk(t *testing.T) {
	var h message.Head
	h.Add("X-T", "1")
	h.Add("Host", "a")
	b := AppendChunk(nil, nil)
	b = AppendChunk(b, bytes.Repeat([]byte("a"), 17))
	b = AppendLastChunk(b, &h)
	if want := "11\r\naaaaaaaaaaaaaaaaa\r\n0\r\nX-T: 1\r\n\r\n"; string(b) != want {
		t.Errorf("%q", b)
	}
	if b := AppendLastChunk(nil, nil); string(b) != "0\r\n\r\n" {
		t.Errorf("%q", b)
	}
}

func TestReason_knowsItsStatusOnly(t *testing.T) {
	if Reason(200) != "OK" || Reason(299) != "" || Reason(-1) != "" || Reason(1000) != "" {
		t.Error("wrong phrase")
	}
}

func TestCodec_allocatesNothing(t *testing.T) {
	var d, up Decoder
	var h message.Head
	req, chunked := []byte(browserHead), []byte(post("Transfer-Encoding: chunked\r\n"))
	ans, bad := []byte(smallAnswer+"Hello, World!"), []byte("GET / HTTP/1.1\nA: b\n\n")
	body := AppendLastChunk(AppendChunk(nil, []byte("abc")), nil)
	dst := make([]byte, 0, 4096)
	if n := testutil.Allocs(100, func() {
		d.InitRequests(nil)
		d.Next(req, &h)
		dst = AppendRequest(dst[:0], &h)
		d.Next(chunked, &h)
		for p := body; len(p) > 0; {
			n, _, _, _ := d.Next(p, &h)
			p = p[n:]
		}
		d.Next(bad, &h)
		up.InitResponses(nil)
		up.Expect(message.VerbGet)
		up.Next(ans, &h)
		dst = AppendResponse(dst[:0], &h, ResponseOptions{})
		dst = AppendLastChunk(AppendChunk(dst, ans), nil)
		up.Next(ans[len(smallAnswer):], &h)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestAppendLength(t *testing.T) {
	for _, n := range []int64{0, 9, 10, 128, 4096, 1 << 20, math.MaxInt64} {
		want := fmt.Sprintf("a\r\nContent-Length: %d\r\n", n)
		if got := appendLength([]byte("a\r\n"), n); string(got) != want {
			t.Errorf("%d: %q", n, got)
		}
	}
}
