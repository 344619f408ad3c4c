package proxy_test

import (
	"bytes"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// rawMessage is one HTTP/1 message as a test takes it apart: by a parser that shares nothing with package h1.
type rawMessage struct {
	first  string
	fields map[string]string
	body   []byte
}

// split takes the first message off in. headOnly says that it has no body whatever its fields say, ended that no byte
// follows. ok is false while it is incomplete.
func split(in []byte, headOnly, ended bool) (m rawMessage, rest []byte, ok bool) {
	head, rest, found := bytes.Cut(in, []byte("\r\n\r\n"))
	if !found {
		return m, in, false
	}
	lines := strings.Split(string(head), "\r\n")
	m.first, m.fields = lines[0], map[string]string{}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		m.fields[strings.ToLower(name)] = value
	}
	response := strings.HasPrefix(m.first, "HTTP/")
	switch length, measured := m.fields["content-length"]; {
	case headOnly, strings.HasPrefix(m.first, "HTTP/1.1 204"):
		return m, rest, true
	case m.fields["transfer-encoding"] == "chunked":
		for {
			line, after, found := bytes.Cut(rest, []byte("\r\n"))
			if !found {
				return m, in, false
			}
			n, err := strconv.ParseUint(string(line), 16, 31)
			if err != nil {
				panic(fmt.Sprintf("chunk size %q", line))
			}
			if len(after) < int(n)+2 {
				return m, in, false
			}
			m.body = append(m.body, after[:n]...)
			if rest = after[n+2:]; n == 0 {
				return m, rest, true
			}
		}
	case measured:
		n, err := strconv.Atoi(length)
		if err != nil {
			panic(length)
		}
		if len(rest) < n {
			return m, in, false
		}
		m.body = rest[:n:n]
		return m, rest[n:], true
	case response:
		m.body = rest
		return m, nil, ended
	}
	return m, rest, true
}

// pattern is the body that belongs to a request or an answer.
func pattern(id, n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte('a' + (id*7+i*i/3+i)%26)
	}
	return b
}

// exchange is one request of a simulation and what is to become of it.
type exchange struct {
	id       int
	method   string
	chunked  bool
	up, down int    // sizes of the bodies
	origin   string // what the origin does
	tries    int    // how often an origin saw it
	fields   string // of the head, further ones
}

func (x *exchange) request() []byte {
	b := fmt.Appendf(nil, "%s /%d HTTP/1.1\r\nHost: sim\r\n%s", x.method, x.id, x.fields)
	switch body := pattern(x.id, x.up); {
	case x.method != "POST" && x.method != "PUT":
		b = append(b, "\r\n"...)
	case x.chunked:
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
		b = append(appendChunks(b, body, x.id), "0\r\n\r\n"...)
	default:
		b = append(fmt.Appendf(b, "Content-Length: %d\r\n\r\n", x.up), body...)
	}
	return b
}

func appendChunks(b, body []byte, id int) []byte {
	for i := 0; len(body) > 0; i++ {
		n := min(len(body), 1+(id*131+i*977)%5000)
		b = append(append(fmt.Appendf(b, "%x\r\n", n), body[:n]...), "\r\n"...)
		body = body[n:]
	}
	return b
}

// simulation is clients, a proxy and origins in one World.
type simulation struct {
	t         testing.TB
	w         *sim.World
	engine    *engine.Engine
	proxy     *proxy.Proxy
	upstream  *upstream.Upstream
	addr      poller.Addr
	origins   []*sim.Listener
	clients   []*simClient
	exchanges []*exchange
	faults    bool // the network or the origins fail: an exchange may fail too, cleanly
	answered  int
	failed    int
	subs      int // exchanges that no client sends
}

type simClient struct {
	peer    *sim.Peer
	waiting []*exchange // sent or to be sent, in order
	unsent  []*exchange
	in      []byte
	over    bool
	tunnel  bool // the last answer has made one of the connection
}

