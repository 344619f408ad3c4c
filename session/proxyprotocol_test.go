package session_test

import (
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/l4/proxyproto"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

// told notes what it hears of a connection, whose bytes it sends back.
type told struct {
	engine.NopHandler
	events []string
}

func (h *told) OnOpen(c *engine.Conn) {
	h.events = append(h.events, "open "+c.Peer().String()+" to "+c.Local().String()+" by "+c.Socket().String())
	c.SetTimeout(time.Hour) // the time of the header is over
}

func (h *told) OnData(c *engine.Conn, in []byte) int {
	h.events = append(h.events, string(in))
	c.Write(in)
	return len(in)
}

func (h *told) OnEOF(c *engine.Conn) {
	h.events = append(h.events, "end")
	c.Close(nil)
}

// announced is a listener with p in w, a client of it, and what was read of its header.
type announced struct {
	handler told
	client  *sim.Peer
	read    []error
	headers []proxyproto.Header
	echoed  string
}

func newAnnounced(t *testing.T, w *sim.World, p *session.ProxyProtocol) *announced {
	t.Helper()
	return announcedFrom(t, w, p, poller.Addr{})
}

// announcedFrom is newAnnounced with a client of that address, and a listener of its network; zero: of any.
func announcedFrom(t *testing.T, w *sim.World, p *session.ProxyProtocol, from poller.Addr) *announced {
	t.Helper()
	a := &announced{}
	e, err := engine.New(engine.Options{
		Reactors: 1, Kernel: func(i int) (poller.Kernel, error) { return w.Kernel(i), nil },
	})
	testutil.Must(t, err)
	p.Read = func(_ *engine.Conn, h proxyproto.Header, err error) {
		a.headers, a.read = append(a.headers, h), append(a.read, err)
	}
	addr := poller.Addr{IP: netip.MustParseAddrPort("192.0.2.1:80")}
	if from.IP.IsValid() && from.IP.Addr().Is6() {
		addr.IP = netip.MustParseAddrPort("[2001:db8::1]:80")
	}
	accept := p.Accept(func(*engine.Conn) engine.Handler { return &a.handler })
	_, err = e.Listen(engine.ListenOptions{Addr: addr}, accept)
	testutil.Must(t, err)
	w.Add(e.Reactors()[0])
	if from.IP.IsValid() {
		a.client = w.DialFrom(from, addr)
	} else {
		a.client = w.Dial(addr)
	}
	a.client.Handle = func(p *sim.Peer) { a.echoed += string(p.Take()) }
	return a
}

// The header of a trusted sender gives the connection its addresses, in whatever pieces it comes, and what follows it
// belongs to the handler.
func TestProxyProtocol_pieces(t *testing.T) {
	source, destination := netip.MustParseAddrPort("198.51.100.7:1000"), netip.MustParseAddrPort("198.51.100.1:443")
	for name, header := range map[string][]byte{
		"v1": proxyproto.AppendV1(nil, source, destination), "v2": proxyproto.AppendV2(nil, source, destination),
	} {
		for cut := range len(header) + 3 {
			w := sim.NewWorld(uint64(cut))
			a := newAnnounced(t, w, &session.ProxyProtocol{From: everybody, Required: true})
			text := string(header) + "abc"
			a.client.SendString(text[:cut])
			w.After(time.Second, func() { a.client.SendString(text[cut:]) })
			if err := w.Run(func() bool { return a.echoed == "abc" }, 10_000); err != nil {
				t.Fatalf("%s cut at %d: %v, %q", name, cut, err, a.handler.events)
			}
			open := a.handler.events[0]
			if !strings.HasPrefix(open, "open 198.51.100.7:1000 to 198.51.100.1:443 by ") ||
				strings.Contains(open, "by 198.51.100.7") || !slices.Equal(a.read, []error{nil}) {
				t.Errorf("%s cut at %d: %q %v", name, cut, a.handler.events, a.read)
			}
		}
	}
}

var (
	everybody = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	nobody    = []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}
)

