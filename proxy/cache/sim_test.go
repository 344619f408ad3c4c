package cache

import (
	"bytes"
	"cmp"
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
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/forward/retry"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// simEpoch is the wall clock when the clock of a World says 0. Zone.Purge reads the clock of the machine, which is
// before that: its stamps are one more than the last ones.
var simEpoch = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()

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

// simSetup says what may happen in a simulation.
type simSetup struct {
	calm     bool          // every answer may be stored, and comes in time: nothing is fetched without need
	varies   bool          // calm, with answers that vary
	visitors bool          // calm, with requests to whom answers are their own
	ages     bool          // calm, with answers that are soon stale, or asked for each time
	purges   bool          // answers are purged
	faults   bool          // the network and the origin fail, and requests fail with them
	muxed    bool          // the origin speaks HTTP/2
	steady   bool          // every answer is as its simResource says
	lag      time.Duration // of the clock of the second reactor
	to       *proxy.ToOptions
	timeout  time.Duration // of every request
	route    Route
	filter   *proxy.Filter
	lies     bool // the origin mixes up bodies
	confuses bool // 304 is about whatever came last
	deaf     bool // the cache is not told what was changed
	mends    bool // answers that are cut off seem whole
	softens  bool // hard purges are soft
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
	purged    []*simPurge
	others    int                               // names that are purged after each one, which gives way to them
	turns     int                               // purges answered, and requests sent
	held      map[string]version                // what the cache has, where it is calm, by simAnswer.key
	hits      map[string][]simHit               // from it, likewise
	settled   bool                              // nothing fails any more
	fails     string                            // how all that the origin answers fails: a failure, or its status
	holds     func(a *simAnswer, m moment) bool // the origin stands still there until this is false
	stands    time.Duration                     // so long the origin sends nothing in the middle of a body
	delay     time.Duration                     // a request that is sent has come to the origin
	spread    time.Duration                     // clients come within that time
	lastTurn  int
	asked     int // requests that went to the origin, some of which may still come to it

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
	s := &simulation{simSetup: o, t: t, w: w, rng: w.Rand(), held: map[string]version{}, hits: map[string][]simHit{}}
	s.route.Tags, s.route.PurgeFrom = []string{"Cache-Tag"}, []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
	s.delay = 100 * time.Millisecond
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
	if s.zone, err = New(Options{Reactors: 2, Memory: 8 << 20, Bodies: 4 << 20}); err != nil {
		t.Fatal(err)
	}
	s.zone.skew.Store(simEpoch)
	address := poller.Addr{IP: netip.MustParseAddrPort("10.0.0.1:80")}
	s.origin = w.Serve(address)
	s.origin.Handle = s.serve
	protocol := upstream.H1
	if o.muxed {
		s.origin.Handle, protocol = s.serveMuxed, upstream.H2
	}
	s.upstream = upstream.New(s.engine, upstream.Options{
		Protocol: protocol,
		Name:     "sim", Retries: s.rng.IntN(4) - 1, Connect: time.Second, Backends: backend.Of(address.String()),
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
	to := proxy.Destination(numbering{proxy.To(s.upstream, s.to), s})
	if s.mends {
		to = mending{to}
	}
	f := s.zone.Before(to, s.route, nil).(*front)
	s.fronts = append(s.fronts, f)
	route := proxy.Route{Name: "all", To: f, Timeout: s.timeout, BufferRequest: 1 << 10}
	if s.deaf {
		route.To = deaf{f}
	}
	snapshot, err := proxy.NewSnapshot([]proxy.Route{route}, s.filters())
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

// bodySize draws the size of a body: mostly small, now and then larger than a record has room for, or than is stored.
func (s *simulation) bodySize() int {
	switch n := s.rng.IntN(64); {
	case n < 6:
		return 0
	case n < 8:
		return 1
	case n == 8:
		return pick(s.rng, bodyMax, fileMin, fileMin-1)
	case n == 9 && s.calm:
		return bodyMax + 1 + s.rng.IntN(2)*s.rng.IntN(150_000)
	case n == 9:
		return bodyMax + 1 + s.rng.IntN(2)*s.rng.IntN(300_000)
	case n < 12:
		return s.rng.IntN(bodyMax)
	case n < 20:
		return s.rng.IntN(8000)
	}
	return s.rng.IntN(400)
}

// The Cache-Control of answers: of some that are soon stale, and of others.
var (
	simAging = []string{
		"max-age=1", "max-age=2", "max-age=0", "no-cache, max-age=60", "s-maxage=2", "max-age=1, must-revalidate",
		"max-age=1, stale-while-revalidate=2", "max-age=0, stale-while-revalidate=3",
	}
	simStorages = append([]string{
		"no-store", "private", "", "", "public, max-age=60", "no-cache", "max-age=0, stale-if-error=5",
		"max-age=1, stale-while-revalidate=1, stale-if-error=3", "max-age=1, stale-if-error=0",
	}, simAging...)
)

func (s *simulation) addResources() {
	for i := range 1 + s.rng.IntN(4) {
		r := &simResource{path: fmt.Sprintf("/%d", i), status: 200, storage: "max-age=3600", length: s.bodySize()}
		r.framing = pick(s.rng, "length", "length", "chunked", "close")
		if !s.calm || s.varies {
			r.vary = pick(s.rng, "", "", "X-Lang", "Accept-Encoding, X-Lang")
		}
		r.status = pick(s.rng, 200, 200, 200, 404, 301)
		r.tag, r.dated = pick(s.rng, "", `"`, `W/"`), s.rng.IntN(2) == 0
		if s.purges {
			r.path = fmt.Sprintf("/%s/%d", pick(s.rng, "a", "b"), i)
			r.tags, r.groups = s.someTags(r), pick(s.rng, "", `"g0"`, `"g0", "g1"`)
		}
		if s.ages {
			r.storage, r.dated = pick(s.rng, simAging...), r.dated || r.tag == ""
		}
		if !s.calm && s.rng.IntN(2) == 0 {
			r.storage = pick(s.rng, simStorages...)
			r.vary = pick(s.rng, r.vary, r.vary, "*", "X-Lang, *")
			r.setCookie = s.rng.IntN(6) == 0
			r.status = pick(s.rng, r.status, r.status, 500, 503)
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
		c := s.addClient()
		c.http2, c.pipelines = s.rng.IntN(4) == 0, s.rng.IntN(3) == 0
		for range 1 + s.rng.IntN(pick(s.rng, 1, 3)) {
			c.requests = append(c.requests, s.request(pick(s.rng, s.resources...)))
		}
		c.unsent = c.requests
		c.old = len(c.requests) == 1 && s.rng.IntN(6) == 0
		if s.rng.IntN(6) == 0 {
			c.slow = time.Duration(s.rng.Int64N(int64(pick(s.rng, 50*time.Millisecond, 3*time.Second))))
			if s.faults {
				c.slow *= 3
			}
		}
		first := c.requests[0].of
		s.after(pick(s.rng, 0, s.spread), func() { s.comes(c, first) })
		if s.rng.IntN(5) == 0 {
			s.leaves(c, first)
		}
	}
	for range s.rng.IntN(3) { // what they know to have changed, they ask for
		r := pick(s.rng, s.resources...)
		c := s.addClient(s.request(r), s.request(r), s.request(pick(s.rng, s.resources...)))
		c.requests[0].method = "POST"
		s.after(pick(s.rng, 0, s.spread), func() { s.comes(c, r) })
	}
	if s.purges {
		s.addPurges()
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

// addPurges draws clients that purge answers, by PURGE or by Zone.Purge, and then ask for some. In calm runs there are
// so few that no bucket of names overflows.
func (s *simulation) addPurges() {
	most := 4
	if !s.calm && s.rng.IntN(2) == 0 {
		most, s.others = 12, 16
		s.zone.generations.buckets = make([]bucket, pick(s.rng, 1, 2))
	}
	for range 1 + s.rng.IntN(most) {
		r := pick(s.rng, s.resources...)
		c := s.addClient(s.request(r), s.request(r), s.request(pick(s.rng, s.resources...)))
		c.http2 = s.rng.IntN(4) == 0
		if s.rng.IntN(3) == 0 {
			c.requests[0].wanted = wanted{method: "PURGE", soft: pick(s.rng, "", "1")}
		} else {
			c.purge = &simPurge{kind: PurgeKind(s.rng.IntN(int(PurgeAll) + 1)), soft: s.rng.IntN(2) == 0}
			c.purge.name = map[PurgeKind]string{
				PurgeURL: r.path, PurgePrefix: pick(s.rng, "/", "/a/", "/b/", "/a/0/"),
				PurgeHost: pick(s.rng, "sim", "other"), PurgeTag: pick(s.rng, "t0", "t1", "own"+r.path, "none"),
			}[c.purge.kind]
		}
		s.after(pick(s.rng, 0, s.spread), func() { s.comes(c, r) })
	}
}

// purge has the zone purge p.
func (s *simulation) purge(p *simPurge) {
	p.asked, p.drawn = s.asked, len(s.answers)
	s.purged = append(s.purged, p)
	z := Purge{Kind: p.kind, Name: p.name, Soft: p.soft || s.softens}
	if p.kind == PurgeURL || p.kind == PurgePrefix {
		z.Name = pick(s.rng, "http://sim", "https://SIM:8443") +
			pick(s.rng, p.name, strings.Replace(p.name, "/a", "/%61", 1))
	}
	s.zone.generations.next(simEpoch + s.w.Now())
	if _, err := s.zone.Purge(&z); err != nil {
		s.t.Fatal(err)
	}
	for i := range s.others {
		_, _ = s.zone.Purge(&Purge{Kind: PurgeTag, Name: strconv.Itoa(i)})
	}
	s.answered(p)
}

// addClient adds a client of HTTP/1.
func (s *simulation) addClient(requests ...*simRequest) *simClient {
	c := &simClient{s: s, requests: requests, unsent: requests}
	s.clients = append(s.clients, c)
	return c
}

// comes has c come soon, maybe at a moment of an answer of r.
func (s *simulation) comes(c *simClient, r *simResource) {
	if m := s.rng.IntN(2 * int(moments)); m < int(moments) {
		r.waiting[m] = append(r.waiting[m], c.join)
		s.after(50*time.Millisecond, c.join) // should the moment not come
	} else {
		s.after(pick(s.rng, time.Millisecond, 30*time.Millisecond, 1500*time.Millisecond), c.join)
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
	if s.rng.IntN(6) == 0 {
		q.method = pick(s.rng, "HEAD", "HEAD", "POST", "QUERY", "QUERY")
	}
	if q.method == "QUERY" {
		q.content = pick(s.rng, "", "a", "a")
	}
	q.lang = pick(s.rng, "", "de", "de", "fr")
	q.coding = pick(s.rng, "", "", "gzip", "br, gzip")
	q.cookie = pick(s.rng, "", "", "", "a=1")
	if s.rng.IntN(6) == 0 {
		q.part = pick(s.rng, "bytes=0-1", "bytes=0-0", "bytes=3-", "bytes=9-70000", "bytes=-5", "bytes=-0",
			"bytes=200-210", "bytes=99999-", "bytes=2-1", "bytes=0-1, 4-5", "lines=1-2")
		q.draws = pick(s.rng, "", "", "range")
	}
	if !s.calm && s.rng.IntN(8) == 0 {
		q.control = pick(s.rng, "no-cache", "max-age=0", "min-fresh=1", "max-stale=2", "only-if-cached", "no-store")
	}
	if s.rng.IntN(32) == 0 {
		q.must = "*"
	}
	if q.isSafe() && s.rng.IntN(6) == 0 {
		q.draws = pick(s.rng, "tag", "tag", "date", "both")
	}
	if s.rng.IntN(12) == 0 && (!s.calm || s.visitors) {
		q.authorization = "me"
	}
	return q
}

// The origin.

// outlet is where the origin sends an answer: a connection of HTTP/1, or a stream.
type outlet interface {
	hint()                                        // sends 103
	send(a *simAnswer, wire []byte, from, to int) // a piece of it
	die()                                         // ends with a failure
	close()                                       // the connection ends in order
}

// simOrigin is the origin on one connection of HTTP/1.
type simOrigin struct{ *sim.Peer }

func (o simOrigin) hint() { o.SendString("HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n") }

func (o simOrigin) send(_ *simAnswer, wire []byte, from, to int) { o.Send(wire[from:to]) }

func (o simOrigin) die() { o.Reset() }

func (o simOrigin) close() { o.Close() }

// serve plays the origin on one connection of HTTP/1.
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
		n := 0
		if _, length, found := strings.Cut(strings.ToLower(string(head)), "\r\ncontent-length: "); found {
			fmt.Sscan(length, &n)
		}
		if len(rest) < n {
			return
		}
		in, busy = rest[n:], true
		s.respond(simOrigin{p}, s.answer(string(head), string(rest[:n])), func() {
			busy = false
			next()
		})
	}
	p.Handle = func(*sim.Peer) { next() }
	next()
}

// respond sends a after some time.
func (s *simulation) respond(to outlet, a *simAnswer, done func()) {
	s.reached(a.of, whenAsked)
	play := func() { s.play(to, a, done) }
	switch wait := s.rng.IntN(4); {
	case s.holds != nil:
		s.when(func() bool { return !s.holds(a, whenAsked) }, play)
	case wait == 0 && !s.calm:
		s.after(300*time.Millisecond, play)
	case wait == 1:
		s.after(20*time.Millisecond, play)
	default:
		play()
	}
}

// muxOrigin is the origin on one connection of HTTP/2.
type muxOrigin struct {
	s       *simulation
	p       *sim.Peer
	codec   h2.Conn
	in      []byte
	streams []*muxStream // that are not over
}

// muxStream is one request to a muxOrigin.
type muxStream struct {
	origin  *muxOrigin
	stream  *h2.Stream
	head    string
	content []byte
	out     []byte // of the body, that waits for a window
	last    bool   // it ends with that
	over    bool
}

// serveMuxed plays the origin on one connection of HTTP/2.
func (s *simulation) serveMuxed(p *sim.Peer) {
	o := &muxOrigin{s: s, p: p}
	o.codec.Init(h2.Server, nil, s.w.Now())
	p.Handle = func(*sim.Peer) { o.look() }
	o.look()
}

func (o *muxOrigin) look() {
	o.in = append(o.in, o.p.Take()...)
	if o.p.Closed() {
		o.p.Close()
		o.streams = nil
		return
	}
	var h message.Head
	for {
		n, ev := o.codec.Next(o.in, &h, o.s.w.Now())
		o.in = o.in[n:]
		i := slices.IndexFunc(o.streams, func(m *muxStream) bool { return m.stream == ev.Stream })
		switch {
		case ev.Kind == h2.NeedMore:
			o.flush()
			return
		case ev.Kind == h2.Fault:
			o.s.t.Fatalf("the origin of HTTP/2: %v", ev.Err)
		case ev.Kind == h2.HeadDone:
			i = len(o.streams)
			o.streams = append(o.streams, &muxStream{origin: o, stream: ev.Stream, head: requestText(&h)})
		case i < 0:
			continue
		case ev.Kind == h2.Data:
			o.streams[i].content = append(o.streams[i].content, ev.Body...)
			o.codec.Release(ev.Stream, len(ev.Body))
		case ev.Kind == h2.Reset:
			o.streams[i].end()
			continue
		}
		if m := o.streams[i]; ev.End {
			o.s.respond(m, o.s.answer(m.head, string(m.content)), func() {})
		}
	}
}

// requestText writes a request of HTTP/2 as one of HTTP/1.
func requestText(h *message.Head) string {
	b := fmt.Appendf(nil, "%s %s HTTP/1.1", h.MethodBytes(), h.Bytes(h.Target))
	for name, value := range h.All() {
		b = fmt.Appendf(b, "\r\n%s: %s", name, value)
	}
	return string(b)
}

// flush sends what there is room for.
func (o *muxOrigin) flush() {
	var b []byte
	for _, m := range slices.Clone(o.streams) {
		if len(m.out) == 0 && !m.last {
			continue
		}
		var n int
		var err error
		if b, n, err = o.codec.AppendData(b, m.stream, m.out, m.last); err != nil {
			o.s.t.Fatal(err)
		}
		if m.out = m.out[n:]; m.last && len(m.out) == 0 {
			m.end()
		}
	}
	if o.codec.Pending() {
		b = o.codec.AppendControl(b)
	}
	o.p.Send(b)
}

// end has nothing more sent: the stream may be another one's.
func (m *muxStream) end() {
	m.over, m.origin.streams = true, slices.DeleteFunc(m.origin.streams, func(o *muxStream) bool { return o == m })
}

func (m *muxStream) hint() {
	h := message.Head{Status: 103}
	h.Add("Link", "</x>")
	m.sendHead(&h, false)
}

func (m *muxStream) sendHead(h *message.Head, end bool) {
	if m.over {
		return
	}
	b, err := m.origin.codec.AppendHead(nil, m.stream, h, end)
	if err != nil {
		m.origin.s.t.Fatal(err)
	}
	if m.origin.p.Send(b); end {
		m.end()
	}
}

// send sends what belongs to the bytes of an answer of HTTP/1 without chunks. An answer without a body may go on after
// its head.
func (m *muxStream) send(a *simAnswer, wire []byte, from, to int) {
	_, headLen := a.wire()
	if m.over || to < headLen {
		return
	}
	if from < headLen {
		h := message.Head{Status: uint16(a.status), Length: message.LengthUnknown}
		for l := range strings.SplitSeq(string(wire[:headLen]), "\r\n") {
			if name, value, ok := strings.Cut(l, ": "); ok && name == "Content-Length" {
				h.Length = int64(len(a.sent))
			} else if ok && name != "Transfer-Encoding" {
				h.Add(name, value)
			}
		}
		end := len(wire) == headLen && a.whole() && m.origin.s.rng.IntN(2) == 0
		if m.sendHead(&h, end); end {
			return
		}
		from = headLen
	}
	m.out = append(m.out, wire[from:to]...)
	m.last = to == len(wire) && a.whole()
	m.origin.flush()
}

func (m *muxStream) die() {
	if m.over {
		return
	}
	m.origin.codec.Reset(m.stream, h2.InternalError)
	m.end()
	m.origin.flush()
}

func (m *muxStream) close() { m.origin.p.Close() }

// play sends a, whole or not, in pieces with time between them.
func (s *simulation) play(to outlet, a *simAnswer, done func()) {
	if s.rng.IntN(16) == 0 {
		to.hint()
	}
	if s.muxed && a.framing == "close" {
		a.framing = "chunked"
	}
	wire, headLen := a.wire()
	if s.muxed && !a.bodiless() {
		wire = append(wire[:headLen:headLen], a.sent...)
	}
	if s.lies && a.number%2 == 1 && len(wire) == headLen+len(a.body) {
		copy(wire[headLen:], s.bodyOf(a.number-1, len(a.body)))
	}
	end := len(wire)
	switch a.failure {
	case "dies":
		to.die()
		return
	case "closes":
		to.close()
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
		if a.framing == "close" && a.failure == "reset" && !a.bodiless() && s.rng.IntN(2) == 0 {
			end = len(wire) // all is there, but no FIN
		}
		if a.framing == "close" && a.failure == "short" && !a.bodiless() && end >= headLen {
			a.failure, a.body = "", a.body[:end-headLen] // FIN is all that tells the end
			a.sent = a.body
		}
	}
	places := s.places(headLen, len(wire), end)
	switch {
	case s.stands > 0:
		places = []int{(headLen + len(wire)) / 2, len(wire)}
	case s.holds != nil && len(wire) > headLen+2:
		places = []int{headLen, headLen + 1, len(wire) - 1, len(wire)}
	}
	s.sendPieces(to, a, wire[:end], places, done)
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

// sendPieces sends b, which is what there is of a, with time between its pieces.
func (s *simulation) sendPieces(to outlet, a *simAnswer, b []byte, places []int, done func()) {
	sent, pause := 0, pick(s.rng, 0, 100*time.Microsecond, 2*time.Millisecond, 10*time.Millisecond)
	_, headLen := a.wire()
	var piece func()
	piece = func() {
		to.send(a, b, sent, places[0])
		before, now := sent, whenAsked
		if sent = places[0]; before < headLen && sent >= headLen {
			a.begun = s.w.Now()
		}
		for m, at := range [...]int{whenHeadSent: headLen, inTheMiddle: headLen + 1, beforeLastByte: len(b) - 1} {
			if before < at && sent >= at {
				now = moment(m)
				s.reached(a.of, now)
			}
		}
		if places = places[1:]; len(places) > 0 {
			switch {
			case s.stands > 0:
				s.w.After(s.stands, piece)
			case s.holds != nil:
				s.when(func() bool { return !s.holds(a, now) }, piece)
			default:
				s.after(pause, piece)
			}
			return
		}
		a.ended = simEpoch + s.w.Now()
		switch {
		case a.failure == "reset":
			s.after(pause, to.die)
		case a.failure != "", a.framing == "close":
			s.after(pause, to.close)
		case s.faults && !s.settled && s.fails == "" && s.rng.IntN(8) == 0:
			to.close()
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
	draws  string // conditions that it makes when it is sent
	sent   int64
	answer *version // once its head is there
	ours   bool     // the proxy has answered
	how    told
	turn   int       // simulation.turns
	purge  *simPurge // it is a PURGE
	want   []byte    // the body that is right
	whole  bool      // it is all that there is
	body   []byte
	over   bool
}

// String describes q.
func (q *simRequest) String() string {
	if q.answer != nil {
		return fmt.Sprintf("%s %+v was given answer %d", q.of.path, q.wanted, q.answer.number)
	}
	return fmt.Sprintf("%s %+v", q.of.path, q.wanted)
}

// send notes that q is sent, and makes its conditions, by what the origin has answered until now.
func (s *simulation) send(q *simRequest) {
	q.sent = s.w.Now()
	s.turns++
	if q.turn = s.turns; q.method == "PURGE" {
		q.purge = &simPurge{kind: PurgeURL, name: q.of.path, soft: q.soft != "", asked: s.asked, drawn: len(s.answers)}
		s.purged = append(s.purged, q.purge)
	}
	tag, modified := `"none"`, simDate(0)
	if k := q.of.latest; k != nil {
		tag, modified = cmp.Or(k.tag, tag), cmp.Or(k.modified, simDate(k.at))
	}
	switch q.draws {
	case "tag":
		q.match = pick(s.rng, tag, tag, `"x", `+tag, "W/"+bare(tag), `"none"`, "*")
	case "date":
		q.since = pick(s.rng, modified, modified, simDate(0), simDate(simEpoch+int64(time.Hour)))
	case "both":
		q.match, q.since = pick(s.rng, tag, `"none"`), modified
	case "range":
		q.ifRange = pick(s.rng, tag, `"none"`, modified)
	}
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
	purge                 *simPurge // before it asks
}

// join connects c and sends what it asks for.
func (c *simClient) join() {
	if c.joined || c.over {
		return
	}
	if c.joined = true; c.purge != nil {
		c.s.purge(c.purge)
	}
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
		c.s.send(q)
		var h message.Head
		h.SetMethod(q.method)
		h.SetTarget(q.of.path)
		h.SetAuthority("sim")
		for _, f := range q.fields() {
			if *f.value != "" {
				h.Add(f.name, *f.value)
			}
		}
		h.Length = int64(len(q.content))
		stream, err := c.codec.Open(c.s.w.Now())
		if err != nil {
			c.s.t.Fatal(err)
		}
		c.streams[stream] = q
		if out, err = c.codec.AppendHead(out, stream, &h, q.content == ""); err == nil && q.content != "" {
			out, _, err = c.codec.AppendData(out, stream, []byte(q.content), true)
		}
		if err != nil {
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
	c.s.send(q)
	if c.old {
		version = "1.0"
	}
	b := fmt.Appendf(nil, "%s %s HTTP/%s\r\nHost: sim\r\n", q.method, q.of.path, version)
	for _, f := range q.fields() {
		if *f.value != "" {
			b = fmt.Appendf(b, "%s: %s\r\n", f.name, *f.value)
		}
	}
	if q.method == "POST" || q.method == "QUERY" {
		b = fmt.Appendf(b, "Content-Length: %d\r\n", len(q.content))
	}
	c.peer.Send(append(append(b, "\r\n"...), q.content...))
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
		c.s.judgeHead(q, m.status, m.fields)
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
			fields := map[string]string{}
			for name, value := range h.All() {
				addField(fields, string(name), string(value))
			}
			c.s.judgeHead(q, int(h.Status), fields)
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
		addField(m.fields, name, value)
	}
	m.status, _ = strconv.Atoi(strings.Fields(lines[0])[1])
	length, stated := m.fields["content-length"]
	n, _ := strconv.Atoi(length)
	switch {
	case headOnly, m.status < 200, m.status == 204, m.status == 304:
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
	m.body = make([]byte, 0, len(rest))
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
			c := s.addClient(&simRequest{of: r, wanted: wanted{method: "GET", lang: lang}})
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
	if s.zone.Close(); s.zone.bodies.live.Load() != 0 {
		s.t.Fatalf("%d bytes of bodies are left", s.zone.bodies.live.Load())
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
	for _, l := range s.zone.locals {
		for f := l.free; f != nil; f = f.next {
			if n := f.refs.Load(); n != 0 || f.buf != nil || !f.fork.Over() {
				return fmt.Sprintf("a fill with %d references", n)
			}
		}
	}
	b := &s.zone.bodies
	switch n := s.zone.filling.Load(); {
	case n != 0:
		return fmt.Sprintf("%d bytes of fills", n)
	case b.live.Load() != b.store.Weight():
		return fmt.Sprintf("%d bytes of bodies, of which the store has %d", b.live.Load(), b.store.Weight())
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
	o.calm, o.parks, o.muxed = true, w.Rand().IntN(4) == 0, w.Rand().IntN(4) == 0
	s := newSimulation(t, w, o)
	if s.ages {
		s.spread = 4 * time.Second
	}
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
	o.route.Abandon, o.parks, o.muxed = rng.IntN(4) == 0, rng.IntN(4) == 0, rng.IntN(4) == 0
	o.route.Rules.Honour = rng.IntN(3) == 0
	o.route.RangeFill = pick[int64](rng, 0, 0, 1, 100)
	o.route.ObjectMax = pick[int64](rng, 0, 0, 0, 100_000, bodyMax, 1000)
	o.route.Rules.StaleWhile = pick(rng, 0, 0, 2*time.Second)
	o.route.Rules.StaleOnError = pick(rng, 0, 0, 3*time.Second)
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
	s.spread, s.delay = pick(rng, 0, 4*time.Second), 2*time.Second
	if s.faults {
		s.delay = time.Minute
	}
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
func TestSim_fetchedOnce(t *testing.T) { simulate(t, 600, calm, simSetup{}) }

// The same where answers vary.
func TestSim_variantsAreFetchedOnce(t *testing.T) {
	simulate(t, 400, calm, simSetup{varies: true})
}

// What is stale is asked for again, with conditions, and once for all who wait, unless each has to ask.
func TestSim_renewedOnce(t *testing.T) { simulate(t, 400, calm, simSetup{ages: true}) }

// The same where answers vary.
func TestSim_variantsAreRenewedOnce(t *testing.T) {
	simulate(t, 300, calm, simSetup{ages: true, varies: true})
}

// The same where visitors, whose answers are not stored, are the first to ask.
func TestSim_visitorsKeepNobodyFromTheCache(t *testing.T) {
	simulate(t, 300, calm, simSetup{visitors: true})
}

// The same where the clock of a reactor, which it reads once in a tick, is behind that of another one.
func TestSim_clocksDiffer(t *testing.T) {
	simulate(t, 300, calm, simSetup{ages: true, lag: time.Millisecond})
}

// What may not be stored is given to none but the sender of its request.
func TestSim_notAllIsStored(t *testing.T) { simulate(t, 800, rough, simSetup{}) }

// What is cut off is nobody's whole answer and never stored, and failures show.
func TestSim_failuresAreClean(t *testing.T) { simulate(t, 800, rough, simSetup{faults: true}) }

// What was purged is not given to requests that come later, or is stale; and what was not named stays.
func TestSim_purgedIsGone(t *testing.T) { simulate(t, 200, calm, simSetup{purges: true}) }

// The same where answers are renewed and vary, and the clock of a reactor is behind.
func TestSim_purgedIsNotRenewed(t *testing.T) {
	simulate(t, 200, calm, simSetup{purges: true, ages: true, varies: true, lag: time.Millisecond})
}

// The same where not all is stored, and more names are purged than there is room for.
func TestSim_purgedStaysGone(t *testing.T) { simulate(t, 100, rough, simSetup{purges: true}) }

// The same where all fails.
func TestSim_purgedIsNoWayOut(t *testing.T) {
	simulate(t, 100, rough, simSetup{purges: true, faults: true})
}

// alone has n clients ask for one thing, each so often, and as it likes.
func (s *simulation) alone(n, requests int, r *simResource, like func(c *simClient)) {
	s.resources = []*simResource{r}
	for range n {
		c := s.addClient()
		for range requests {
			c.requests = append(c.requests, &simRequest{of: r, wanted: wanted{method: "GET", lang: "de"}})
		}
		c.unsent = c.requests
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
			s.holds = func(*simAnswer, moment) bool { return s.zone.Stats().Followers < uint64(all-1) }
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

// A client that takes nothing of a stored body in a file is cut off, as one that takes nothing of any answer; others
// have theirs meanwhile.
func TestSim_stalledClientIsCutOff(t *testing.T) {
	sim.Run(t, 10, func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, simSetup{calm: true, steady: true})
		w.Net.BufferMax = 8 << 10
		r := &simResource{path: "/0", status: 200, storage: "max-age=3600", length: 200 << 10, framing: "length"}
		s.alone(6, 1, r, func(c *simClient) {
			if len(s.clients) == 1 {
				c.join()
				return
			}
			w.After(time.Second, c.join)
		})
		stalled := s.clients[1]
		stalled.slow, stalled.http2 = time.Minute, s.rng.IntN(2) == 0
		s.pass(900 * time.Millisecond)
		if st := s.zone.Stats(); st.Stored != 1 || st.Bodies != 1 {
			t.Fatalf("%+v", st)
		}
		s.pass(4 * time.Second)
		if n := s.active(); n != 1 {
			t.Fatalf("%d exchanges before the time to take more is over", n)
		}
		s.pass(8 * time.Second)
		if n := s.active(); n != 0 {
			t.Fatalf("%d exchanges after that", n)
		}
	})
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
			if held > 160<<10 {
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

// What is changed or purged at any moment of a fill, of its renewal, or of one in the background, is not given to those
// who ask after they know.
func TestSim_changedAtEachMoment(t *testing.T) {
	for _, storage := range []string{"max-age=3600", "max-age=1", "max-age=1, stale-while-revalidate=60", "max-age=0"} {
		for i := range 2 * moments {
			sim.Run(t, 10, func(t testing.TB, w *sim.World) {
				m, purges := i/2, i%2 == 1
				s := newSimulation(t, w, simSetup{calm: true, steady: true, ages: true, purges: purges})
				r := &simResource{path: "/0", status: 200, storage: storage, length: 2000, tag: `"`, tags: "t0"}
				r.framing, r.dated = pick(s.rng, "length", "chunked", "close"), s.rng.IntN(2) == 0
				start := time.Duration(0)
				s.alone(12, 1, r, func(c *simClient) {
					if storage != "max-age=3600" && len(s.clients) == 1 {
						start = 3 * time.Second
						c.join()
						return
					}
					w.After(start, func() { s.after(5*time.Millisecond, c.join) })
				})
				post := &simRequest{of: r, wanted: wanted{method: "POST"}}
				c := s.addClient(post, &simRequest{of: r, wanted: wanted{method: "GET"}})
				if purges {
					c.requests, c.unsent = c.requests[1:], c.requests[1:]
					c.purge = pick(s.rng, &simPurge{kind: PurgeURL, name: "/0"}, &simPurge{kind: PurgeTag, name: "t0"})
					c.purge.soft = s.rng.IntN(2) == 0
				}
				w.After(start, func() { r.waiting[m] = append(r.waiting[m], c.join) })
				w.After(start+time.Second, c.join) // a 304 has not all of them
				if start > 0 && purges {
					w.After(start-1, func() { r.tags = pick(s.rng, "t0", "t1") })
				}
				s.holds = func(a *simAnswer, at moment) bool {
					done := purges && c.joined || post.answer != nil
					return at == m && a.to.method == "GET" && time.Duration(w.Now()) > start && !done
				}
				s.run()
				if len(s.answers) < 3 && !purges {
					t.Fatalf("the origin was not asked any more\n%s", s.history())
				}
			})
		}
	}
}

// Those who are given what is stale while it is renewed do not wait for that, and the next ones get what is new.
func TestSim_renewedInTheBackground(t *testing.T) {
	sim.Run(t, 30, func(t testing.TB, w *sim.World) {
		s := newSimulation(t, w, simSetup{calm: true, steady: true})
		r := &simResource{path: "/0", status: 200, storage: "max-age=1, stale-while-revalidate=60", length: 2000}
		r.framing, r.tag = pick(s.rng, "length", "chunked", "close"), pick(s.rng, "", `"`)
		s.holds = func(a *simAnswer, _ moment) bool { return a.number == 1 && w.Now() < int64(5500*time.Millisecond) }
		s.alone(20, 1, r, func(c *simClient) {
			if len(s.clients) > 1 {
				w.After(3*time.Second, func() { s.after(1300*time.Millisecond, c.join) })
			} else {
				c.join()
			}
		})
		s.pass(4450 * time.Millisecond)
		for _, c := range s.clients {
			if took := time.Duration(c.ended - c.requests[0].sent); !c.over || took > 100*time.Millisecond {
				t.Fatalf("a request for what is being renewed took %v: %v", took, c.requests[0])
			}
		}
		if n := len(s.answers); n != 2 {
			t.Fatalf("the origin was asked %d times\n%s", n, s.history())
		}
		s.run()
	})
}

// Where the origin fails, all get what is stored, if that may be, and the origin is asked once in a second; else all
// fail.
func TestSim_staleWhereTheOriginFails(t *testing.T) {
	for _, c := range []struct {
		storage, first, fails, want string
		onError                     time.Duration
	}{
		{"max-age=1, stale-if-error=60", "no", "503", "stale-if-error", 0},
		{"max-age=1, stale-if-error=60", "no", "dies", "stale-if-error", 0},
		{"max-age=1, stale-if-error=60", "dies", "half head", "stale-if-error", time.Second},
		{"max-age=1", "no", "dies", "stale-on-error", time.Minute},
		{"max-age=1", "dies", "silent", "stale-on-error", time.Minute},
		{"max-age=1", "503", "dies", "stale-on-error", time.Minute},
		{"max-age=1", "no", "503", "", time.Minute},
		{"max-age=1", "503", "dies", "", 0},
		{"max-age=1, stale-if-error=1", "503", "dies", "", time.Minute},
		{"max-age=1, must-revalidate, stale-if-error=60", "503", "dies", "", time.Minute},
	} {
		sim.Run(t, 10, func(t testing.TB, w *sim.World) {
			rules := policy.Rules{StaleOnError: c.onError}
			s := newSimulation(t, w, simSetup{faults: true, steady: true, route: Route{Rules: rules}})
			r := &simResource{path: "/0", status: 200, storage: c.storage, length: 2000, tag: `"`, framing: "length"}
			s.delay, s.fails = time.Minute, "no"
			w.After(4500*time.Millisecond, func() { s.fails = c.first })
			w.After(6*time.Second, func() { s.fails = c.fails })
			s.alone(50, 1, r, func(c *simClient) {
				c.http2 = s.rng.IntN(4) == 0
				if n := len(s.clients) - 1; n > 0 { // ten each, after 5 to 9 s
					w.After(time.Duration(n/10+5)*time.Second, func() { s.after(20*time.Millisecond, c.join) })
				} else {
					c.join()
				}
			})
			s.pass(6500 * time.Millisecond)
			before := s.zone.Stats().Fills
			s.pass(9 * time.Second)
			s.judgeFailures(s.clients[20:], c.want, c.storage+" and "+c.first+" and "+c.fails)
			if n := s.zone.Stats().Fills - before; n > 3 && c.want != "" {
				t.Fatalf("%d fills in three seconds\n%s", n, s.history())
			}
			s.fails = "no"
			s.run()
		})
	}
}

// judgeFailures looks whether clients were given what is stored, by a reason, or nothing, with "".
func (s *simulation) judgeFailures(clients []*simClient, want, what string) {
	for _, c := range clients {
		q := c.requests[0]
		stale := q.answer != nil && (q.how.detail == want || q.how.detail == "retry-later")
		failed := q.ours || q.answer != nil && q.answer.status == 503
		if !q.over || stale != (want != "") || failed == stale {
			s.t.Fatalf("%s: %v, %+v\n%s", what, q, q.how, s.history())
		}
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

// numbering is a Destination that tells the origin in which order requests come to it.
type numbering struct {
	proxy.Destination
	s *simulation
}

// Forwards is never called.
func (numbering) Forwards() {}

// Open opens the Destination with the number of the request in X-Asked.
func (d numbering) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	d.s.asked++
	x.Request.Set("X-Asked", strconv.Itoa(d.s.asked))
	return d.Destination.Open(x, to)
}

// mending is a Destination that makes answers whole that were cut off.
type mending struct{ proxy.Destination }

// Forwards is never called.
func (mending) Forwards() {}

// Open opens the Destination, and mends the answer.
func (d mending) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
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

// deaf is a front that never hears of the answer to a request that went by the cache.
type deaf struct{ proxy.Front }

// OnPassed does nothing.
func (deaf) OnPassed(*proxy.Exchange) {}

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
			if strings.HasPrefix(h.Get("Cache-Control"), "max-age=") {
				h.Set("Cache-Control", "max-age=3600")
			}
		})}},
		{"what is cut off is taken for the whole", rough, simSetup{faults: true, mends: true}},
		{"304 renews what it is not about", calm, simSetup{ages: true, confuses: true}},
		{"what has changed is given", calm, simSetup{deaf: true}},
		{"what is stale is given against its will", calm, simSetup{ages: true, filter: changing(func(h *message.Head) {
			if h.Get("Cache-Control") == "max-age=1, must-revalidate" {
				h.Set("Cache-Control", "max-age=1, stale-while-revalidate=9")
			}
		})}},
		{"what each has to ask for is shared", calm, simSetup{ages: true, filter: changing(func(h *message.Head) {
			if h.Get("Cache-Control") == "no-cache, max-age=60" {
				h.Set("Cache-Control", "max-age=60")
			}
		})}},
		{"tags are not seen", calm, simSetup{purges: true, filter: changing(func(h *message.Head) {
			h.Del("Cache-Tag")
		})}},
		{"groups are not ended", calm, simSetup{purges: true, filter: changing(func(h *message.Head) {
			h.Del("Cache-Group-Invalidation")
		})}},
		{"what was purged is renewed", calm, simSetup{purges: true, softens: true}},
	} {
		seed := sim.MustFail(t, 400, func(t testing.TB, w *sim.World) { c.play(t, w, c.o) })
		t.Logf("%s: found by seed %d", c.fault, seed)
	}
}