func newSimulation(t testing.TB, w *sim.World, reactors int, filters ...*proxy.Filter) *simulation {
	return newTunedSimulation(t, w, reactors, tuning{}, filters...)
}

// tuning changes what a simulation is made of.
type tuning struct {
	upstream func(o *upstream.Options)
	session  func(o *session.ServerOptions)
	route    proxy.Route // but for its name and destination
	kernel   func(k poller.Kernel) poller.Kernel
	log      []proxy.AccessLog
	to       *proxy.ToOptions
}

func newTunedSimulation(
	t testing.TB, w *sim.World, reactors int, tuned tuning, filters ...*proxy.Filter,
) *simulation {
	s := &simulation{t: t, w: w}
	w.Net.SegmentMin = 64 // still smaller than any head
	e := newEngine(t, engine.Options{
		Reactors: reactors, SendLow: 8 << 10, SendMax: 64 << 10,
		ReadSize: 1 << (10 + w.Rand().IntN(7)), SpliceMin: 1 << 10,
		Kernel: func(i int) (poller.Kernel, error) {
			if tuned.kernel != nil {
				return tuned.kernel(w.Kernel(i)), nil
			}
			return w.Kernel(i), nil
		},
	})
	s.engine = e
	o := upstream.Options{Name: "sim", Retries: 2, Connect: time.Second, Client: session.ClientOptions{
		FirstByte: 2 * time.Second, BetweenBytes: 2 * time.Second,
	}}
	var addresses []string
	for i := range 3 {
		a := poller.Addr{IP: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, byte(i + 1)}), 80)}
		l := w.Serve(a)
		l.Handle = s.serve
		s.origins = append(s.origins, l)
		addresses = append(addresses, a.String())
	}
	o.Backends = backend.Of(addresses...)
	if tuned.upstream != nil {
		tuned.upstream(&o)
	}
	s.upstream = upstream.New(e, o)
	tuned.route.Name, tuned.route.To = "all", proxy.To(s.upstream, tuned.to)
	s.proxy = proxy.New(e, newSnapshot(t, []proxy.Route{tuned.route}, filters...))
	so := session.ServerOptions{
		BodyTimeout: 5 * time.Second, SendTimeout: 5 * time.Second, IdleTimeout: 20 * time.Second,
	}
	if tuned.session != nil {
		tuned.session(&so)
	}
	srv := session.NewServer(e, s.proxy.Service(&proxy.Listener{Name: "sim", Log: tuned.log}), so)
	s.addr = poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:80")}
	if _, err := e.Listen(engine.ListenOptions{Addr: s.addr}, srv.Accept); err != nil {
		t.Fatal(err)
	}
	for _, r := range e.Reactors() {
		w.Add(r)
	}
	return s
}

// fewer leaves n of the backends of o.
func fewer(o *upstream.Options, n int) {
	var left []string
	for _, m := range o.Backends.Members()[:n] {
		left = append(left, m.Address())
	}
	o.Backends = backend.Of(left...)
}

// plan draws what the clients will ask for.
func (s *simulation) plan(clients, requests int, origins []string) {
	rng := s.w.Rand()
	for range clients {
		c := &simClient{}
		for range 1 + rng.IntN(requests) {
			x := &exchange{id: len(s.exchanges), method: "GET", down: size(rng.IntN)}
			x.origin = origins[rng.IntN(len(origins))]
			switch rng.IntN(4) {
			case 0:
				x.method = "HEAD"
			case 1, 2:
				x.method, x.up, x.chunked = "POST", size(rng.IntN), rng.IntN(2) == 0
			}
			s.exchanges = append(s.exchanges, x)
			c.waiting = append(c.waiting, x)
		}
		c.unsent = c.waiting
		s.clients = append(s.clients, c)
		s.w.After(time.Duration(rng.IntN(20))*time.Millisecond, func() { s.connect(c) })
	}
}

