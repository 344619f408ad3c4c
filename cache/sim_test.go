package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/cache/policy"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/internal/sim"
	"github.com/edge-proxy/edge/internal/tally"
	"github.com/edge-proxy/edge/internal/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/retry"
	"github.com/edge-proxy/edge/session"
	"github.com/edge-proxy/edge/upstream"
)

// simEpoch is the wall clock when the clock of a World says 0.
var simEpoch = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

// moment is how far the origin is with an answer. Clients come and leave at such moments.
type moment int

const (
	whenAsked moment = iota
	whenHeadSent
	inTheMiddle
	beforeLastByte
	whenEnded
	moments
)

// simResource is what the origin has at a path.
type simResource struct {
	path      string
	status    int
	storage   string // Cache-Control
	vary      string
	setCookie bool
	length    int // of most bodies
	framing   string
	waiting   [moments][]func()
}

// wanted is what a request says beside its path.
type wanted struct{ method, lang, coding, cookie, authorization, part string }

// simAnswer is one answer of the origin. Its body is of no other one.
type simAnswer struct {
	number int
	of     *simResource
	to     wanted
	at     int64

	status    int
	storage   string
	vary      string
	setCookie bool
	framing   string // "length", "chunked", "close"
	failure   string
	body      []byte
	given     int // to how many clients
}

// whole reports whether the origin sends all of a.
func (a *simAnswer) whole() bool { return a.failure == "" }

// storable is package policy in few words: whether a may be given to others than the sender of its request.
func (a *simAnswer) storable() bool {
	public := strings.Contains(a.storage, "public") || a.to.authorization == ""
	return a.to.method == "GET" && a.to.part == "" && public && strings.Contains(a.storage, "max-age") &&
		!a.setCookie && !strings.Contains(a.vary, "*") && len(a.body) <= bodyMax
}

// lifetime is how long a is fresh.
func (a *simAnswer) lifetime() time.Duration {
	_, n, _ := strings.Cut(a.storage, "max-age=")
	seconds, _ := strconv.Atoi(n)
	return time.Duration(seconds) * time.Second
}

// matches reports whether a, which varies by some fields, is for requests that say v.
func (a *simAnswer) matches(v wanted) bool {
	return (!strings.Contains(a.vary, "X-Lang") || a.to.lang == v.lang) &&
		(!strings.Contains(a.vary, "Accept-Encoding") || a.to.coding == v.coding)
}

// wire returns the bytes of a, and how many of them are its head.
func (a *simAnswer) wire() (b []byte, headLen int) {
	date := time.Unix(0, a.at).UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	b = fmt.Appendf(nil, "HTTP/1.1 %d Some\r\nX-Number: %d\r\nDate: %s\r\n", a.status, a.number, date)
	for _, f := range [][2]string{{"Cache-Control", a.storage}, {"Vary", a.vary}} {
		if f[1] != "" {
			b = fmt.Appendf(b, "%s: %s\r\n", f[0], f[1])
		}
	}
	if a.setCookie {
		b = append(b, "Set-Cookie: a=b\r\n"...)
	}
	switch a.framing {
	case "length":
		b = fmt.Appendf(b, "Content-Length: %d\r\n\r\n", len(a.body))
	case "chunked":
		b = append(b, "Transfer-Encoding: chunked\r\n\r\n"...)
	default:
		b = append(b, "Connection: close\r\n\r\n"...)
	}
	switch headLen = len(b); {
	case a.to.method == "HEAD":
	case a.framing == "chunked":
		b = a.appendChunks(b)
	default:
		b = append(b, a.body...)
	}
	return b, headLen
}

func (a *simAnswer) appendChunks(b []byte) []byte {
	for body, n := a.body, 0; len(body) > 0; body = body[n:] {
		n = min(len(body), 1+(a.number*131+len(body)*977)%9000)
		b = append(append(fmt.Appendf(b, "%x\r\n", n), body[:n]...), "\r\n"...)
	}
	b = append(b, "0\r\n"...)
	if a.number%4 == 0 {
		b = append(b, "X-Trailer: 1\r\n"...)
	}
	return append(b, "\r\n"...)
}

// simSetup says what may happen in a simulation.
type simSetup struct {
	calm     bool          // every answer may be stored, and comes in time: each is fetched once
	varies   bool          // calm, with answers that vary
	visitors bool          // calm, with requests to whom answers are their own
	faults   bool          // the network and the origin fail, and requests fail with them
	steady   bool          // every answer is as its simResource says
	lag      time.Duration // of the clock of the second reactor
	to       *proxy.ToOptions
	timeout  time.Duration // of every request
	route    Route
	filter   *proxy.Filter
	lies     bool // the origin mixes up bodies
	mends    bool // answers that are cut off seem whole
	parks    bool // filters have requests and answers wait
}

// simulation is clients, a proxy with a cache, and an origin in one World.
type simulation struct {
	simSetup
	t         testing.TB
	w         *sim.World
	rng       *rand.Rand
	engine    *engine.Engine
	zone      *Zone
	fronts    []*front // the last one is that of new requests
	proxy     *proxy.Proxy
	upstream  *upstream.Upstream
	addr      poller.Addr
	origin    *sim.Listener
	resources []*simResource
	answers   []*simAnswer
	clients   []*simClient
	fetched   map[string]int // answers to GET that may be stored, by path and variant
	settled   bool           // nothing fails any more
	held      func() bool    // the origin answers once this is true
	stands    time.Duration  // so long the origin sends nothing in the middle of a body
	lastTurn  int

	simTally
}

// simTally counts requests by what became of them.
type simTally struct{ Right, Own, CutOff, Left int }

// turn steps one reactor. A reactor that is asleep has not seen yet what another one has posted to it between two of
// its ticks: nobody has two turns meanwhile that would move the clock.
type turn struct {
	s     *simulation
	index int
}

// Tick gives the reactor its turn.
func (n turn) Tick() {
	if n.s.lastTurn == n.index {
		for i := range n.s.engine.Reactors() {
			if i != n.index {
				n.s.w.Kernel(i).Wake()
			}
		}
	}
	n.s.lastTurn = n.index
	n.s.engine.Reactors()[n.index].Tick()
}

// lagging is a kernel whose clock is behind that of the World.
type lagging struct {
	poller.Kernel
	by int64
}

// Now reads the clock.
func (k lagging) Now() int64 { return k.Kernel.Now() - k.by }

