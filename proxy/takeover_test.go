package proxy_test

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
)

// quick is an origin that answers as soon as it is asked, on an engine of its own.
type quick struct{ engine.NopHandler }

func (quick) OnData(c *engine.Conn, in []byte) int {
	for range bytes.Count(in, []byte("\r\n\r\n")) {
		c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")) //nolint:errcheck // the client is gone
	}
	return len(in)
}

func quickOrigin(t *testing.T) string {
	t.Helper()
	e := newEngine(t, engine.Options{Reactors: 1})
	return listen(t, e, func(*engine.Conn) engine.Handler { return quick{} })
}

// spread is a proxy on two reactors whose clients know on which of them they are.
type spread struct {
	*rig
	t        *testing.T
	upstream *upstream.Upstream
}

func newSpread(t *testing.T, o upstream.Options) *spread {
	v := &spread{t: t}
	tell := &proxy.Filter{Name: "tell", Response: func(x *proxy.Exchange) proxy.Verdict {
		x.Response.Add("X-Reactor", fmt.Sprint(x.Reactor().Index()))
		return proxy.Next
	}}
	v.rig = newRig(t, func(e *engine.Engine) []proxy.Route {
		v.upstream = upstream.New(e, o)
		return []proxy.Route{{Name: "all", To: proxy.To(v.upstream, nil)}}
	}, tell)
	return v
}

// sum adds up the counters of the upstream.
func (v *spread) sum() (all upstream.Stats) {
	for _, r := range v.engine.Reactors() {
		got := make(chan upstream.Stats, 1)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) { got <- v.upstream.Stats(r) }})
		st := <-got
		all.Add(&st)
	}
	return all
}

// spreadClient asks on one connection.
type spreadClient struct {
	conn net.Conn
	in   *bufio.Reader
}

func (v *spread) dial() (*spreadClient, error) {
	c, err := net.Dial("tcp", strings.TrimPrefix(v.url, "http://"))
	if err != nil {
		return nil, err
	}
	c.SetDeadline(time.Now().Add(testutil.Patience)) //nolint:errcheck // a TCP connection has deadlines
	return &spreadClient{c, bufio.NewReader(c)}, nil
}

// ask makes one request and returns the reactor that served it.
func (c *spreadClient) ask() (reactor string, err error) {
	if _, err := io.WriteString(c.conn, "GET / HTTP/1.1\r\nHost: spread\r\n\r\n"); err != nil {
		return "", err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); err != nil || resp.StatusCode != 200 || string(body) != "ok" {
		return "", fmt.Errorf("%d %q %v %v", resp.StatusCode, body, resp.Header, err)
	}
	return resp.Header.Get("X-Reactor"), nil
}

// uneven connects a clients to the first reactor and b to the second.
func (v *spread) uneven(a, b int) (all []*spreadClient) {
	v.t.Helper()
	places := map[string]int{"0": a, "1": b}
	var rest []*spreadClient
	for tries := 0; len(all) < a+b; tries++ {
		c, err := v.dial()
		if err != nil || tries > 1000 {
			v.t.Fatalf("%d connections, %v", tries, err)
		}
		on, err := c.ask()
		if err != nil {
			v.t.Fatal(err)
		}
		if places[on] > 0 {
			places[on]--
			all = append(all, c)
			continue
		}
		rest = append(rest, c)
	}
	for _, c := range rest {
		c.conn.Close()
	}
	return all
}

// load lets each client ask n times, over a new connection after so many requests (0: never).
func (v *spread) load(clients []*spreadClient, n, each int) {
	var wait sync.WaitGroup
	var failed atomic.Value
	for i := range clients {
		c := clients[i]
		wait.Go(func() {
			for k := 1; k <= n && failed.Load() == nil; k++ {
				_, err := c.ask()
				if err == nil && each > 0 && k%each == 0 {
					c.conn.Close()
					c, err = v.dial()
				}
				if err != nil {
					failed.Store(err.Error())
					return
				}
			}
			clients[i] = c
		})
	}
	wait.Wait()
	if err := failed.Load(); err != nil {
		v.t.Fatal(err)
	}
}

