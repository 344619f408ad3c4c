package load

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-proxy/edge/bench/origin"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// serve starts a server of HTTP/1 and HTTP/2, the latter by prior knowledge where it is not secure.
func serve(t *testing.T, secure bool, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // refused handshakes are meant
	if secure {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Config.Protocols = new(http.Protocols)
		s.Config.Protocols.SetHTTP1(true)
		s.Config.Protocols.SetUnencryptedHTTP2(true)
		s.Start()
	}
	t.Cleanup(s.Close)
	return s
}

// serveHTTP3 answers over HTTP/3 as s does, by quic-go, and returns its address.
func serveHTTP3(t *testing.T, s *httptest.Server) string {
	t.Helper()
	udp, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &http3.Server{Handler: s.Config.Handler, TLSConfig: http3.ConfigureTLSConfig(s.TLS)}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(udp) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		_ = udp.Close()
	})
	return udp.LocalAddr().String()
}

// against are options for a short load on s.
func against(s *httptest.Server) Options {
	o := Options{
		Addr: s.Listener.Addr().String(), Connections: 4, Duration: 50 * time.Millisecond, Timeout: testutil.Patience,
	}
	if s.TLS != nil {
		o.TLS = &tls.Config{RootCAs: s.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs,
			ServerName: "example.com"}
	}
	return o
}

func run(t *testing.T, o Options) *Result {
	t.Helper()
	r, err := Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// echo is a server of WebSockets, which counts messages and sends each back in pieces, with a PING before it.
func echo(served *atomic.Uint64) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer func() { _ = c.CloseNow() }()
		for {
			kind, p, err := c.Read(r.Context())
			if err != nil {
				return
			}
			served.Add(1)
			if served.Load()%5 == 1 {
				pinged := make(chan error, 1)
				go func() { pinged <- c.Ping(r.Context()) }()
				go func() { <-pinged }()
			}
			out, err := c.Writer(r.Context(), kind)
			if err != nil {
				return
			}
			for piece := range slices.Chunk(p, 5000) { // each Write of more than the buffer holds is a frame
				if _, err := out.Write(piece); err != nil {
					return
				}
			}
			if out.Close() != nil {
				return
			}
		}
	}
}

