package proxy_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/upstream"
)

func put(method, body string) string {
	return fmt.Sprintf("%s /a HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", method, len(body), body)
}

// A small body is kept until the answer begins, so that it can be sent once more when a reused connection dies.
func TestRetryBuffer(t *testing.T) {
	small, large := strings.Repeat("small ", 100)+"END", strings.Repeat("large ", 20_000)+"END"
	for _, c := range []struct {
		name, request, body string
		o                   upstream.Options
		begun               string // what the origin answers before it closes
		again               bool
	}{
		{name: "QUERY is sent again", request: put("QUERY", small), body: small, again: true},
		{name: "PUT is sent again", request: put("PUT", small), body: small, again: true},
		{name: "DELETE is sent again", request: put("DELETE", small), body: small, again: true},
		{
			name: "chunked is sent again", body: small, again: true,
			request: "PUT /a HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" +
				fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(small), small),
		},
		{name: "POST is not", request: put("POST", small), body: small},
		{name: "nor what is larger than the buffer", request: put("PUT", large), body: large},
		{
			name: "which can be larger", request: put("PUT", large), body: large, again: true,
			o: upstream.Options{RetryBuffer: len(large)},
		},
		{name: "or none", request: put("PUT", small), body: small, o: upstream.Options{RetryBuffer: -1}},
		{name: "nor when the answer has begun", request: put("PUT", small), body: small, begun: "HTTP/1.1 200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := setStage(t, stageOptions{upstream: c.o})
			w := s.client()
			o := s.warmUp(w)
			w.Send(c.request)
			o.ReadUntil("END")
			if c.begun != "" {
				o.Send(c.begun)
			}
			o.Close()
			if !c.again {
				if resp, _ := w.ReadResponse("PUT"); resp.StatusCode != 502 {
					t.Fatal(resp.StatusCode)
				}
				return
			}
			o = s.accept()
			head := o.ReadHead()
			if body := o.ReadUntil("END"); !strings.HasSuffix(body, c.body) ||
				strings.Contains(c.name, "chunked") != strings.Contains(head, "chunked") {
				t.Fatalf("%q, %d bytes", head, len(body))
			}
			s.finish(o, w, "PUT")
		})
	}
}