// size draws a body's size: mostly small, now and then several queues full.
func size(intN func(int) int) int {
	switch n := intN(64); {
	case n < 8:
		return 0
	case n == 8:
		return intN(200_000)
	case n < 16:
		return intN(10_000)
	}
	return intN(300)
}

func (s *simulation) connect(c *simClient) {
	c.peer = s.w.Dial(s.addr)
	c.peer.Handle = func(*sim.Peer) { s.look(c) }
	s.send(c)
}

// send sends the next requests, some of them before the answers to earlier ones have come.
func (s *simulation) send(c *simClient) {
	for len(c.unsent) > 0 && (len(c.unsent) == len(c.waiting) || s.w.Rand().IntN(3) == 0) {
		c.peer.Send(c.unsent[0].request())
		c.unsent = c.unsent[1:]
	}
}

// look takes the answers that have come.
func (s *simulation) look(c *simClient) {
	if c.over || c.tunnel && !c.peer.Closed() {
		return
	}
	c.in = append(c.in, c.peer.Take()...)
	for len(c.waiting) > 0 {
		x := c.waiting[0]
		m, rest, ok := split(c.in, x.method == "HEAD" || bytes.HasPrefix(c.in, []byte("HTTP/1.1 1")), c.peer.EOF())
		if !ok {
			break
		}
		c.in = rest
		if strings.HasPrefix(m.first, "HTTP/1.1 101 ") && x.origin == "tunnel" {
			c.tunnel = true
			s.w.After(time.Duration(s.w.Rand().IntN(50))*time.Millisecond, func() {
				if !c.over {
					s.hangUp(c)
				}
			})
			return
		}
		if strings.HasPrefix(m.first, "HTTP/1.1 1") {
			continue
		}
		c.waiting = c.waiting[1:]
		s.judge(x, &m)
		if m.fields["connection"] == "close" {
			s.hangUp(c)
			return
		}
		s.send(c)
	}
	switch {
	case len(c.waiting) == 0:
		s.hangUp(c)
	case c.peer.Closed():
		if !s.faults {
			s.t.Fatalf("the connection ended (%v) before request %d was answered; got %.200q",
				c.peer.Err(), c.waiting[0].id, c.in)
		}
		s.hangUp(c)
	}
}

// someLeave has each client hang up at a moment of the next so many ms, by a chance of one in oneIn.
func (s *simulation) someLeave(oneIn, within int) {
	for _, c := range s.clients {
		if s.w.Rand().IntN(oneIn) == 0 {
			s.w.After(time.Duration(s.w.Rand().IntN(within))*time.Millisecond, func() {
				if c.peer != nil && !c.over {
					s.hangUp(c)
				}
			})
		}
	}
}

func (s *simulation) hangUp(c *simClient) {
	c.over = true
	s.failed += len(c.waiting)
	if s.w.Rand().IntN(4) == 0 {
		c.peer.Reset()
	} else {
		c.peer.Close()
	}
}

// judge looks whether the answer is the right one, or a failure that says so.
func (s *simulation) judge(x *exchange, m *rawMessage) {
	if m.fields["proxy-status"] != "" && s.faults {
		s.failed++
		return
	}
	if strings.HasPrefix(x.origin, "503") && strings.HasPrefix(m.first, "HTTP/1.1 503 ") {
		s.failed++
		return
	}
	want := pattern(x.id+1, x.down)
	if x.method == "HEAD" || x.origin == "204" {
		want = nil
	}
	if m.fields["x-id"] != strconv.Itoa(x.id) || !bytes.Equal(m.body, want) {
		s.t.Fatalf("request %+v: got %q %v and %d bytes, want %d", *x, m.first, m.fields, len(m.body), len(want))
	}
	s.answered++
}