func TestRun_countsWhatTheServerCounts(t *testing.T) {
	large := strings.Repeat("x", 200<<10) // above every window
	for name, c := range map[string]struct {
		secure, ws, h3 bool
		set            func(*Options)
	}{
		"h1":               {},
		"h1, tls":          {secure: true},
		"h1, pipelined":    {set: func(o *Options) { o.Depth = 4 }},
		"h1, 2 threads":    {set: func(o *Options) { o.Threads, o.Connections = 2, 5 }},
		"h1, body":         {set: func(o *Options) { o.Body = []byte(large) }},
		"h1, HEAD":         {set: func(o *Options) { o.Method = "HEAD" }},
		"h1, reconnect":    {set: func(o *Options) { o.Reconnect = true }},
		"h1, TLS each":     {secure: true, set: func(o *Options) { o.Reconnect = true }},
		"h1, close":        {set: func(o *Options) { o.Fields = []Field{{"Connection", "close"}} }},
		"h1, large":        {set: func(o *Options) { o.Path = "/large" }},
		"h1, rate":         {set: func(o *Options) { o.Rate = 2000 }},
		"h1, close, rate":  {set: func(o *Options) { o.Rate, o.Fields = 500, []Field{{"Connection", "close"}} }},
		"h1, each, rate":   {set: func(o *Options) { o.Rate, o.Reconnect = 500, true }},
		"h2":               {set: func(o *Options) { o.Protocol, o.Depth = HTTP2, 8 }},
		"h2, tls":          {secure: true, set: func(o *Options) { o.Protocol, o.Depth = HTTP2, 8 }},
		"h2, body":         {set: func(o *Options) { o.Protocol, o.Depth, o.Body = HTTP2, 3, []byte(large) }},
		"h2, HEAD":         {set: func(o *Options) { o.Protocol, o.Method = HTTP2, "HEAD" }},
		"h2, large":        {set: func(o *Options) { o.Protocol, o.Depth, o.Path = HTTP2, 3, "/large" }},
		"h2, rate":         {set: func(o *Options) { o.Protocol, o.Depth, o.Rate, o.Threads = HTTP2, 2, 2000, 2 }},
		"h3":               {h3: true, set: func(o *Options) { o.Depth = 8 }},
		"h3, 2 threads":    {h3: true, set: func(o *Options) { o.Threads, o.Connections = 2, 5 }},
		"h3, body":         {h3: true, set: func(o *Options) { o.Depth, o.Body = 3, []byte(large) }},
		"h3, HEAD":         {h3: true, set: func(o *Options) { o.Method = "HEAD" }},
		"h3, large":        {h3: true, set: func(o *Options) { o.Depth, o.Path = 3, "/large" }},
		"h3, rate":         {h3: true, set: func(o *Options) { o.Depth, o.Rate, o.Threads = 2, 2000, 2 }},
		"h3, reconnect":    {h3: true, set: func(o *Options) { o.Reconnect = true }},
		"h3, each, rate":   {h3: true, set: func(o *Options) { o.Rate, o.Reconnect = 500, true }},
		"ws":               {ws: true, set: func(o *Options) { o.Body = []byte("hello") }},
		"ws, tls":          {ws: true, secure: true, set: func(o *Options) { o.Body = []byte("hello") }},
		"ws, 126 bytes":    {ws: true, set: func(o *Options) { o.Body = []byte(large[:126]) }},
		"ws, many frames":  {ws: true, set: func(o *Options) { o.Body = []byte(large[:30<<10]) }},
		"ws, empty, rate":  {ws: true, set: func(o *Options) { o.Rate = 2000 }},
		"ws, more threads": {ws: true, set: func(o *Options) { o.Threads = 9 }},
	} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Uint64
			h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				n, err := io.Copy(io.Discard, r.Body)
				if err != nil || n != max(r.ContentLength, 0) || r.Host != "a.test" || r.Header.Get("X-Who") != "load" {
					t.Errorf("%v with %d of %d bytes, %v", r.Header, n, r.ContentLength, err)
				}
				served.Add(1)
				if r.URL.Path == "/large" {
					_, _ = io.WriteString(w, large)
				}
				_, _ = io.WriteString(w, "hello")
			})
			if c.ws {
				h = echo(&served)
			}
			server := serve(t, c.secure || c.h3, h)
			o := against(server)
			if c.h3 {
				o.Addr, o.Protocol = serveHTTP3(t, server), HTTP3
			}
			o.Authority = "a.test"
			o.Fields = []Field{}
			if c.set != nil {
				c.set(&o)
			}
			o.Fields = append(o.Fields, Field{"X-Who", "load"})
			if c.ws {
				o.Protocol = WebSocket
			}
			r := run(t, o)
			wantStatus := r.Requests
			if c.ws {
				wantStatus = 0
			}
			if r.Requests == 0 || r.Requests != served.Load() || r.Failed() != 0 || r.Status.Success != wantStatus {
				t.Errorf("the server counted %d, of the load there is %+v", served.Load(), r)
			}
			l := r.Latency
			if l.P50 <= 0 || l.P50 > l.P99 || l.P99 > l.Max || l.Mean > l.Max || r.Elapsed < o.Duration {
				t.Errorf("latencies %+v in %v", l, r.Elapsed)
			}
			opened := r.Opened == r.Reopened+uint64(o.Connections)
			if o.Reconnect && o.Rate > 0 { // they are opened when it is time, which a stalled machine may let go by
				opened = r.Opened > 0 && r.Opened <= r.Reopened+uint64(o.Connections)
			}
			if !opened || r.BytesIn == 0 || r.BytesOut == 0 {
				t.Errorf("%+v", r)
			}
		})
	}
}