// Wait waits until a time of that clock.
func (k lagging) Wait(dst []poller.Event, until int64) int {
	if until > 0 && until < math.MaxInt64 {
		until += k.by
	}
	return k.Kernel.Wait(dst, until)
}

func newSimulation(t testing.TB, w *sim.World, o simSetup) *simulation {
	s := &simulation{simSetup: o, t: t, w: w, rng: w.Rand(), fetched: map[string]int{}}
	w.Net.SegmentMin, w.Net.BufferMin = 512, 1<<10
	var err error
	s.engine, err = engine.New(engine.Options{
		Reactors: 2, SendLow: 8 << 10, SendMax: 64 << 10, ReadSize: 1 << (11 + s.rng.IntN(6)), SpliceMin: 1 << 10,
		Memory: 256 << 20, Kernel: func(i int) (poller.Kernel, error) {
			return lagging{w.Kernel(i), int64(i) * int64(o.lag)}, nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.zone, err = New(Options{Reactors: 2, Memory: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	s.zone.skew.Store(simEpoch)
	address := poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}
	s.origin = w.Serve(address)
	s.origin.Handle = s.serve
	s.upstream = upstream.New(s.engine, upstream.Options{
		Name: "sim", Retries: s.rng.IntN(4) - 1, Connect: time.Second, Backends: backend.Of(address.String()),
		Client: session.ClientOptions{FirstByte: 2 * time.Second, BetweenBytes: 2 * time.Second},
	})
	s.proxy = proxy.New(s.engine, s.snapshot())
	srv := session.NewServer(s.engine, s.proxy.Service(&proxy.Listener{Name: "sim"}), session.ServerOptions{
		SendTimeout: 5 * time.Second, IdleTimeout: 20 * time.Second, H2C: true,
		H2: session.H2Options{MaxStreams: 1000},
	})
	s.addr = poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:80")}
	if _, err := s.engine.Listen(engine.ListenOptions{Addr: s.addr}, srv.Accept); err != nil {
		t.Fatal(err)
	}
	s.lastTurn = -1
	for i := range s.engine.Reactors() {
		w.Add(turn{s, i})
	}
	return s
}

// snapshot makes routes with a front of their own, before the one zone.
func (s *simulation) snapshot() *proxy.Snapshot {
	to := proxy.To(s.upstream, s.to)
	if s.mends {
		to = mending{to}
	}
	f := s.zone.Before(to, s.route, nil).(*front)
	s.fronts = append(s.fronts, f)
	snapshot, err := proxy.NewSnapshot([]proxy.Route{{Name: "all", To: f, Timeout: s.timeout}}, s.filters())
	if err != nil {
		s.t.Fatal(err)
	}
	return snapshot
}

// filters returns filters of answers, some of which have exchanges wait.
func (s *simulation) filters() (all []*proxy.Filter) {
	if s.filter != nil {
		all = append(all, s.filter)
	}
	if s.parks {
		all = append(all, &proxy.Filter{Name: "parks", Request: s.park, Response: s.park})
		if s.rng.IntN(2) == 0 {
			all = append(all, &proxy.Filter{Name: "holds", ResponseBody: hold})
		}
	}
	return all
}

var heldBack = proxy.NewLocal[[]byte]()

// hold keeps the last byte of a body back until the end.
func hold(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
	kept := heldBack.Of(x)
	all := append(*kept, in...)
	n := len(all)
	if !end {
		n = max(0, n-1)
	}
	x.Emit(all[:n])
	*kept = append([]byte(nil), all[n:]...)
	return proxy.Next
}

// park has some exchanges wait.
func (s *simulation) park(x *proxy.Exchange) proxy.Verdict {
	if s.rng.IntN(4) > 0 {
		return proxy.Next
	}
	ref := x.Ref()
	s.after(3*time.Millisecond, func() {
		ref.Resume(proxy.Next)
		for i := range s.engine.Reactors() {
			s.w.Kernel(i).Wake()
		}
	})
	return proxy.Park
}

// when runs f once a condition holds.
func (s *simulation) when(condition func() bool, f func()) {
	if condition() {
		f()
	} else {
		s.w.After(100*time.Microsecond, func() { s.when(condition, f) })
	}
}

func pick[T any](rng *rand.Rand, of ...T) T { return of[rng.IntN(len(of))] }

// after runs f in at most so long.
func (s *simulation) after(most time.Duration, f func()) {
	s.w.After(time.Duration(s.rng.Int64N(int64(most)+1)), f)
}

// bodySize draws the size of a body: mostly small, now and then larger than a record may be.
func (s *simulation) bodySize() int {
	switch n := s.rng.IntN(64); {
	case n < 6:
		return 0
	case n < 8:
		return 1
	case n == 8:
		return bodyMax
	case n == 9 && !s.calm:
		return bodyMax + 1 + s.rng.IntN(2)*s.rng.IntN(60_000)
	case n < 12:
		return s.rng.IntN(bodyMax)
	case n < 20:
		return s.rng.IntN(8000)
	}
	return s.rng.IntN(400)
}

func (s *simulation) addResources() {
	for i := range 1 + s.rng.IntN(4) {
		r := &simResource{path: fmt.Sprintf("/%d", i), status: 200, storage: "max-age=3600", length: s.bodySize()}
		r.framing = pick(s.rng, "length", "length", "chunked", "close")
		if !s.calm || s.varies {
			r.vary = pick(s.rng, "", "", "X-Lang", "Accept-Encoding, X-Lang")
		}
		r.status = pick(s.rng, 200, 200, 404, 301)
		if !s.calm && s.rng.IntN(2) == 0 {
			r.storage = pick(s.rng, "no-store", "private", "", "max-age=1", "max-age=2", "public, max-age=60")
			r.vary = pick(s.rng, r.vary, "*", "X-Lang, *")
			r.setCookie = s.rng.IntN(4) == 0
			r.status = pick(s.rng, r.status, 500, 503)
		}
		s.resources = append(s.resources, r)
	}
}

// reached tells those who wait for a moment of an answer of r.
func (s *simulation) reached(r *simResource, m moment) {
	waiting := r.waiting[m]
	r.waiting[m] = nil
	for _, f := range waiting {
		s.after(pick(s.rng, 0, 0, 10*time.Microsecond, time.Millisecond), f)
	}
}

// addClients draws the clients and when they come.
func (s *simulation) addClients() {
	for range 3 + s.rng.IntN(pick(s.rng, 6, 28)) {
		c := &simClient{s: s, http2: s.rng.IntN(4) == 0}
		for range 1 + s.rng.IntN(pick(s.rng, 1, 3)) {
			c.requests = append(c.requests, s.request(pick(s.rng, s.resources...)))
		}
		c.unsent, c.pipelines = c.requests, s.rng.IntN(3) == 0
		c.old = len(c.requests) == 1 && s.rng.IntN(6) == 0
		if s.rng.IntN(6) == 0 {
			c.slow = time.Duration(s.rng.Int64N(int64(pick(s.rng, 50*time.Millisecond, 3*time.Second))))
			if s.faults {
				c.slow *= 3
			}
		}
		s.clients = append(s.clients, c)
		first := c.requests[0].of
		if m := s.rng.IntN(2 * int(moments)); m < int(moments) {
			first.waiting[m] = append(first.waiting[m], c.join)
			s.after(50*time.Millisecond, c.join) // should the moment not come
		} else {
			s.after(pick(s.rng, time.Millisecond, 30*time.Millisecond, 1500*time.Millisecond), c.join)
		}
		if s.rng.IntN(5) == 0 {
			s.leaves(c, first)
		}
	}
	if s.rng.IntN(4) == 0 { // the client that asks first leaves
		r := pick(s.rng, s.resources...)
		m := s.rng.IntN(int(moments))
		r.waiting[m] = append(r.waiting[m], func() {
			for _, c := range s.clients {
				if c.peer != nil && c.requests[0].of == r {
					c.leave()
					return
				}
			}
		})
	}
}

// leaves has c leave at some moment.
func (s *simulation) leaves(c *simClient, r *simResource) {
	if m := s.rng.IntN(2 * int(moments)); m < int(moments) {
		r.waiting[m] = append(r.waiting[m], c.leave)
	} else {
		s.after(60*time.Millisecond, c.leave)
	}
}

func (s *simulation) request(r *simResource) *simRequest {
	q := &simRequest{of: r}
	q.method = "GET"
	if s.rng.IntN(8) == 0 {
		q.method = pick(s.rng, "HEAD", "HEAD", "POST")
	}
	q.lang = pick(s.rng, "", "de", "de", "fr")
	q.coding = pick(s.rng, "", "", "gzip", "br, gzip")
	q.cookie = pick(s.rng, "", "", "", "a=1")
	if s.rng.IntN(24) == 0 {
		q.part = "bytes=0-1"
	}
	if s.rng.IntN(12) == 0 && (!s.calm || s.visitors) {
		q.authorization = "me"
	}
	return q
}

// The origin.

// serve plays the origin on one connection.
func (s *simulation) serve(p *sim.Peer) {
	var in []byte
	busy := false
	var next func()
	next = func() {
		in = append(in, p.Take()...)
		if p.Closed() {
			p.Close()
			return
		}
		head, rest, ok := bytes.Cut(in, []byte("\r\n\r\n"))
		if busy || !ok {
			return
		}
		in, busy = rest, true
		a := s.answer(string(head))
		s.reached(a.of, whenAsked)
		play := func() {
			s.play(p, a, func() {
				busy = false
				next()
			})
		}
		switch wait := s.rng.IntN(4); {
		case s.held != nil:
			s.when(s.held, play)
		case wait == 0 && !s.calm:
			s.after(300*time.Millisecond, play)
		case wait == 1:
			s.after(20*time.Millisecond, play)
		default:
			play()
		}
	}
	p.Handle = func(*sim.Peer) { next() }
	next()
}

// answer makes the answer to a request with that head.
func (s *simulation) answer(head string) *simAnswer {
	lines := strings.Split(head, "\r\n")
	var method, path string
	fmt.Sscan(lines[0], &method, &path)
	a := &simAnswer{number: len(s.answers), at: simEpoch + s.w.Now()}
	a.to.method = method
	for _, l := range lines[1:] {
		switch name, value, _ := strings.Cut(l, ": "); strings.ToLower(name) {
		case "x-lang":
			a.to.lang = value
		case "accept-encoding":
			a.to.coding = value
		case "cookie":
			a.to.cookie = value
		case "authorization":
			a.to.authorization = value
		case "range":
			a.to.part = value
		}
	}
	i, err := strconv.Atoi(path[1:])
	if err != nil {
		s.t.Fatalf("origin: %q", lines[0])
	}
	r := s.resources[i]
	a.of, a.status, a.storage, a.vary, a.setCookie = r, r.status, r.storage, r.vary, r.setCookie
	a.framing = r.framing
	n := r.length
	if !s.steady && s.rng.IntN(4) == 0 {
		n, a.framing = s.bodySize(), pick(s.rng, "length", "chunked", "close")
		if !s.calm && s.rng.IntN(2) == 0 {
			a.storage, a.setCookie = pick(s.rng, "no-store", "", "max-age=60", "max-age=1"), s.rng.IntN(8) == 0
			a.vary = pick(s.rng, "", "X-Lang", "Accept-Encoding")
			a.status = pick(s.rng, 200, 200, 500)
		}
	}
	a.body = s.bodyOf(a.number, n)
	if s.faults && !s.settled && s.rng.IntN(2) == 0 {
		a.failure = pick(s.rng, "dies", "closes", "silent", "half head", "reset", "reset", "short", "short")
	}
	s.answers = append(s.answers, a)
	// A marker of a visitor has visitors alone go by: requests with Cookie or Authorization.
	passes := a.to.authorization != "" || s.visitors && a.to.cookie != ""
	if a.to.method == "GET" && a.to.part == "" && !passes {
		key := r.path
		if strings.Contains(a.vary, "X-Lang") {
			key += " " + a.to.lang
		}
		if strings.Contains(a.vary, "Accept-Encoding") {
			key += " " + a.to.coding
		}
		s.fetched[key]++
	}
	return a
}

// bodyOf returns the body of the answer with a number.
func (s *simulation) bodyOf(number, n int) []byte {
	rng := rand.NewPCG(s.w.Seed(), uint64(number))
	b := make([]byte, n+8)
	for i := 0; i < n; i += 8 {
		binary.LittleEndian.PutUint64(b[i:], rng.Uint64())
	}
	return b[:n]
}

// play sends a, whole or not, in pieces with time between them.
func (s *simulation) play(p *sim.Peer, a *simAnswer, done func()) {
	if s.rng.IntN(16) == 0 {
		p.SendString("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
	}
	wire, headLen := a.wire()
	if s.lies && a.number%2 == 1 && a.to.method != "HEAD" && a.framing == "length" && len(a.body) > 0 {
		copy(wire[headLen:], s.bodyOf(a.number-1, len(a.body)))
	}
	end := len(wire)
	switch a.failure {
	case "dies":
		p.Reset()
		return
	case "closes":
		p.Close()
		return
	case "silent":
		return
	case "half head":
		end = s.rng.IntN(headLen)
	case "reset", "short":
		if len(wire) > headLen {
			end = headLen + s.rng.IntN(len(wire)-headLen)
		} else {
			end = s.rng.IntN(headLen)
		}
		if a.framing == "close" && a.failure == "reset" && s.rng.IntN(2) == 0 {
			end = len(wire) // all is there, but no FIN
		}
		if a.framing == "close" && a.failure == "short" && end >= headLen {
			a.failure, a.body = "", a.body[:end-headLen] // FIN is all that tells the end
		}
	}
	places := s.places(headLen, len(wire), end)
	if s.stands > 0 {
		places = []int{(headLen + len(wire)) / 2, len(wire)}
	}
	s.send(p, a, wire[:end], places, done)
}

// places draws where pieces end.
func (s *simulation) places(headLen, whole, end int) (at []int) {
	some, more := s.rng.IntN(whole), s.rng.IntN(whole)
	for _, n := range []int{headLen, headLen + 1, (headLen + whole) / 2, whole - 1, some, more} {
		if n < end && s.rng.IntN(2) == 0 {
			at = append(at, n)
		}
	}
	slices.Sort(at)
	return append(at, end)
}

// send sends the next piece of b, which is what there is of a.
func (s *simulation) send(p *sim.Peer, a *simAnswer, b []byte, places []int, done func()) {
	sent, pause := 0, pick(s.rng, 0, 100*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond)
	_, headLen := a.wire()
	var piece func()
	piece = func() {
		p.Send(b[sent:places[0]])
		before := sent
		sent = places[0]
		for m, at := range [...]int{whenHeadSent: headLen, inTheMiddle: headLen + 1, beforeLastByte: len(b) - 1} {
			if before < at && sent >= at {
				s.reached(a.of, moment(m))
			}
		}
		if places = places[1:]; len(places) > 0 {
			if s.stands > 0 {
				s.w.After(s.stands, piece)
			} else {
				s.after(pause, piece)
			}
			return
		}
		switch {
		case a.failure == "reset":
			s.after(pause, p.Reset)
		case a.failure != "", a.framing == "close":
			s.after(pause, p.Close)
		case s.faults && !s.settled && s.rng.IntN(8) == 0:
			p.Close()
		default:
			done()
		}
		s.reached(a.of, whenEnded)
	}
	piece()
}

// The clients.

// simRequest is a request of a client and what it has got.
type simRequest struct {
	of *simResource
	wanted
	sent   int64
	answer *simAnswer // once its head is there
	ours   bool       // the proxy has answered
	hit    bool
	body   []byte
	over   bool
}

// fields are those of q, each with its value.
func (q *simRequest) fields() (all [][2]string) {
	for _, f := range [][2]string{
		{"X-Lang", q.lang}, {"Accept-Encoding", q.coding}, {"Cookie", q.cookie}, {"Authorization", q.authorization},
		{"Range", q.part},
	} {
		if f[1] != "" {
			all = append(all, f)
		}
	}
	return all
}

// simClient is a client: of HTTP/1, with a request after the other, or of HTTP/2, with all at once.
type simClient struct {
	s                     *simulation
	peer                  *sim.Peer
	requests              []*simRequest
	unsent                []*simRequest
	http2, old, pipelines bool
	codec                 h2.Conn
	streams               map[*h2.Stream]*simRequest
	in                    []byte
	slow                  time.Duration // it reads nothing for so long
	wasSlow               bool
	over                  bool
	ended                 int64
	joined                bool
}

// join connects c and sends what it asks for.
func (c *simClient) join() {
	if c.joined || c.over {
		return
	}
	c.joined = true
	c.peer = c.s.w.Dial(c.s.addr)
	c.peer.Handle = func(*sim.Peer) { c.look() }
	if !c.http2 {
		c.ask()
		return
	}
	c.streams = map[*h2.Stream]*simRequest{}
	c.codec.Init(h2.Client, &h2.Options{Scheme: "http", MaxStreams: 200}, c.s.w.Now())
	var out []byte
	for _, q := range c.unsent {
		q.sent = c.s.w.Now()
		var h message.Head
		h.SetMethod(q.method)
		h.SetTarget(q.of.path)
		h.SetAuthority("sim")
		for _, f := range q.fields() {
			h.Add(f[0], f[1])
		}
		stream, err := c.codec.Open(c.s.w.Now())
		if err != nil {
			c.s.t.Fatal(err)
		}
		c.streams[stream] = q
		if out, err = c.codec.AppendHead(out, stream, &h, true); err != nil {
			c.s.t.Fatal(err)
		}
	}
	c.unsent = nil
	c.peer.Send(out)
}

// ask sends the next request of a client of HTTP/1, or all of them.
func (c *simClient) ask() {
	q, version := c.unsent[0], "1.1"
	c.unsent = c.unsent[1:]
	q.sent = c.s.w.Now()
	if c.old {
		version = "1.0"
	}
	b := fmt.Appendf(nil, "%s %s HTTP/%s\r\nHost: sim\r\n", q.method, q.of.path, version)
	for _, f := range q.fields() {
		b = fmt.Appendf(b, "%s: %s\r\n", f[0], f[1])
	}
	if q.method == "POST" {
		b = append(b, "Content-Length: 0\r\n"...)
	}
	c.peer.Send(append(b, "\r\n"...))
	if c.pipelines && len(c.unsent) > 0 {
		c.ask()
	}
}

// leave ends c before its time. A client of HTTP/2 may end one of its requests alone.
func (c *simClient) leave() {
	if c.over {
		return
	}
	if c.http2 && c.joined && c.s.rng.IntN(2) == 0 {
		for stream, q := range c.streams {
			if len(c.streams) == 1 || q == c.requests[0] {
				delete(c.streams, stream)
				c.codec.Reset(stream, h2.Cancel)
				c.s.lost(q, &c.s.Left)
				break
			}
		}
		c.flush()
		c.endWhereOver()
		return
	}
	c.end(&c.s.Left)
}

// end ends c: what it has not got counts as reason.
func (c *simClient) end(reason *int) {
	c.over, c.ended = true, c.s.w.Now()
	for _, q := range c.requests {
		if !q.over {
			c.s.lost(q, reason)
		}
	}
	if c.peer == nil {
		return
	}
	if c.s.rng.IntN(4) == 0 {
		c.peer.Reset()
	} else {
		c.peer.Close()
	}
}

func (c *simClient) endWhereOver() {
	if !slices.ContainsFunc(c.requests, func(q *simRequest) bool { return !q.over }) {
		c.end(nil)
	}
}

// look takes what has come.
func (c *simClient) look() {
	if c.over {
		return
	}
	c.in = append(c.in, c.peer.Take()...)
	if len(c.in) > 0 && c.slow > 0 {
		c.peer.StopReading()
		c.s.w.After(c.slow, c.peer.StartReading)
		c.slow, c.wasSlow = 0, true
	}
	if c.http2 {
		c.lookAtFrames()
	} else {
		c.lookAtMessages()
	}
	if c.over {
		return
	}
	if c.peer.Closed() {
		c.end(&c.s.CutOff)
		return
	}
	c.endWhereOver()
}

// current is the request whose answer comes next to a client of HTTP/1.
func (c *simClient) current() *simRequest {
	for _, q := range c.requests[:len(c.requests)-len(c.unsent)] {
		if !q.over {
			return q
		}
	}
	return nil
}

func (c *simClient) lookAtMessages() {
	for q := c.current(); q != nil; q = c.current() {
		m, ok := readMessage(c.in, q.method == "HEAD", c.peer.EOF())
		switch {
		case !ok:
			return
		case m.status < 200:
			c.in = m.rest
			continue
		}
		c.s.judgeHead(q, m.status, func(name string) string { return m.fields[strings.ToLower(name)] })
		q.body = m.body
		if !m.whole {
			return
		}
		c.in = m.rest
		c.s.judgeEnd(q)
		if m.fields["connection"] == "close" {
			c.end(&c.s.Left)
			return
		}
		if len(c.unsent) > 0 && c.current() == nil {
			c.ask()
		}
	}
}

func (c *simClient) lookAtFrames() {
	var h message.Head
	for {
		n, ev := c.codec.Next(c.in, &h, c.s.w.Now())
		c.in = c.in[n:]
		if ev.Kind == h2.NeedMore {
			break
		}
		q := c.streams[ev.Stream]
		switch {
		case ev.Kind == h2.Fault:
			c.s.t.Fatalf("a client of HTTP/2: %v", ev.Err)
		case q == nil:
			if ev.Kind == h2.Data {
				c.codec.Release(ev.Stream, len(ev.Body))
			}
			continue
		case ev.Kind == h2.HeadDone && h.Status >= 200:
			c.s.judgeHead(q, int(h.Status), h.Get)
			if !q.ours && h.Length >= 0 && h.Length != int64(len(q.answer.body)) && q.method != "HEAD" {
				c.s.t.Fatalf("%+v: content-length %d, want %d", *q, h.Length, len(q.answer.body))
			}
		case ev.Kind == h2.Data:
			q.body = append(q.body, ev.Body...)
			if !ev.End {
				c.codec.Release(ev.Stream, len(ev.Body))
			}
		case ev.Kind == h2.Reset:
			c.s.lost(q, &c.s.CutOff)
			delete(c.streams, ev.Stream)
		}
		if ev.End {
			c.s.judgeEnd(q)
			delete(c.streams, ev.Stream)
		}
	}
	c.flush()
}

func (c *simClient) flush() {
	if c.codec.Pending() {
		c.peer.Send(c.codec.AppendControl(nil))
	}
}

// simMessage is an answer of HTTP/1 as far as it has come, taken apart by code that shares nothing with package h1.
type simMessage struct {
	status     int
	fields     map[string]string
	body, rest []byte
	whole      bool
}

// readMessage reads the first answer of in. ok is false while its head is incomplete.
func readMessage(in []byte, headOnly, ended bool) (m simMessage, ok bool) {
	head, rest, found := bytes.Cut(in, []byte("\r\n\r\n"))
	if !found {
		return m, false
	}
	lines := strings.Split(string(head), "\r\n")
	m.fields = map[string]string{}
	for _, l := range lines[1:] {
		name, value, _ := strings.Cut(l, ": ")
		m.fields[strings.ToLower(name)] += value
	}
	m.status, _ = strconv.Atoi(strings.Fields(lines[0])[1])
	length, stated := m.fields["content-length"]
	n, _ := strconv.Atoi(length)
	switch {
	case headOnly, m.status < 200:
		m.rest, m.whole = rest, true
	case m.fields["transfer-encoding"] == "chunked":
		m.readChunks(rest)
	case !stated:
		m.body, m.whole = rest, ended
	case len(rest) < n:
		m.body = rest
	default:
		m.body, m.rest, m.whole = rest[:n:n], rest[n:], true
	}
	return m, true
}

func (m *simMessage) readChunks(rest []byte) {
	for {
		line, after, found := bytes.Cut(rest, []byte("\r\n"))
		n, err := strconv.ParseUint(string(line), 16, 31)
		switch {
		case !found:
			return
		case err != nil:
			panic(fmt.Sprintf("chunk size %q", line))
		case n == 0:
			for !bytes.HasPrefix(after, []byte("\r\n")) { // trailers
				if _, after, found = bytes.Cut(after, []byte("\r\n")); !found {
					return
				}
			}
			m.rest, m.whole = after[2:], true
			return
		case len(after) < int(n)+2:
			m.body = append(m.body, after[:min(len(after), int(n))]...)
			return
		}
		m.body, rest = append(m.body, after[:n]...), after[n+2:]
	}
}

// The judgement.

// judgeHead looks whether q may be answered by that head.
func (s *simulation) judgeHead(q *simRequest, status int, field func(name string) string) {
	if q.answer != nil || q.ours {
		return
	}
	number := field("X-Number")
	if number == "" {
		q.ours = true
		if field("Proxy-Status") == "" || status != 502 && status != 504 && status != 503 || !s.faults || s.settled {
			s.t.Fatalf("%+v: the proxy answers %d by itself: %s\n%s", *q, status, field("Proxy-Status"), s.history())
		}
		return
	}
	n, err := strconv.Atoi(number)
	if err != nil || n >= len(s.answers) {
		s.t.Fatalf("%+v: answer %q", *q, number)
	}
	a, cached := s.answers[n], field("Cache-Status")
	q.answer = a
	q.hit = strings.Contains(cached, "; hit") || strings.Contains(cached, "; collapsed")
	if a.given++; !q.hit && a.to != q.wanted || !a.storable() && (a.given > 1 || q.hit) {
		s.t.Fatalf("%+v: was given answer %+v: %s", *q, *a, cached)
	}
	if a.of != q.of || !a.matches(q.wanted) || status != a.status || strings.Contains(cached, "; hit") && !a.whole() {
		s.t.Fatalf("%+v: was given answer %+v with status %d: %s", *q, *a, status, cached)
	}
	since := time.Duration(simEpoch + s.w.Now() - a.at)
	if age, err := strconv.Atoi(field("Age")); q.hit && (err != nil || time.Duration(age-1)*time.Second > since) {
		s.t.Fatalf("%+v: Age %q of an answer of %v ago", *q, field("Age"), since)
	}
	late := time.Duration(simEpoch + q.sent - a.at)
	if strings.Contains(cached, "; hit") && late > a.lifetime()+100*time.Millisecond {
		s.t.Fatalf("%+v: was given answer %+v, which was %v old", *q, *a, late)
	}
	if length := field("Content-Length"); q.method == "HEAD" && length != "" && length != strconv.Itoa(len(a.body)) {
		s.t.Fatalf("%+v: Content-Length %s of %d", *q, length, len(a.body))
	}
}

// judgeEnd looks whether what q got for a whole answer is one.
func (s *simulation) judgeEnd(q *simRequest) {
	q.over = true
	if q.ours {
		s.Own++
		return
	}
	want := q.answer.body
	if q.method == "HEAD" {
		want = nil
	} else if !q.answer.whole() {
		s.t.Fatalf("%+v: an answer that was cut off came as a whole one: %+v", *q, *q.answer)
	}
	if !bytes.Equal(q.body, want) {
		s.t.Fatalf("%+v: %d wrong bytes, want %d, of answer %d", *q, len(q.body), len(want), q.answer.number)
	}
	s.Right++
}

// lost counts q, which has no whole answer, and looks at what it has.
func (s *simulation) lost(q *simRequest, reason *int) {
	q.over = true
	*reason++
	if reason == &s.CutOff && (!s.faults || s.settled) {
		s.t.Fatalf("%+v was cut off", *q)
	}
	if q.answer != nil && !bytes.HasPrefix(q.answer.body, q.body) {
		s.t.Fatalf("%+v: %d wrong bytes before the end", *q, len(q.body))
	}
}

// run runs until all have their answers, asks once more for all, and looks whether anything is left.
func (s *simulation) run() {
	over := func() bool {
		return !slices.ContainsFunc(s.clients, func(c *simClient) bool { return !c.over })
	}
	if err := s.w.Run(over, 2_000_000); err != nil {
		s.t.Fatal(err)
	}
	s.pass(2 * time.Second)                                                          // what those who left have sent
	if err := s.w.Run(func() bool { return s.active() == 0 }, 500_000); err != nil { // fills that nobody follows
		s.t.Fatalf("%d exchanges have no end\n%v", s.active(), err)
	}
	s.pass(50 * time.Millisecond)
	s.settled, s.w.Faults, s.timeout = true, sim.Faults{}, 0
	s.proxy.Swap(s.snapshot())
	s.origin.Refuse(false)
	for _, r := range s.resources {
		for _, lang := range []string{"de", "fr"} {
			c := &simClient{s: s, requests: []*simRequest{{of: r, wanted: wanted{method: "GET", lang: lang}}}}
			c.unsent = c.requests
			s.clients = append(s.clients, c)
			s.after(20*time.Millisecond, c.join)
		}
	}
	if err := s.w.Run(over, 500_000); err != nil {
		s.t.Fatal(err)
	}
	s.upstream.Close()
	left := func() bool { return s.leftBehind() == "" }
	if err := s.w.Run(left, 500_000); err != nil {
		s.t.Fatalf("left behind: %s\n%v", s.leftBehind(), err)
	}
	s.zone.Close()
	if !s.calm {
		return
	}
	for key, n := range s.fetched {
		if n > 1 {
			s.t.Fatalf("the origin was asked %d times for %q\n%s", n, key, s.history())
		}
	}
}

// pass lets time pass.
func (s *simulation) pass(d time.Duration) {
	over := false
	s.w.After(d, func() { over = true })
	if err := s.w.Run(func() bool { return over }, 500_000); err != nil {
		s.t.Fatal(err)
	}
}

// history lists the answers of the origin.
func (s *simulation) history() string {
	var b strings.Builder
	for _, a := range s.answers {
		at := time.Duration(a.at - simEpoch - int64(time.Second))
		fmt.Fprintf(&b, "  %v: %d %s to %+v: %d %q %q, %s, %d bytes, %q, given to %d\n", at, a.number, a.of.path,
			a.to, a.status, a.storage, a.vary, a.framing, len(a.body), a.failure, a.given)
	}
	return b.String()
}

func (s *simulation) active() (n int) {
	for _, r := range s.engine.Reactors() {
		n += s.proxy.Stats(r).Active
	}
	return n
}

// leftBehind says what there is that should have ended.
func (s *simulation) leftBehind() string {
	if n := s.active(); n != 0 {
		return fmt.Sprintf("%d exchanges", n)
	}
	for _, r := range s.engine.Reactors() {
		if n := r.Stats().BufBytes; n != 0 {
			return fmt.Sprintf("%d bytes of buffers", n)
		}
	}
	for i := range s.zone.fills.shards {
		if n := len(s.zone.fills.shards[i].fills); n != 0 {
			return fmt.Sprintf("%d fills", n)
		}
	}
	for _, m := range s.upstream.Options().Backends.Members() {
		if n, tunnels := m.InFlight(); n+tunnels != 0 {
			return fmt.Sprintf("%d requests to the backend", n+tunnels)
		}
	}
	switch n := s.zone.filling.Load(); {
	case n != 0:
		return fmt.Sprintf("%d bytes of fills", n)
	case slices.ContainsFunc(s.fronts, func(f *front) bool { return f.detached.Load() != 0 }):
		return "fills that nobody follows"
	case len(s.w.OpenSockets()) > len(s.engine.Reactors()):
		return fmt.Sprintf("descriptors %v", s.w.OpenSockets())
	}
	return ""
}

// calm has clients ask for what may be stored, and comes in time.
func calm(t testing.TB, w *sim.World, o simSetup) *simulation {
	w.Faults.ShortWrite = 0.1
	o.calm, o.parks = true, w.Rand().IntN(4) == 0
	s := newSimulation(t, w, o)
	s.addResources()
	s.addClients()
	s.run()
	return s
}

// rough has answers that may not be stored, waits that end too early, little memory for fills, and routes that change.
// With faults all fails.
func rough(t testing.TB, w *sim.World, o simSetup) *simulation {
	rng := w.Rand()
	o.route.LockTimeout = pick(rng, 0, time.Millisecond, 20*time.Millisecond, 500*time.Millisecond)
	o.route.Abandon, o.parks = rng.IntN(4) == 0, rng.IntN(4) == 0
	w.Faults.ShortWrite = 0.1
	if o.faults {
		o.timeout = pick(rng, 0, 0, 50*time.Millisecond, time.Second)
	}
	if rng.IntN(4) == 0 {
		o.to = &proxy.ToOptions{Retry: &retry.Policy{
			On: retry.Default(), Hedge: &retry.Hedge{After: pick(rng, time.Millisecond, 20*time.Millisecond)},
		}}
	}
	if o.faults && rng.IntN(2) == 0 {
		w.Faults = sim.Faults{
			AcceptAborted: 0.05, ConnectRefused: 0.1, ConnectUnreachable: 0.05, ConnectTimeout: 0.02,
			ShortWrite: 0.2, Reset: 0.005,
		}
	}
	s := newSimulation(t, w, o)
	s.addResources()
	s.addClients()
	if rng.IntN(4) == 0 {
		s.zone.fillingMax = int64(pick(rng, 1, 4<<10, 200<<10))
	}
	for range rng.IntN(3) {
		s.after(50*time.Millisecond, func() { s.proxy.Swap(s.snapshot()) })
	}
	if o.faults && rng.IntN(4) == 0 {
		s.after(30*time.Millisecond, func() { s.origin.Refuse(true) })
		s.after(50*time.Millisecond, func() { s.origin.Refuse(false) })
	}
	s.run()
	return s
}

// simulate runs seeds and tells what became of requests and fills.
func simulate(t *testing.T, seeds int, play func(t testing.TB, w *sim.World, o simSetup) *simulation, o simSetup) {
	if testing.Short() {
		seeds /= 8
	}
	var sum simTally
	var all Stats
	sim.Run(t, seeds, func(t testing.TB, w *sim.World) {
		s := play(t, w, o)
		tally.Add(&sum, &s.simTally)
		st := s.zone.Stats()
		tally.Add(&all, &st)
	})
	t.Logf("requests %+v, %+v", sum, all)
}

// Every answer that may be stored is fetched once, and all who ask for it get it.
func TestSim_fetchedOnce(t *testing.T) { simulate(t, 1200, calm, simSetup{}) }

// The same where answers vary.
func TestSim_variantsAreFetchedOnce(t *testing.T) {
	simulate(t, 600, calm, simSetup{varies: true})
}

// The same where visitors, whose answers are not stored, are the first to ask.
func TestSim_visitorsKeepNobodyFromTheCache(t *testing.T) {
	simulate(t, 600, calm, simSetup{visitors: true})
}

// The same where the clock of a reactor, which it reads once in a tick, is behind that of another one.
func TestSim_clocksDiffer(t *testing.T) { simulate(t, 600, calm, simSetup{lag: time.Millisecond}) }

// What may not be stored is given to none but the sender of its request.
func TestSim_notAllIsStored(t *testing.T) { simulate(t, 1200, rough, simSetup{}) }

// What is cut off is nobody's whole answer and never stored, and failures show.
func TestSim_failuresAreClean(t *testing.T) { simulate(t, 1200, rough, simSetup{faults: true}) }

// alone has n clients ask for one thing, each so often, and as it likes.
func (s *simulation) alone(n, requests int, r *simResource, like func(c *simClient)) {
	s.resources = []*simResource{r}
	for range n {
		c := &simClient{s: s}
		for range requests {
			c.requests = append(c.requests, &simRequest{of: r, wanted: wanted{method: "GET", lang: "de"}})
		}
		c.unsent = c.requests
		s.clients = append(s.clients, c)
		like(c)
	}
}

// A follower that reads slowly, be it the first one, delays nobody else.
func TestSim_slowFollowerDelaysNobody(t *testing.T) {
	const followers, slow, most = 20, 4 * time.Second, 500 * time.Millisecond
	sim.Run(t, 30, func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, simSetup{calm: true, steady: true})
		w.Net.BufferMax = 4 << 10
		r := &simResource{path: "/0", status: 200, storage: "max-age=3600", length: 60_000}
		r.framing = pick(s.rng, "length", "chunked", "close")
		s.alone(followers, 1, r, func(c *simClient) {
			c.http2 = s.rng.IntN(3) == 0
			s.after(5*time.Millisecond, c.join)
		})
		s.clients[s.rng.IntN(followers)].slow = slow
		s.run()
		for _, c := range s.clients[:followers] {
			if took := time.Duration(c.ended - c.requests[0].sent); took > most && !c.wasSlow {
				t.Fatalf("a client that reads at once had its answer after %v", took)
			}
		}
	})
}

// Ten thousand requests for the same, which the origin answers when all are there, are one to the origin.
func TestSim_tenThousandFollow(t *testing.T) {
	all := followersMax
	if invariant.On || testutil.RaceOn {
		all = 500 // a World with so many connections takes its time
	}
	for each, name := range map[int]string{1: "HTTP/1", 100: "HTTP/2"} {
		t.Run(name, func(t *testing.T) {
			w := sim.NewWorld(1)
			w.Net.BufferMax = 4 << 10
			s := newSimulation(t, w, simSetup{calm: true, steady: true})
			r := &simResource{path: "/0", status: 200, storage: "max-age=3600", length: 300, framing: "length"}
			s.alone(all/each, each, r, func(c *simClient) {
				c.http2 = each > 1
				s.after(5*time.Millisecond, c.join)
			})
			s.held = func() bool { return s.zone.Stats().Followers == uint64(all-1) }
			s.run()
			if n := s.zone.Stats().Followers; n != uint64(all-1) || s.Right < all {
				t.Errorf("%d have followed, %d were answered rightly", n, s.Right)
			}
		})
	}
}

// Those who come while an answer stands still get what there is of it, however many they are.
func TestSim_lateFollowersGetWhatIsThere(t *testing.T) {
	sim.Run(t, 10, func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, simSetup{calm: true, steady: true})
		r := &simResource{path: "/0", status: 200, storage: "max-age=3600", length: 2000, framing: "length"}
		s.alone(10, 100, r, func(c *simClient) {
			c.http2 = true
			if len(s.clients) == 1 {
				c.requests, c.unsent = c.requests[:1], c.unsent[:1]
				c.join()
			} else {
				r.waiting[inTheMiddle] = append(r.waiting[inTheMiddle], func() { s.after(20*time.Millisecond, c.join) })
			}
		})
		s.stands = time.Second
		s.pass(500 * time.Millisecond)
		for _, c := range s.clients {
			for _, q := range c.requests {
				if len(q.body) != 1000 {
					t.Fatalf("a follower has %d bytes while the origin has sent 1000", len(q.body))
				}
			}
		}
		s.run()
	})
}

// An answer that nobody waits for any more is fetched to its end, or not, as the route says.
func TestSim_abandoned(t *testing.T) {
	for _, abandon := range []bool{false, true} {
		sim.Run(t, 20, func(t testing.TB, w *sim.World) {
			s := newSimulation(t, w, simSetup{calm: true, steady: true, route: Route{Abandon: abandon}})
			r := &simResource{path: "/0", status: 200, storage: "max-age=3600", length: 2000, framing: "length"}
			s.alone(5, 1, r, func(c *simClient) {
				c.http2 = true // FIN of HTTP/1 may be half of an end
				s.after(5*time.Millisecond, c.join)
				w.After(100*time.Millisecond, c.leave)
			})
			s.stands = time.Second
			if s.pass(500 * time.Millisecond); s.active() == 0 != abandon {
				t.Fatalf("%d exchanges half a second after all have left", s.active())
			}
			s.calm = !abandon
			s.run()
		})
	}
}

// An answer that is not stored comes as fast as the only client that gets it reads.
func TestSim_passedAnswerIsPaced(t *testing.T) {
	for _, framing := range []string{"length", "chunked"} { // the latter may be stored, until it is too large
		sim.Run(t, 2, func(t testing.TB, w *sim.World) {
			s := newSimulation(t, w, simSetup{steady: true})
			w.Net.BufferMax = 8 << 10
			r := &simResource{path: "/0", status: 200, storage: "max-age=3600", length: 200 << 10, framing: framing}
			s.alone(1, 1, r, func(c *simClient) {
				c.http2, c.slow = true, time.Second
				c.join()
			})
			s.pass(500 * time.Millisecond)
			held := int64(0)
			for _, r := range s.engine.Reactors() {
				held += r.Stats().BufBytes
			}
			if held > 128<<10 {
				t.Fatalf("%d bytes wait for a client that does not read", held)
			}
			s.run()
		})
	}
}

// An answer that is fetched again whenever it is too old is one variant, however often.
func TestSim_renewalIsNoFurtherVariant(t *testing.T) {
	w := sim.NewWorld(1)
	s := newSimulation(t, w, simSetup{steady: true})
	r := &simResource{path: "/0", status: 200, storage: "max-age=1", vary: "X-Lang", framing: "length"}
	s.alone(100, 1, r, func(c *simClient) { w.After(time.Duration(len(s.clients))*1500*time.Millisecond, c.join) })
	s.run()
	if n := s.zone.Stats().Reasons[policy.ReasonVary]; n != 0 {
		t.Errorf("%d answers were not stored", n)
	}
}

// The engine stops in the middle of it all: neither a descriptor nor memory of the engine is left.
func TestSim_stops(t *testing.T) {
	sim.Run(t, 200, func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, simSetup{faults: true})
		s.addResources()
		s.addClients()
		for range s.rng.IntN(500) {
			w.Step()
		}
		s.engine.Stop()
		if fds := w.OpenFDs(); len(fds) > 0 {
			t.Fatalf("descriptors %v are left open", fds)
		}
		for _, r := range s.engine.Reactors() {
			if n := r.Stats().BufBytes; n != 0 {
				t.Fatalf("%d bytes are held by an engine that has stopped", n)
			}
		}
		s.zone.Close()
	})
}

