package proxy_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The answer to a request that was in progress when the drain began says that it is the last one, so that its
// connection does not stay until the end of the grace period: RFC 9112 §9.6.
func TestProxy_drainEndsBehindTheAnswerInProgress(t *testing.T) {
	asked, goOn := make(chan struct{}), make(chan struct{})
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(asked)
		<-goOn
		_, _ = io.WriteString(w, "hello")
	}))
	testutil.CloseServer(t, origin)
	s := setTunnel(t, stageOptions{origin: origin.Listener.Addr().String()})
	w := s.client()
	w.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	<-asked
	drained := make(chan bool, 1)
	go func() { drained <- s.engine.Drain(2 * testutil.Patience) }()
	testutil.Eventually(t, testutil.Patience, s.engine.Draining)
	close(goOn)
	if answer, body := w.ReadResponse("GET"); body != "hello" || !answer.Close {
		t.Errorf("%q, the last one: %v", body, answer.Close)
	}
	w.WantEnd()
	w.Close()
	if !<-drained {
		t.Error("the drain took all the time it had")
	}
}

// What is in progress when the engine stops was ended by us: neither the client nor the backend is to blame, whichever
// of their connections closes first.
func TestProxy_stopIsBlamedOnNobody(t *testing.T) {
	for _, c := range []struct {
		name   string
		warm   bool // the connection to the backend is older than the client's, and closes first
		begun  bool
		status int
	}{
		{"client first", false, false, 499}, {"client first, answer begun", false, true, 200},
		{"backend first", true, false, 499}, {"backend first, answer begun", true, true, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			reached, goOn := make(chan struct{}, 1), make(chan struct{})
			origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/warm" {
					return
				}
				if c.begun {
					w.Header().Set("Content-Length", "10")
					_, _ = io.WriteString(w, "hello")
					_ = http.NewResponseController(w).Flush()
				}
				reached <- struct{}{}
				<-goOn
			}))
			defer origin.Close()
			defer close(goOn)
			s, logged := setTunnel(t, stageOptions{origin: origin.Listener.Addr().String()}), 1
			if c.warm {
				w := s.client()
				w.Send("GET /warm HTTP/1.1\r\nHost: x\r\n\r\n")
				w.ReadHead()
				logged++
			}
			w := s.client()
			w.Send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
			<-reached
			if c.begun {
				w.ReadHead()
			}
			s.engine.Stop()
			s.log.want(t, logged, c.status, "edge:drain")
		})
	}
}