func TestRun_numbersEachRequest(t *testing.T) {
	for path, others := range map[string]string{"/a": "", "/a?b=c": "b=c&"} {
		var asked sync.Map
		var served, answered atomic.Uint64
		o := against(serve(t, false, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			served.Add(1)
			asked.Store(r.URL.RawQuery, true)
		})))
		o.Path, o.Numbered, o.Threads, o.Depth = path, true, 2, 4
		o.Answered = func() { answered.Add(1) }
		r := run(t, o)
		distinct := uint64(0)
		asked.Range(func(query, _ any) bool {
			distinct++
			rest, ok := strings.CutPrefix(query.(string), others+"n=")
			return ok && len(rest) == numberLen
		})
		if r.Requests == 0 || r.Failed() != 0 || served.Load() != r.Requests || distinct != r.Requests ||
			answered.Load() != r.Requests {
			t.Errorf("%s: %d served, %d distinct, %d answered, %+v", path, served.Load(), distinct, answered.Load(), r)
		}
	}
	o := Options{Addr: "127.0.0.1:1", Numbered: true, Protocol: HTTP2}
	if _, err := Run(t.Context(), o); !errors.Is(err, errNumbered) {
		t.Errorf("numbers over HTTP/2: %v", err)
	}
}

func TestRun_asksEachHostInTurn(t *testing.T) {
	var asked sync.Map
	o := against(serve(t, false, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		asked.Store(r.Host, true)
	})))
	o.Hosts, o.Threads = 3, 2
	if r := run(t, o); r.Requests < 3 || r.Failed() != 0 {
		t.Errorf("%+v", r)
	}
	var hosts []string
	asked.Range(func(host, _ any) bool { hosts = append(hosts, host.(string)); return true })
	slices.Sort(hosts)
	want := []string{"h000000.example.org", "h000001.example.org", "h000002.example.org"}
	if !slices.Equal(hosts, want) {
		t.Errorf("%q were asked, want %q", hosts, want)
	}
	for _, o := range []Options{
		{Addr: "127.0.0.1:1", Hosts: 1, Protocol: HTTP2}, {Addr: "127.0.0.1:1", Hosts: hostsMax + 1},
		{Addr: "127.0.0.1:1", Hosts: -1},
	} {
		if _, err := Run(t.Context(), o); !errors.Is(err, errNumbered) && !errors.Is(err, errHosts) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestRun_keepsItsRate(t *testing.T) {
	s := serve(t, false, http.NotFoundHandler())
	o := against(s)
	o.Rate, o.Duration, o.Threads = 500, 200*time.Millisecond, 2
	r := run(t, o)
	if r.Requests+r.Unsent != 100 || r.Requests == 0 || r.Status.ClientError != r.Requests || r.Failed() != r.Requests {
		t.Errorf("%+v", r)
	}
}

// stalling answers at once but for one stall, of which every request that comes meanwhile sees the rest. asked counts
// these requests.
func stalling(after uint64, stall time.Duration) (h http.Handler, asked *atomic.Uint64) {
	var served atomic.Uint64
	asked = new(atomic.Uint64)
	over := make(chan struct{})
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		n := served.Add(1)
		select {
		case <-over:
			return
		default:
		}
		switch {
		case n == after:
			<-time.After(stall)
			close(over)
		case n > after:
			asked.Add(1)
			<-over
		}
	}), asked
}

// A server that stalls for 200 ms delays a fifth of the requests of a second, by 100 ms on average. The schedule of an
// open loop does not wait for it, so the 99th percentile has to be near the whole stall, although there are but four
// connections and so but four requests in progress.
func TestRun_openLoopCountsWhatAStallDelays(t *testing.T) {
	const stall = 200 * time.Millisecond
	h, asked := stalling(100, stall)
	o := against(serve(t, false, h))
	o.Rate, o.Duration = 1000, time.Second
	r := run(t, o)
	l := r.Latency
	if l.P99 < 3*stall/4 || l.Max < 9*stall/10 || l.P90 < stall/4 {
		t.Errorf("of a stall of %v this is seen: %+v", stall, l)
	}
	if r.Late < stall/2 || r.Requests+r.Unsent != 1000 || asked.Load() > uint64(o.Connections)-1 {
		t.Errorf("%+v; %d were sent during the stall", r, asked.Load())
	}
}