// mending is a Destination that makes answers whole that were cut off.
type mending struct{ proxy.Destination }

// Forwards is never called.
func (mending) Forwards() {}

// Open is that of the Destination.
func (d mending) Open(x *proxy.Exchange, to session.Receiver) (session.Stream, error) {
	return d.Destination.Open(x, &mended{Receiver: to})
}

// mended gives the answer to a Receiver.
type mended struct {
	session.Receiver
	begun bool
}

// OnHead does not tell how long the answer is.
func (m *mended) OnHead(s session.Stream, h *message.Head, end bool) {
	if m.begun = h.Status >= 200; !end {
		h.Length = -1
	}
	m.Receiver.OnHead(s, h, end)
}

// OnReset is the end of an answer that has begun.
func (m *mended) OnReset(s session.Stream, code session.Code, cause error) {
	if m.begun {
		m.Receiver.OnData(s, nil, true)
		return
	}
	m.Receiver.OnReset(s, code, cause)
}

// changing is a filter of answers of the backend, before the cache sees them.
func changing(f func(h *message.Head)) *proxy.Filter {
	return &proxy.Filter{Name: "changing", UpstreamResponse: func(x *proxy.Exchange) { f(&x.Response) }}
}

// The simulations above can fail: each of these has a fault that they find.
func TestSim_canaries(t *testing.T) {
	for _, c := range []struct {
		fault string
		play  func(t testing.TB, w *sim.World, o simSetup) *simulation
		o     simSetup
	}{
		{"bodies are mixed up", calm, simSetup{lies: true}},
		{"nobody waits for the answer to another request", calm, simSetup{route: Route{LockTimeout: 1}}},
		{"answers do not say by what they vary", rough, simSetup{
			filter: changing(func(h *message.Head) { h.DelID(message.Vary) }),
		}},
		{"what is not to be stored is stored", rough, simSetup{filter: changing(func(h *message.Head) {
			if h.Get("Cache-Control") == "no-store" {
				h.Set("Cache-Control", "max-age=3600")
			}
		})}},
		{"what is too old is given", rough, simSetup{filter: changing(func(h *message.Head) {
			if h.Get("Cache-Control") == "max-age=1" {
				h.Set("Cache-Control", "max-age=3600")
			}
		})}},
		{"what is cut off is taken for the whole", rough, simSetup{faults: true, mends: true}},
	} {
		seed := sim.MustFail(t, 400, func(t testing.TB, w *sim.World) { c.play(t, w, c.o) })
		t.Logf("%s: found by seed %d", c.fault, seed)
	}
}