// How often a request gets a connection that is there already, though the clients are spread unevenly over the reactors
// and the backend may have hardly more connections than there are clients. go test -v prints the rates.
func TestTakeOver_reusesConnectionsUnderUnevenLoad(t *testing.T) {
	times := 500
	if testing.Short() {
		times = testutil.RaceRounds(60)
	}
	origin := quickOrigin(t)
	for _, c := range []struct {
		name       string
		a, b, each int
		limit      int
	}{
		{"60:4, limit 72", 60, 4, 0, 72},
		{"60:4, limit 72, 10 requests a client", 60, 4, 10, 72},
		{"60:4, no limit", 60, 4, 0, 0},
		{"60:4, limit 1", 60, 4, 0, 1},
		{"60:4, limit 1, 10 requests a client", 60, 4, 10, 1},
	} {
		v := newSpread(t, upstream.Options{
			Backends: backend.Of(origin), Idle: 72, PerBackend: c.limit, QueueTimeout: time.Minute,
		})
		clients := v.uneven(c.a, c.b)
		v.load(clients, times/4, c.each)
		begun := v.sum()
		v.load(clients, times, c.each)
		for _, c := range clients {
			c.conn.Close()
		}
		s := v.sum()
		taken, dialed := s.Taken-begun.Taken, s.Dialed-begun.Dialed
		asked := float64(taken + dialed)
		reused := 100 * float64(taken) / asked
		t.Logf("%-36s %6.0f asked, %.3f %% reused, %3d dialled; with the start: %7.3f %% reused, "+
			"%.2f taken over by 1000, %d dialled, %d queued, %d late, %d evicted",
			c.name, asked, reused, dialed, 100*float64(s.Taken)/float64(s.Taken+s.Dialed),
			1000*float64(s.TakenOver)/float64(s.Taken+s.Dialed), s.Dialed, s.Queued, s.LateGives, s.Evicted)
		if reused < 90 || s.QueueFull+s.QueueTimeouts > 0 {
			t.Errorf("%s: %+v", c.name, s)
		}
	}
}

// gate is an origin that answers when it is told to.
type gate struct {
	*httptest.Server
	open chan struct{}
	seen chan string
}

func newGate(t *testing.T) *gate {
	g := &gate{open: make(chan struct{}), seen: make(chan string, 100)}
	g.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g.seen <- r.URL.Path
		<-g.open
	}))
	testutil.CloseServer(t, g.Server)
	return g
}

// get asks and returns where the answer will be.
func (v *spread) get() chan result {
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	return begin(v.t, client, requestOf(v.t, "GET", v.url+"/x", 0, nil))
}

// wantRefused looks whether the answer says why.
func wantRefused(t *testing.T, got result) {
	t.Helper()
	if got.status != 503 || got.header.Get("Retry-After") == "" ||
		!strings.Contains(got.header.Get("Proxy-Status"), "connection_limit_reached") {
		t.Errorf("%d %v", got.status, got.header)
	}
}

// Above pool.queue a request is refused at once, the others have their turn.
func TestTakeOver_refusesWhatTheQueueDoesNotTake(t *testing.T) {
	g := newGate(t)
	v := newSpread(t, upstream.Options{
		Backends:   backend.Of(g.Listener.Addr().String()),
		PerBackend: 1, Queue: 1, QueueTimeout: time.Hour,
	})
	first := v.get()
	<-g.seen
	second := v.get()
	testutil.Eventually(t, testutil.Patience, func() bool { return v.sum().Waiting == 1 })
	wantRefused(t, <-v.get())
	close(g.open)
	if a, b := <-first, <-second; a.status != 200 || b.status != 200 {
		t.Errorf("%d %d", a.status, b.status)
	}
	if s := v.sum(); s.QueueFull != 1 || s.QueueTimeouts != 0 || s.Queued != 1 || s.Dialed != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}

// So it is after pool.queue_timeout.
func TestTakeOver_refusesWhatWaitsForTooLong(t *testing.T) {
	g := newGate(t)
	v := newSpread(t, upstream.Options{
		Backends:   backend.Of(g.Listener.Addr().String()),
		PerBackend: 1, QueueTimeout: 100 * time.Millisecond,
	})
	first := v.get()
	<-g.seen
	wantRefused(t, <-v.get())
	close(g.open)
	if a := <-first; a.status != 200 {
		t.Error(a.status)
	}
	if s := v.sum(); s.QueueFull != 0 || s.QueueTimeouts != 1 || s.Queued != 1 || s.Dialed != 1 || s.Waiting != 0 {
		t.Errorf("%+v", s)
	}
}