// The same server in a closed loop is asked nothing during its stall but by the other three connections. So the result
// cannot tell what the stall would have done to others, and says nothing of a schedule.
func TestRun_closedLoopAsksNothingDuringAStall(t *testing.T) {
	const stall = 200 * time.Millisecond
	h, asked := stalling(20, stall)
	o := against(serve(t, false, h))
	o.Duration = time.Second
	r := run(t, o)
	if n := asked.Load(); n > uint64(o.Connections)-1 || r.Requests < 20 || r.Latency.Max < 9*stall/10 {
		t.Errorf("%d requests during the stall, %+v", n, r)
	}
	if r.Rate != 0 || r.Late != 0 || r.Unsent != 0 {
		t.Errorf("a closed loop has no schedule: %+v", r)
	}
}

func TestRun_countsUnsentRequests(t *testing.T) {
	const d = 50 * time.Millisecond
	var served atomic.Uint64
	release := make(chan struct{})
	o := against(serve(t, false, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 1 { // so the time of the load has begun, and is over when this one ends
			time.AfterFunc(2*d, func() { close(release) })
		}
		<-release
	})))
	o.Rate, o.Duration = 1000, d
	r := run(t, o)
	if r.Requests == 0 || r.Requests > 4 || r.Requests+r.Unsent != 50 {
		t.Errorf("%+v", r)
	}
}

func TestRun_givesUpWhatIsNotAnswered(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"h1":        func(*Options) {},
		"pipelined": func(o *Options) { o.Depth = 3 },
		"each":      func(o *Options) { o.Reconnect = true },
		"h2":        func(o *Options) { o.Protocol, o.Depth = HTTP2, 3 },
		"ws":        func(o *Options) { o.Protocol = WebSocket },
		"rate":      func(o *Options) { o.Rate = 100 },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			release := make(chan struct{})
			s := serve(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Header.Get("Upgrade") != "" {
					if c, err := websocket.Accept(w, r, nil); err == nil {
						defer func() { _ = c.CloseNow() }()
					}
				}
				<-release
			}))
			defer close(release)
			o := against(s)
			set(&o)
			o.Timeout = 300 * time.Millisecond
			r, err := Run(t.Context(), o)
			for err != nil && o.Timeout < testutil.Patience { // a connection has to be made in that time too
				o.Timeout *= 2
				r, err = Run(t.Context(), o)
			}
			if err != nil {
				t.Fatal(err)
			}
			n := r.Errors.Timeout
			if n == 0 || n+r.Unsent < uint64(o.Connections) || r.Requests != 0 || r.Failure == "" {
				t.Errorf("%+v", r)
			}
		})
	}
}

// A server that dies takes the requests in progress with it, and refuses all connections after that. Run ends in time.
func TestRun_outlivesTheServer(t *testing.T) {
	for name, set := range map[string]func(*Options){
		"h1":   func(*Options) {},
		"each": func(o *Options) { o.Reconnect = true },
		"rate": func(o *Options) { o.Rate = 2000 },
		"tls":  func(*Options) {},
		"h2":   func(o *Options) { o.Protocol, o.Depth = HTTP2, 4 },
		"ws":   func(o *Options) { o.Protocol = WebSocket },
	} {
		t.Run(name, func(t *testing.T) {
			var served atomic.Uint64
			var s *httptest.Server
			started := make(chan struct{})
			ctx, enough := context.WithCancel(t.Context())
			defer enough()
			// die ends the server at its 50th request, and the load a while after that.
			die := func() (dead bool) {
				<-started
				n := served.Add(1)
				if n == 50 {
					_ = s.Listener.Close()
					time.AfterFunc(200*time.Millisecond, enough)
				}
				return n >= 50
			}
			h := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				if die() {
					s.CloseClientConnections()
				}
			})
			if name == "ws" {
				h = func(w http.ResponseWriter, r *http.Request) {
					c, err := websocket.Accept(w, r, nil)
					for err == nil {
						var p []byte
						if _, p, err = c.Read(r.Context()); err == nil {
							err = c.Write(r.Context(), websocket.MessageBinary, p)
						}
						if die() {
							_ = c.CloseNow()
						}
					}
				}
			}
			s = serve(t, name == "tls", h)
			close(started)
			o := against(s)
			set(&o)
			o.Duration = testutil.Patience
			r, err := Run(ctx, o)
			if err != nil {
				t.Fatal(err)
			}
			if r.Errors.Connect == 0 || r.Requests == 0 || r.Failure == "" || r.Elapsed >= testutil.Patience {
				t.Errorf("%+v", r)
			}
			if r.Requests > served.Load() {
				t.Errorf("%d answers of a server that counted %d", r.Requests, served.Load())
			}
		})
	}
}