// serve plays an origin on one connection.
func (s *simulation) serve(p *sim.Peer) {
	var in []byte
	busy, early := false, false
	var next func()
	next = func() {
		in = append(in, p.Take()...)
		if x := s.asked(in); busy && x != nil && !early {
			s.t.Fatalf("origin: request %d came before the answer to the one before it", x.id)
		}
		if busy || p.Closed() {
			if p.Closed() {
				p.Close()
			}
			return
		}
		if x := s.asked(in); x != nil && x.origin == "early" {
			x.tries++
			busy, early = true, true // and stays so: the connection ends with this answer
			s.answer(p, x, "close", func() { p.CloseWrite() })
			return
		}
		m, rest, ok := split(in, false, false)
		if x := s.asked(in); !ok && x != nil && x.origin == "503 early" && len(in) > 100 &&
			s.unavailable(p, x, func() {}) {
			busy, early = true, true
			return
		}
		if !ok {
			return
		}
		in = rest
		x := s.asked([]byte(m.first + "\r\n"))
		if !bytes.Equal(m.body, pattern(x.id, x.up)) {
			s.t.Fatalf("origin: request %d has %d bytes of body, want %d", x.id, len(m.body), x.up)
		}
		if x.tries++; x.tries > 1 && x.method == "POST" {
			s.t.Fatalf("origin: request %d, which must not be repeated, came %d times", x.id, x.tries)
		}
		busy = true
		s.act(p, x, func() {
			busy = false
			if x.origin == "then closes later" {
				s.w.After(time.Duration(s.w.Rand().IntN(3000))*time.Microsecond, func() {
					if !busy { // a cut within an answer that lasts until the end would not show
						p.Close()
					}
				})
			}
			next()
		})
	}
	p.Handle = func(*sim.Peer) { next() }
	next()
}

// asked returns the exchange whose request line stands at the front of in.
func (s *simulation) asked(in []byte) *exchange {
	line, _, found := bytes.Cut(in, []byte("\r\n"))
	if !found {
		return nil
	}
	f := strings.Fields(string(line))
	id, err := strconv.Atoi(f[1][1:])
	if err != nil {
		s.t.Fatalf("origin: request line %q", line)
	}
	return s.exchanges[id]
}

