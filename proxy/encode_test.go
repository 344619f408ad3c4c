package proxy_test

import (
	"errors"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// lagging is an Encoder that changes nothing but when: it keeps the last bytes back.
type lagging struct {
	of   *laggards
	x    *proxy.Exchange
	lag  int
	kept []byte
	over bool // the end came
}

// laggards makes Encoders, and looks at what the proxy does with them.
type laggards struct {
	t              testing.TB
	lag            func() int
	opened, closed atomic.Int64
	tick           map[*engine.Reactor][2]int64 // when it encoded last, and how many bytes then
	most           int64
}

func (l *laggards) encode(x *proxy.Exchange, end bool) proxy.Encoder {
	if x.Response.Length == 1 || end {
		return nil
	}
	l.opened.Add(1)
	return &lagging{of: l, x: x, lag: l.lag()}
}

func (e *lagging) Coding() string { return "lag" }

func (e *lagging) Append(dst, p []byte, how proxy.Encode) ([]byte, bool) {
	if e.over {
		e.of.t.Error("a piece after the end")
	}
	if r := e.x.Reactor(); e.of.tick != nil {
		if at := e.of.tick[r]; at[0] == r.Now() {
			e.of.tick[r] = [2]int64{r.Now(), at[1] + int64(len(p))}
		} else {
			e.of.tick[r] = [2]int64{r.Now(), int64(len(p))}
		}
		e.of.most = max(e.of.most, e.of.tick[r][1])
	}
	e.over = how == proxy.EncodeEnd
	e.kept = append(e.kept, p...)
	n := len(e.kept)
	if how == proxy.EncodeMore {
		n = max(0, n-e.lag)
	}
	dst, e.kept = append(dst, e.kept[:n]...), append([]byte(nil), e.kept[n:]...)
	return dst, len(e.kept) > 0
}

func (e *lagging) Close() { e.of.closed.Add(1) }

// Bodies that are encoded arrive whole, whatever waits, fails or ends before. An Encoder is closed once, and no tick
// encodes more than its share.
func TestSim_encoders(t *testing.T) {
	sim.Run(t, seeds(300), func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		l := &laggards{t: t, lag: func() int { return rng.IntN(3) * rng.IntN(40_000) },
			tick: map[*engine.Reactor][2]int64{}}
		filters := []*proxy.Filter{
			{Name: "encoder", Encode: l.encode},
			{Name: "body", ResponseBody: holding(heldDown, rng.IntN(2) == 0)},
			{Name: "parking", Response: parkingIn(w)},
		}
		s := newSimulation(t, w, 1+int(w.Seed()%2), filters[:1+rng.IntN(3)]...)
		origins := goodOrigins
		if s.faults = rng.IntN(2) == 0; s.faults {
			origins = badOrigins
			w.Faults = sim.Faults{ConnectRefused: 0.1, ShortWrite: 0.2, Reset: 0.002}
		}
		s.plan(6, 5, origins)
		if s.faults {
			s.someLeave(3, 100)
		}
		s.run()
		if opened, closed := l.opened.Load(), l.closed.Load(); opened != closed {
			t.Fatalf("%d Encoders, %d of them closed", opened, closed)
		}
		if most := int64(64 << 10); l.most > most {
			t.Fatalf("%d bytes were encoded in a tick", l.most)
		}
	})
}

// A source that pauses has its client get what it sent.
func TestEncoder_flushesWhileTheSourcePauses(t *testing.T) {
	l := &laggards{t: t, lag: func() int { return 1 << 20 }}
	s := setStage(t, stageOptions{filters: []*proxy.Filter{{Name: "lag", Encode: l.encode}}})
	c, o := s.request("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	o.Send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
	c.ReadHead()
	c.Want("5\r\nhello\r\n")
	o.Send("5\r\nthere\r\n")
	c.Want("5\r\nthere\r\n")
	o.Send("0\r\n\r\n")
	c.Want("0\r\n\r\n")
}

// What the proxy answers itself is encoded, too, and filters of Log know by what.
func TestEncoder_ownAnswersAndLog(t *testing.T) {
	l := &laggards{t: t, lag: func() int { return 3 }}
	logged := make(chan observe.Record, 8)
	r := filterRig(t, &proxy.Filter{Name: "lag", Encode: l.encode, Log: func(x *proxy.Exchange, r *observe.Record) {
		logged <- *r
	}})
	for _, path := range []string{"/own", "/dead", "/echo"} {
		if _, got := r.post(t, path, "hello"); got == "" {
			t.Errorf("%s has no body", path)
		}
		if r := <-logged; r.Encoding != "lag" || r.Saved != 0 {
			t.Errorf("%s: %q, %d bytes saved", path, r.Encoding, r.Saved)
		}
	}
	if resp, _ := r.post(t, "/echo", "1"); resp.ContentLength != 1 {
		t.Errorf("%v", resp.Header)
	}
	if r := <-logged; r.Encoding != "" {
		t.Errorf("%q", r.Encoding)
	}
	if resp, _ := r.post(t, "/trailers", "hello"); resp.Trailer.Get("X-Sum") != "1" {
		t.Errorf("trailers %v", resp.Trailer)
	}
}

// breaking is an Encoder that panics with the first piece.
type breaking struct{ proxy.Encoder }

func (breaking) Coding() string { return "break" }

func (breaking) Append([]byte, []byte, proxy.Encode) ([]byte, bool) { panic(errOnPurpose) }

func (breaking) Close() {}

// A panic costs its exchange alone: 500 while there is no head, the end of the answer after that.
func TestEncoder_panics(t *testing.T) {
	r := filterRig(t, &proxy.Filter{Name: "bad", Encode: func(x *proxy.Exchange, _ bool) proxy.Encoder {
		if x.Request.Get("X-Head") != "" {
			panic(errOnPurpose)
		}
		if x.Request.Get("X-Body") != "" {
			return breaking{}
		}
		return nil
	}})
	get := func(field string) (*http.Response, error) {
		req, err := http.NewRequest("POST", r.url, strings.NewReader("hello"))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set(field, "1")
		resp, err := http.DefaultTransport.RoundTrip(req)
		if err == nil {
			_, err = io.ReadAll(resp.Body)
			resp.Body.Close()
		}
		return resp, err
	}
	for range 3 {
		if resp, err := get("X-Head"); err != nil || resp.StatusCode != 500 {
			t.Error(resp, err)
		}
		if _, err := get("X-Body"); !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		if resp, err := get("X-None"); err != nil || resp.StatusCode != 200 {
			t.Error(resp, err)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return r.stats().Panics == 6 })
}