func TestRun_tellsThatThereIsNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	quick := Options{Addr: l.Addr().String(), Protocol: HTTP3, TLS: new(tls.Config), Timeout: 50 * time.Millisecond}
	if r, err := Run(t.Context(), quick); !errors.Is(err, engine.ErrTimeout) {
		t.Errorf("%v: %+v, %v", HTTP3, r, err)
	}
	for _, p := range []Protocol{HTTP1, HTTP2, WebSocket} {
		r, err := Run(t.Context(), Options{Addr: l.Addr().String(), Protocol: p, Connections: 3, Threads: 2})
		if err == nil || !strings.Contains(err.Error(), "refused") {
			t.Errorf("%v: %+v, %v", p, r, err)
		}
	}
}

func TestRun_tellsWhatItMayNotAsk(t *testing.T) {
	const addr = "127.0.0.1:1"
	for name, o := range map[string]Options{
		"messages":      {Addr: addr, Protocol: WebSocket, Depth: 2},
		"reconnect, h2": {Addr: addr, Protocol: HTTP2, Reconnect: true},
		"h3, no TLS":    {Addr: addr, Protocol: HTTP3},
		"reconnect":     {Addr: addr, Depth: 2, Reconnect: true},
		"method":        {Addr: addr, Method: "G T"},
		"path":          {Addr: addr, Path: "/a b"},
		"field":         {Addr: addr, Fields: []Field{{"A", "b\r\nc: d"}}},
		"field name":    {Addr: addr, Fields: []Field{{"A ", "b"}}},
		"address":       {Addr: "127.0.0.1"},
		"port":          {Addr: "127.0.0.1:nosuch"},
	} {
		if r, err := Run(t.Context(), o); err == nil {
			t.Errorf("%s: %+v", name, r)
		}
	}
}

// The wrong protocol is a failure to connect.
func TestRun_tellsOfAnotherProtocol(t *testing.T) {
	plain := serve(t, false, http.NotFoundHandler())
	onlyH1 := httptest.NewUnstartedServer(http.NotFoundHandler())
	onlyH1.Config.ErrorLog = log.New(io.Discard, "", 0)
	onlyH1.StartTLS()
	defer onlyH1.Close()
	for name, c := range map[string]struct {
		s   *httptest.Server
		set func(*Options)
		in  string
	}{
		"no TLS":       {plain, func(o *Options) { o.TLS = &tls.Config{InsecureSkipVerify: true} }, "TLS"},
		"no HTTP/2":    {onlyH1, func(o *Options) { o.Protocol = HTTP2 }, ""},
		"no WebSocket": {plain, func(o *Options) { o.Protocol = WebSocket }, "answered by 404"},
		"certificate":  {onlyH1, func(o *Options) { o.TLS.ServerName = "b.test" }, "certificate"},
	} {
		t.Run(name, func(t *testing.T) {
			o := against(c.s)
			c.set(&o)
			if r, err := Run(t.Context(), o); err == nil || !strings.Contains(err.Error(), c.in) {
				t.Errorf("%+v, %v", r, err)
			}
		})
	}
}

// A server may end connections at any time between two requests.
func TestRun_makesConnectionsAnew(t *testing.T) {
	for _, p := range []Protocol{HTTP1, HTTP2} {
		ctx, enough := context.WithCancel(t.Context())
		var served atomic.Uint64
		o := against(serve(t, false, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n := served.Add(1)
			if n%10 == 0 {
				w.Header().Set("Connection", "close") // over HTTP/2 this is GOAWAY
			}
			if n == 100 {
				enough()
			}
		})))
		o.Protocol, o.Duration = p, testutil.Patience
		r, err := Run(ctx, o)
		if err != nil || r.Requests != served.Load() || r.Failed() != 0 || r.Reopened == 0 {
			t.Errorf("%v: the server counted %d, of the load there is %+v, %v", p, served.Load(), r, err)
		}
	}
}

