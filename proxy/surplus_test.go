package proxy_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
)

// RFC 9112 §6.3: the head, the length or the last chunk ends an answer. The client gets it whole, whenever the bytes
// after it come; none of them are delivered, and none are read as an answer to the next request.
func TestWire_bytesAfterTheAnswer(t *testing.T) {
	const (
		line   = "HTTP/1.1 200 OK\r\n"
		chunks = "Transfer-Encoding: chunked\r\n\r\n"
	)
	for _, c := range []struct {
		name, method, answer, surplus string
		status                        int
		body                          string
	}{
		{"CRLF after a length", "GET", line + "Content-Length: 2\r\n\r\nok", "\r\n", 200, "ok"},
		{"CRLF after a length, POST", "POST", line + "Content-Length: 2\r\n\r\nok", "\r\n", 200, "ok"},
		{"a second answer", "GET", okay, poison, 200, "ok"},
		{"a second answer, PUT", "PUT", okay, poison, 200, "ok"},
		{"bytes after no content", "GET", line + "Content-Length: 0\r\n\r\n", "poison", 200, ""},
		{"content of HEAD", "HEAD", line + "Content-Length: 6\r\n\r\n", "poison", 200, ""},
		{"chunks of HEAD", "HEAD", line + chunks, "6\r\npoison\r\n0\r\n\r\n", 200, ""},
		{"204 with a chunk", "POST", "HTTP/1.1 204 No Content\r\n" + chunks, "0\r\n\r\n", 204, ""},
		{"204 with content", "DELETE", "HTTP/1.1 204 No Content\r\n\r\n", "poison", 204, ""},
		{"304 with content", "GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 6\r\n\r\n", "poison", 304, ""},
		{"bytes after the last chunk", "GET", line + chunks + "2\r\nok\r\n0\r\n\r\n", poison, 200, "ok"},
		{"bytes after trailers", "GET", line + chunks + "2\r\nok\r\n0\r\nX: y\r\n\r\n", poison, 200, "ok"},
		{"after an interim answer", "POST", "HTTP/1.1 103 Early Hints\r\n\r\n" + okay, poison, 200, "ok"},
		{"where the connection ends anyway", "GET", line + "Connection: close\r\nContent-Length: 2\r\n\r\nok",
			"\r\n", 200, "ok"},
	} {
		n := len(c.answer)
		for when, cut := range map[string]int{"one read": 0, "two reads": n, "within the answer": n - 1} {
			t.Run(c.name+", "+when, func(t *testing.T) {
				s := setStage(t, stageOptions{})
				w, o := s.request(c.method + " /a HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello")
				o.Want("hello")
				if cut > 0 {
					o.Send(c.answer[:cut])
				}
				o.Send(c.answer[cut:] + c.surplus)
				if strings.Contains(c.answer, " 103 ") {
					w.ReadHead()
				}
				got, body := w.ReadResponse(c.method)
				if got.StatusCode != c.status || body != c.body {
					t.Fatalf("got %s, %q", got.Status, body)
				}
				o.ReadAll() // edge closes the connection
				s.wantOwnAnswer(w)
				ends := strings.Contains(c.answer, "close") // then bytes that come later are not looked at
				if got := s.upstreamStats(); got.Surplus != 1 && !ends || got.Dialed != 2 {
					t.Errorf("got %+v", got)
				}
			})
		}
	}
}

// upstreamStats returns the counters of the connections to origins.
func (s *stage) upstreamStats() upstream.Stats {
	got := make(chan upstream.Stats, 1)
	s.engine.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) { got <- s.upstream.Stats(r) }})
	return <-got
}

// wantOwnAnswer sends a request on w, whose answer comes by a fresh connection to the origin.
func (s *stage) wantOwnAnswer(w *testutil.Wire) {
	s.t.Helper()
	o := s.requestOn(w, "GET /next HTTP/1.1\r\nHost: h\r\n\r\n")
	o.Send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nnext")
	if got, body := w.ReadResponse("GET"); got.StatusCode != http.StatusOK || body != "next" {
		s.t.Fatalf("the next request got %s, %q", got.Status, body)
	}
}

// An answer that comes before the request was sent whole stands as well.
func TestWire_bytesAfterAnEarlyAnswer(t *testing.T) {
	s := setStage(t, stageOptions{})
	w, o := s.request("POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\nhello")
	o.Want("hello")
	o.Send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 3\r\n\r\nbig" + poison)
	if got, body := w.ReadResponse("POST"); got.StatusCode != http.StatusRequestEntityTooLarge || body != "big" {
		t.Fatalf("got %s, %q", got.Status, body)
	}
	o.ReadAll()
	w.Send(strings.Repeat("x", 95))
	s.wantOwnAnswer(w)
}
