package load

import (
	"bufio"
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/testutil"
)

func TestRun_endsWithItsTime(t *testing.T) {
	s := httptest.NewServer(http.NotFoundHandler())
	defer s.Close()
	r := Run(t.Context(), Options{
		Addr: s.Listener.Addr().String(), Request: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		Duration: 20 * time.Millisecond,
	})
	if r.Elapsed < 20*time.Millisecond {
		t.Errorf("it took %v", r.Elapsed)
	}
}

func TestRun_countsAnswers(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"keep-alive": func(*Options) {},
		"pipelined":  func(o *Options) { o.Pipeline = 4 },
		"reconnect":  func(o *Options) { o.Reconnect = true },
		"many":       func(o *Options) { o.Connections = 8 },
	} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Uint64
			ctx, enough := context.WithCancel(t.Context())
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				_, _ = w.Write([]byte("hello"))
				if served.Add(1) == 1000 { // of which each connection has got all but the last ones
					enough()
				}
			}))
			defer s.Close()
			o := Options{
				Addr:     s.Listener.Addr().String(),
				Request:  []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
				Duration: testutil.Patience,
			}
			set(&o)
			r := Run(ctx, o)
			if r.Requests == 0 || r.Requests > served.Load() || r.Errors != 0 || r.P50 <= 0 || r.P99 < r.P50 {
				t.Errorf("got %+v, the server counted %d", r, served.Load())
			}
		})
	}
}

func TestRun_countsErrors(t *testing.T) {
	var served atomic.Uint64
	ctx, enough := context.WithCancel(t.Context())
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
		if served.Add(1) == 3 {
			enough()
		}
	}))
	defer s.Close()
	r := Run(ctx, Options{
		Addr: s.Listener.Addr().String(), Request: []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		Duration: testutil.Patience,
	})
	if r.Requests != 0 || r.Errors == 0 || !strings.Contains(r.Failure, errStatus.Error()) {
		t.Errorf("got %+v", r)
	}
}

func TestReadAnswer(t *testing.T) {
	for name, c := range map[string]struct {
		wire    string
		closing bool
		fails   bool
	}{
		"length":           {wire: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
		"no body":          {wire: "HTTP/1.1 204 No Content\r\n\r\n"},
		"chunked":          {wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"},
		"close":            {wire: "HTTP/1.1 200 OK\r\nconnection: close\r\nContent-Length: 0\r\n\r\n", closing: true},
		"error status":     {wire: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", fails: true},
		"cut":              {wire: "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhi", fails: true},
		"bad chunk size":   {wire: "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxx\r\n", fails: true},
		"length no number": {wire: "HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", fails: true},
	} {
		in := bufio.NewReader(strings.NewReader(c.wire))
		closing, err := readAnswer(in)
		if (err != nil) != c.fails || closing != c.closing {
			t.Errorf("%s: closing %v, %v", name, closing, err)
		}
		if !c.fails && in.Buffered() != 0 {
			t.Errorf("%s: %d bytes left", name, in.Buffered())
		}
	}
}