func TestRun_endsWithItsContext(t *testing.T) {
	ctx, enough := context.WithCancel(t.Context())
	var served atomic.Uint64
	s := serve(t, false, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if served.Add(1) == 100 {
			enough()
		}
	}))
	o := against(s)
	o.Duration = time.Hour
	if r, err := Run(ctx, o); err != nil || r.Requests != served.Load() || r.Requests < 100 {
		t.Errorf("%+v, %v", r, err)
	}
	if _, err := Run(ctx, o); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

// Its context may end while connections are opened: nothing was measured then, and nothing is wrong.
func TestRun_endsWhileItConnects(t *testing.T) {
	ctx, enough := context.WithCancel(t.Context())
	silent := testutil.Listen(t)
	go func() {
		c, err := silent.Accept() // its handshake has begun, and never ends
		enough()
		if err == nil {
			<-t.Context().Done()
			_ = c.Close()
		}
	}()
	o := Options{Addr: silent.Addr().String(), Protocol: HTTP2, TLS: &tls.Config{ServerName: "a"}, Duration: time.Hour}
	if r, err := Run(ctx, o); err != nil || r.Requests != 0 || r.PerSecond() != 0 {
		t.Errorf("%+v, %v", r, err)
	}
}

// A load that allocates for each request would measure its garbage collector.
func TestRun_allocatesNothingForARequest(t *testing.T) {
	counter := origin.NewCounter()
	s, err := origin.New("127.0.0.1:0", counter)
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve() }()
	defer func() {
		s.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Close()
	}()
	o := Options{Addr: s.Addr(), Path: "/small", Connections: 8, Duration: testutil.Patience}
	for _, o.Depth = range []int{1, 4} {
		ctx, enough := context.WithCancel(t.Context())
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		last := counter.Load() + 5000
		done := make(chan *Result, 1)
		go func() {
			r, err := Run(ctx, o)
			if err != nil {
				t.Error(err)
				r = &Result{Requests: 1}
			}
			done <- r
		}()
		testutil.Eventually(t, testutil.Patience, func() bool { return counter.Load() >= last })
		enough()
		r := <-done
		runtime.ReadMemStats(&after)
		if each := float64(after.Mallocs-before.Mallocs) / float64(r.Requests); r.Failed() > 0 || each > 0.5 {
			t.Errorf("%.2f allocations for each of %d requests, %+v", each, r.Requests, r.Errors)
		}
	}
}

func TestFromURL(t *testing.T) {
	for u, want := range map[string]Options{
		"http://a.test":            {Addr: "a.test:80", Authority: "a.test", Path: "/"},
		"http://a.test:81/b?c=d#e": {Addr: "a.test:81", Authority: "a.test:81", Path: "/b?c=d"},
		"https://a.test/":          {Addr: "a.test:443", Authority: "a.test", Path: "/", TLS: &tls.Config{}},
		"https://[::1]:8443/%20":   {Addr: "[::1]:8443", Authority: "[::1]:8443", Path: "/%20", TLS: &tls.Config{}},
		"ws://a.test/chat":         {Addr: "a.test:80", Authority: "a.test", Path: "/chat", Protocol: WebSocket},
		"wss://user:secret@a.test?b=c": {
			Addr: "a.test:443", Authority: "a.test", Path: "/?b=c", Protocol: WebSocket, TLS: &tls.Config{},
		},
	} {
		o, err := FromURL(u)
		if err != nil || o.Addr != want.Addr || o.Authority != want.Authority || o.Path != want.Path ||
			o.Protocol != want.Protocol || (o.TLS != nil) != (want.TLS != nil) {
			t.Errorf("%s: %+v, %v", u, o, err)
		}
	}
	for _, u := range []string{"", "a.test", "ftp://a.test", "http://", "http://:80/", "http://a:b/", "http://%zz"} {
		if o, err := FromURL(u); err == nil {
			t.Errorf("%q: %+v", u, o)
		}
	}
}
