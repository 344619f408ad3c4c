package filterrig

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// Rig is a server that runs, and its origin.
type Rig struct {
	*edge.Server
	URL  string       // of the server, without a path
	Seen atomic.Int64 // requests that the origin got
}

// File opens a file with a text, in a folder of the test.
func File(t testing.TB, text string) *content.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "f")
	testutil.Must(t, os.WriteFile(name, []byte(text), 0o644))
	f, err := content.Open(name)
	testutil.Must(t, err)
	return f
}

// New starts a server with filters.
func New(t testing.TB, filters ...*proxy.Filter) *Rig {
	t.Helper()
	return NewOn(t, 0, filters...)
}

// NewOn starts a server with filters on so many reactors; 0: as many as a server has by default.
func NewOn(t testing.TB, reactors int, filters ...*proxy.Filter) *Rig {
	t.Helper()
	g := &Rig{}
	origin := httptest.NewServer(http.HandlerFunc(g.answer))
	t.Cleanup(origin.Close)
	g.Server = &edge.Server{
		Addr: "127.0.0.1:0", Engine: engine.Options{Reactors: reactors}, Filters: filters,
		Session: session.ServerOptions{H2C: true},
		Listener: proxy.Listener{Trusted: &forwarding.Trust{
			Networks: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")},
		}},
		Routes: []proxy.Route{{To: edge.Backends(origin.Listener.Addr().String())}},
	}
	g.URL = Start(t, g.Server)
	return g
}

// Start starts s, which ends with the test, and returns its URL, without a path.
func Start(t testing.TB, s *edge.Server) (url string) {
	t.Helper()
	testutil.Must(t, s.Start())
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		defer cancel()
		_ = s.Shutdown(ctx) // connections of clients may be open still
	})
	return "http://" + s.ListenAddr()
}

func (g *Rig) answer(w http.ResponseWriter, r *http.Request) {
	g.Seen.Add(1)
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	if len(body) == 0 {
		body = []byte("ok")
	}
	_, _ = w.Write(body)
}

// Clients returns clients of HTTP/1 and HTTP/2, by these names.
func Clients(t testing.TB) map[string]*http.Client {
	one := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(one.CloseIdleConnections)
	return map[string]*http.Client{"HTTP/1": one, "HTTP/2": testutil.H2C(t)}
}

// From is a GET of path by the client with an address; "" is the peer's.
func (g *Rig) From(t testing.TB, client, path string) *http.Request {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.URL+path, nil)
	testutil.Must(t, err)
	if client != "" {
		req.Header.Set("X-Forwarded-For", client)
	}
	return req
}

// Dial opens a connection to the server.
func (g *Rig) Dial(t testing.TB) *testutil.Wire {
	t.Helper()
	return testutil.Dial(t, strings.TrimPrefix(g.URL, "http://"))
}

// LateResumes returns how many parked exchanges were resumed that were over.
func (g *Rig) LateResumes() (n uint64) {
	for _, r := range g.Reactors() {
		counted := make(chan uint64)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) { counted <- g.Proxy().Stats(r).LateResumes }})
		n += <-counted
	}
	return n
}
