package filter_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// rig is a server that holds requests back for a time that their query says: "/?20ms". What finds no place gets 429.
type rig struct {
	*filterrig.Rig
	line *filter.DelayLine
	kept atomic.Int64 // requests that were held so far
}

func newRig(t *testing.T, places int) *rig {
	t.Helper()
	g := &rig{line: filter.NewDelayLine(places)}
	full := proxy.Respond(429, "")
	f := &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			d, err := time.ParseDuration(string(x.Request.Query()))
			if err != nil {
				return proxy.Next
			}
			if v, ok := g.line.Hold(x, d, proxy.Next); ok {
				g.kept.Add(1)
				return v
			}
			return full
		},
		Log: func(x *proxy.Exchange, _ *observe.Record) { g.line.Leave(x) },
	}
	g.Rig = filterrig.New(t, f)
	return g
}

func (g *rig) holds(t *testing.T, n int) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool { return filter.Held(g.line) == n }, "%d are held", n)
}

func TestDelayLine_holdsForATime(t *testing.T) {
	for name, c := range filterrig.Clients(t) {
		g := newRig(t, 10)
		began := time.Now()
		resp, body := testutil.Get(t, c, g.URL+"/?30ms")
		if took := time.Since(began); resp.StatusCode != 200 || body != "ok" || took < 30*time.Millisecond {
			t.Errorf("%s: %d %q after %v", name, resp.StatusCode, body, took)
		}
		if g.holds(t, 0); g.LateResumes() != 0 {
			t.Error("a resume was late")
		}
	}
}

func TestDelayLine_refusesWhereItIsFull(t *testing.T) {
	for name, c := range filterrig.Clients(t) {
		g := newRig(t, 2)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan struct{}, 2)
		for range 2 {
			go func() {
				req, _ := http.NewRequestWithContext(ctx, http.MethodGet, g.URL+"/?1h", nil)
				if resp, err := c.Do(req); err == nil {
					resp.Body.Close()
				}
				left <- struct{}{}
			}()
		}
		g.holds(t, 2)
		if resp, _ := testutil.Get(t, c, g.URL+"/?1h"); resp.StatusCode != 429 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		leave() // those who are held leave, and their places are free
		<-left
		<-left
		g.holds(t, 0)
		if resp, _ := testutil.Get(t, c, g.URL+"/?1ms"); resp.StatusCode != 200 {
			t.Errorf("%s: %d", name, resp.StatusCode)
		}
		if g.LateResumes() != 0 {
			t.Error("a resume was late")
		}
	}
}

// A request that is held when the server drains is finished.
func TestDelayLine_isFinishedByADrain(t *testing.T) {
	testutil.CheckLeaks(t)
	g := newRig(t, 1)
	w := g.Dial(t)
	w.Send("GET /?100ms HTTP/1.1\r\nHost: a\r\n\r\n")
	testutil.Eventually(t, testutil.Patience, func() bool { return g.kept.Load() == 1 }, "it is held")
	ended := make(chan error, 1)
	go func() { ended <- g.Shutdown(context.Background()) }()
	if resp, body := w.ReadResponse("GET"); resp.StatusCode != 200 || body != "ok" {
		t.Error(resp.StatusCode, body)
	}
	w.WantEnd()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}

// One that would take longer than the grace is cut off, and its place is free.
func TestDelayLine_isEndedWithTheServer(t *testing.T) {
	testutil.CheckLeaks(t)
	g := newRig(t, 1)
	w := g.Dial(t)
	w.Send("GET /?1h HTTP/1.1\r\nHost: a\r\n\r\n")
	g.holds(t, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if err := g.Shutdown(ctx); err == nil {
		t.Error("the drain has waited for an hour")
	}
	if got := w.ReadAll(); strings.Contains(got, "200 OK") {
		t.Error(got)
	}
}