// An address of a link has a zone, which no network has. Its sender is believed all the same, as by trusted_proxies.
func TestProxyProtocol_zone(t *testing.T) {
	w := sim.NewWorld(1)
	p := &session.ProxyProtocol{From: []netip.Prefix{netip.MustParsePrefix("fe80::/10")}, Required: true}
	a := announcedFrom(t, w, p, poller.Addr{IP: netip.MustParseAddrPort("[fe80::2%2]:4000")})
	a.client.SendString("PROXY TCP4 198.51.100.7 198.51.100.1 1000 443\r\nabc")
	testutil.Must(t, w.Run(func() bool { return a.echoed == "abc" || a.client.Closed() }, 10_000))
	if !slices.Equal(a.read, []error{nil}) || a.echoed != "abc" {
		t.Errorf("%v, %q", a.read, a.echoed)
	}
}

// How each connection begins that tells no addresses, and how it ends where it is closed.
func TestProxyProtocol_others(t *testing.T) {
	const line = "PROXY TCP4 198.51.100.7 198.51.100.1 1000 443\r\n"
	long, local := strings.Repeat("x", 102), string(proxyproto.AppendV2(nil, netip.AddrPort{}, netip.AddrPort{}))
	for name, tt := range map[string]struct {
		from     []netip.Prefix
		required bool
		sent     string
		fin      bool
		err      error
		gets     string // the handler; "": the connection is closed before it has a handler
	}{
		"no header":             {everybody, false, "GET", false, proxyproto.ErrNone, "GET"},
		"no header, required":   {everybody, true, "GET", false, proxyproto.ErrNone, ""},
		"not trusted":           {nobody, false, line, false, proxyproto.ErrNone, line},
		"not trusted, required": {nobody, true, line, false, session.ErrUntrusted, ""},
		"its own":               {everybody, true, local + "abc", false, nil, "abc"},
		"unknown":               {everybody, true, "PROXY UNKNOWN\r\nabc", false, nil, "abc"},
		"malformed":             {everybody, false, "PROXY TCP5\r\nabc", false, proxyproto.ErrSyntax, ""},
		"too long":              {everybody, false, "PROXY " + long, false, proxyproto.ErrLength, ""},
		"cut and silent":        {everybody, false, line[:10], false, session.ErrHeaderSlow, ""},
		"silent":                {everybody, false, "", false, session.ErrHeaderSlow, ""},
		"cut and ended":         {everybody, false, line[:10], true, session.ErrHeaderBroken, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := sim.NewWorld(1)
			begun := w.Now()
			a := newAnnounced(t, w, &session.ProxyProtocol{From: tt.from, Required: tt.required})
			a.client.SendString(tt.sent)
			if tt.fin {
				a.client.CloseWrite()
			}
			done := func() bool { return a.client.Closed() || tt.gets != "" && a.echoed == tt.gets }
			if err := w.Run(done, 10_000); err != nil {
				t.Fatal(err, a.handler.events)
			}
			if !slices.Equal(a.read, []error{tt.err}) || a.headers[0].Told() || a.echoed != tt.gets {
				t.Errorf("%v, %+v, %q", a.read, a.headers, a.echoed)
			}
			took := time.Duration(w.Now() - begun).Round(time.Second)
			if tt.err == session.ErrHeaderSlow && took != 5*time.Second {
				t.Errorf("closed after %v", took)
			}
		})
	}
}

// A drain closes a connection of which nothing has come, as it does those that wait for a request.
func TestProxyProtocol_drain(t *testing.T) {
	e := startEngine(t)
	p := &session.ProxyProtocol{From: everybody, Required: true}
	accept := p.Accept(func(*engine.Conn) engine.Handler { return &told{} })
	l, err := e.Listen(engine.ListenOptions{Addr: loopback}, accept)
	testutil.Must(t, err)
	c := testutil.Dial(t, l.Addr().String())
	ended := make(chan string, 1)
	go func() {
		defer c.Close()
		ended <- c.ReadAll()
	}()
	testutil.Eventually(t, testutil.Patience, func() bool { return e.Conns() == 1 })
	if !e.Drain(time.Second) {
		t.Error("it was open when the time of the drain was up")
	}
	<-ended
}