// act does what x wants of its origin.
func (s *simulation) act(p *sim.Peer, x *exchange, done func()) {
	if s.unavailable(p, x, done) {
		return
	}
	part := func(n int) []byte { return s.answerBytes(x, "length")[:n] }
	switch x.origin {
	case "dies":
		p.Reset()
	case "closes":
		p.Close()
	case "dies in head":
		p.Send(part(20))
		p.Close()
	case "dies in body":
		b := s.answerBytes(x, "length")
		p.Send(b[:len(b)-min(1, x.down)])
		p.Close()
	case "silent":
	case "tunnel":
		p.SendString("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n")
		s.w.After(time.Duration(s.w.Rand().IntN(50))*time.Millisecond, p.Reset)
	case "late":
		s.w.After(time.Duration(s.w.Rand().IntN(50))*time.Millisecond, func() { s.answer(p, x, "length", done) })
	case "then closes":
		s.answer(p, x, "length", func() { p.Close() })
	case "interim":
		p.SendString("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
		s.answer(p, x, "length", done)
	case "then closes later":
		s.answer(p, x, "length", done)
	default:
		s.answer(p, x, x.origin, done)
	}
}

// answer sends an answer, whole or in pieces with time between them.
func (s *simulation) answer(p *sim.Peer, x *exchange, framing string, done func()) {
	b := s.answerBytes(x, framing)
	var piece func()
	piece = func() {
		n := len(b)
		if rng := s.w.Rand(); rng.IntN(3) == 0 {
			n = rng.IntN(len(b) + 1)
		}
		p.Send(b[:n])
		if b = b[n:]; len(b) > 0 {
			s.w.After(time.Duration(s.w.Rand().IntN(2000))*time.Microsecond, piece)
			return
		}
		if framing == "close" {
			p.CloseWrite()
			return
		}
		done()
	}
	piece()
}

func (s *simulation) answerBytes(x *exchange, framing string) []byte {
	body := pattern(x.id+1, x.down)
	b := fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nX-Id: %d\r\n", x.id)
	switch {
	case strings.HasPrefix(framing, "503"):
		return s.answerBytes(x, "length")
	case framing == "204":
		return fmt.Appendf(nil, "HTTP/1.1 204 No Content\r\nX-Id: %d\r\n\r\n", x.id)
	case x.method == "HEAD" && framing == "close":
		return append(b, "Connection: close\r\n\r\n"...)
	case x.method == "HEAD":
		return fmt.Appendf(b, "Content-Length: %d\r\n\r\n", x.down)
	case framing == "close":
		return append(append(b, "\r\n"...), body...)
	case framing == "chunked":
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
		return append(appendChunks(b, body, x.id), "0\r\n\r\n"...)
	}
	return append(fmt.Appendf(b, "Content-Length: %d\r\n\r\n", x.down), body...)
}

// run runs to the end and looks whether anything is left behind.
func (s *simulation) run() {
	over := func() bool {
		if invariant.On {
			for _, r := range s.engine.Reactors() {
				s.upstream.Stats(r) // looks at the invariants of upstream
			}
		}
		for _, c := range s.clients {
			if !c.over {
				return false
			}
		}
		return true
	}
	if err := s.w.Run(over, 2_000_000); err != nil {
		s.t.Fatal(err)
	}
	if sent := len(s.exchanges) - s.subs; s.answered+s.failed != sent {
		s.t.Fatalf("%d answered and %d failed of %d", s.answered, s.failed, sent)
	}
	s.leavesNothing()
}

// leavesNothing closes the upstream, and waits until nothing is left but the listeners.
func (s *simulation) leavesNothing() {
	s.upstream.Close()
	listening := len(s.engine.Reactors())
	left := func() bool { return s.active() == 0 && len(s.w.OpenSockets()) <= listening && s.buffered() == 0 }
	if err := s.w.Run(left, 500_000); err != nil {
		s.t.Fatalf("left behind: %d exchanges, descriptors %v, %d bytes\n%v",
			s.active(), s.w.OpenSockets(), s.buffered(), err)
	}
	if err := s.w.Run(func() bool { return s.underWay() == 0 }, 1000); err != nil {
		s.t.Fatalf("the backends count %d exchanges that are over", s.underWay())
	}
}

// underWay returns what the backends count.
func (s *simulation) underWay() (n int) {
	for _, m := range s.upstream.Options().Backends.Members() {
		requests, tunnels := m.InFlight()
		n += requests + tunnels
	}
	return n
}

func (s *simulation) active() (n int) {
	for _, r := range s.engine.Reactors() {
		n += s.proxy.Stats(r).Active
	}
	return n
}

func (s *simulation) buffered() (n int64) {
	for _, r := range s.engine.Reactors() {
		n += r.Stats().BufBytes
	}
	return n
}

var (
	goodOrigins = []string{"length", "length", "chunked", "close", "late", "interim", "204"}
	badOrigins  = append([]string{
		"dies", "closes", "dies in head", "dies in body", "silent", "then closes", "then closes later", "early",
	}, goodOrigins...)
)

// Every request gets its own answer, whole, whatever the sizes of segments and buffers.
func TestSim_everyRequestGetsItsAnswer(t *testing.T) {
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, 1+int(w.Seed()%2))
		s.plan(4, 5, goodOrigins)
		s.run()
		if s.failed > 0 {
			t.Fatalf("%d requests failed", s.failed)
		}
	})
}

// The same when everything fails: an answer is right, or it is a failure that shows.
func TestSim_failuresAreClean(t *testing.T) {
	sim.Run(t, seeds(400), func(t testing.TB, w *sim.World) {
		if w.Seed()%2 == 0 {
			w.Faults = sim.Faults{
				AcceptAborted: 0.05, ConnectRefused: 0.1, ConnectUnreachable: 0.05, ConnectTimeout: 0.02,
				ShortWrite: 0.2, Reset: 0.002,
			}
		}
		s := newSimulation(t, w, 1+int(w.Seed()%3)/2)
		s.faults = true
		s.plan(4, 5, badOrigins)
		s.run()
	})
}

// holding is a body filter that changes nothing but when: it lets go of what it was given at the end, or of all but
// the last byte.
func holding(local proxy.Local[[]byte], whole bool) func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
	return func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
		kept := local.Of(x)
		held := append(*kept, in...)
		n := len(held)
		if !end && whole {
			n = 0
		} else if !end {
			n = max(0, n-1)
		}
		x.Emit(held[:n])
		*kept = append([]byte(nil), held[n:]...)
		return proxy.Next
	}
}

// parkingIn returns a function of filters that parks some exchanges. Some of them are resumed twice.
func parkingIn(w *sim.World) func(x *proxy.Exchange) proxy.Verdict {
	rng := w.Rand()
	return func(x *proxy.Exchange) proxy.Verdict {
		if rng.IntN(3) > 0 {
			return proxy.Next
		}
		ref := x.Ref()
		resume := func() {
			ref.Resume(proxy.Next)
			for i := range 1 + int(w.Seed()%2) {
				w.Kernel(i).Wake() // between two ticks a reactor does not count as asleep: Post wakes nobody
			}
		}
		w.After(time.Duration(rng.IntN(3000))*time.Microsecond, resume)
		if rng.IntN(4) == 0 {
			w.After(time.Duration(rng.IntN(3000))*time.Microsecond, resume)
		}
		return proxy.Park
	}
}

// The same with filters that park exchanges and hold bodies back.
func TestSim_filters(t *testing.T) {
	sim.Run(t, seeds(200), func(t testing.TB, w *sim.World) {
		rng := w.Rand()
		parking := parkingIn(w)
		filters := []*proxy.Filter{
			{Name: "early", BeforeRoute: parking},
			{Name: "parking", Request: parking, Response: parking},
			{Name: "request body", RequestBody: holding(heldUp, rng.IntN(2) == 0)},
			{Name: "response body", ResponseBody: holding(heldDown, rng.IntN(2) == 0)},
		}
		s := newSimulation(t, w, 1+int(w.Seed()%2), filters[:1+rng.IntN(4)]...)
		origins := goodOrigins
		if s.faults = w.Seed()%2 == 0; s.faults {
			origins = badOrigins
			w.Faults = sim.Faults{ConnectRefused: 0.1, ShortWrite: 0.2, Reset: 0.002}
		}
		s.plan(4, 5, origins)
		s.run()
	})
}

func TestSim_connectTimeoutIs504(t *testing.T) {
	sim.Run(t, seeds(50), func(t testing.TB, w *sim.World) {
		w.Faults.ConnectTimeout = 1
		s := newSimulation(t, w, 1)
		p := w.Dial(s.addr)
		p.SendString("GET /0 HTTP/1.1\r\nHost: sim\r\n\r\n")
		since, came := w.Now(), int64(0)
		p.Handle = func(*sim.Peer) { came = w.Now() }
		var m rawMessage
		if err := w.Run(func() (ok bool) {
			m, _, ok = split(p.Received(), false, false)
			return ok
		}, 100_000); err != nil {
			t.Fatal(err)
		}
		why := m.fields["proxy-status"]
		if !strings.HasPrefix(m.first, "HTTP/1.1 504 ") || why != "edge; error=connection_timeout" {
			t.Fatal(m.first, m.fields)
		}
		// Three backends, one second each.
		if d := time.Duration(came - since); d < 3*time.Second || d > 4*time.Second {
			t.Fatal(d)
		}
	})
}

// seeds is how many a test runs: fewer where only the build is looked at.
func seeds(n int) int {
	if testing.Short() {
		return n / 10
	}
	return n
}
