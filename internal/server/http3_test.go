package server

import (
	"context"
	"crypto/tls"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/poller"
)

const (
	withH3    = "protocols = [\"h1\", \"h2\", \"h3\"]\n"
	withoutH3 = "protocols = [\"h1\", \"h2\"]\n"
)

// quicOptions makes the options of the first listener over QUIC, as a reload does.
func (k *keyed) quicOptions() *tlsconn.ServerOptions {
	k.Helper()
	s := k.server
	defer s.lock()()
	s.reload = &reload{config: s.present}
	defer func() { s.reload = nil }()
	testutil.Must(k, s.certificates.prepare())
	o, err := s.certificates.quicOptions(0, &s.present.Listeners[0])
	testutil.Must(k, err)
	return o
}

// dialQUIC makes a handshake for a name with o in memory, and takes the ticket.
func (k *keyed) dialQUIC(o *tlsconn.ServerOptions, name string, change func(*tls.Config)) (tls.ConnectionState, error) {
	k.Helper()
	server := o.Config
	if o.Choose != nil {
		server = server.Clone()
		server.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
			if t := o.Choose(hello); t.Config != nil {
				return t.Config, nil
			}
			return nil, errors.New("denied")
		}
	}
	client := &tls.Config{
		RootCAs: k.ca.Pool, ServerName: name, MinVersion: tls.VersionTLS13, NextProtos: []string{"h3"},
	}
	if change != nil {
		change(client)
	}
	ends := []*tls.QUICConn{
		tls.QUICClient(&tls.QUICConfig{TLSConfig: client}), tls.QUICServer(&tls.QUICConfig{TLSConfig: server}),
	}
	for _, end := range ends {
		end.SetTransportParameters(nil)
		if err := end.Start(context.Background()); err != nil {
			return tls.ConnectionState{}, err
		}
		defer end.Close()
	}
	ticket := false
	for moved := true; moved; {
		moved = false
		for i, end := range ends {
			for e := end.NextEvent(); e.Kind != tls.QUICNoEvent; e = end.NextEvent() {
				moved = true
				var err error
				switch e.Kind {
				case tls.QUICWriteData:
					err = ends[1-i].HandleData(e.Level, slices.Clone(e.Data))
				case tls.QUICTransportParametersRequired:
					end.SetTransportParameters(nil)
				}
				if err != nil {
					return end.ConnectionState(), err
				}
			}
		}
		if s := ends[1]; !moved && s.ConnectionState().HandshakeComplete && !ticket {
			ticket, moved = true, true
			if err := s.SendSessionTicket(tls.QUICSessionTicketOptions{}); err != nil {
				return s.ConnectionState(), err
			}
		}
	}
	state := ends[1].ConnectionState()
	if !state.HandshakeComplete {
		return state, errors.New("the handshake stands still")
	}
	return state, nil
}

func TestQUICOptions(t *testing.T) {
	withKeys(t, withoutH3, "", func(k *keyed) {
		if o := k.quicOptions(); o != nil {
			k.Errorf("without h3: %+v", o)
		}
	})
	withKeys(t, withH3+"tls = \"auto\"\nmin_version = \"1.2\"\ncurves = [\"P-384\"]\n", "", func(k *keyed) {
		o := k.quicOptions()
		if o.Config.MinVersion != tls.VersionTLS13 || o.Auto || o.Plain != nil || o.Pass != nil || o.Choose != nil ||
			o.Failed == nil || o.Asked != "none" {
			k.Errorf("%+v", o)
		}
		cache := tls.NewLRUClientSessionCache(1)
		for i, resumed := range []bool{false, true} {
			s, err := k.dialQUIC(o, "example.org", func(c *tls.Config) { c.ClientSessionCache = cache })
			if err != nil || s.NegotiatedProtocol != "h3" || s.CurveID != tls.CurveP384 || s.DidResume != resumed {
				k.Errorf("connection %d: %v %+v", i, err, s)
			}
		}
		if _, err := k.dialQUIC(o, "example.org", func(c *tls.Config) { c.NextProtos = []string{"h2"} }); err == nil {
			k.Error("HTTP/2 over QUIC")
		}
		over := tls.NewLRUClientSessionCache(1) // a session over TCP
		k.mustDial(func(c *tls.Config) { c.ClientSessionCache = over })
		s, err := k.dialQUIC(o, "example.org", func(c *tls.Config) { c.ClientSessionCache = over })
		if err != nil || s.DidResume {
			k.Errorf("with the ticket of a session over TCP: %v, resumed: %v", err, s.DidResume)
		}
		offered := func(c *tls.Config) { c.NextProtos = []string{"h3", "h2"} }
		wantEqual(k, k.mustDial(offered).NegotiatedProtocol, "h2", "over TCP")
	})
	withKeys(t, withH3+"session_tickets = false\n", "", func(k *keyed) {
		if o := k.quicOptions(); !o.Config.SessionTicketsDisabled {
			k.Error("sessions are resumed")
		}
	})
}

// Rules on handshakes hold over QUIC. One that leads a connection elsewhere denies it: clients use TCP then.
func TestQUICOptions_rules(t *testing.T) {
	rules := `[[tls.rules]]
when = 'tls.sni == "denied.example.org"'
deny = true
[[tls.rules]]
when = 'tls.sni == "passed.example.org"'
dest = "127.0.0.1:1"
[[tls.rules]]
when = 'tls.alpn == "h3" and tls.sni == "asked.example.org"'
client_ca = CA
[[tls.rules]]
when = 'tls.sni == "old.example.org"'
min_version = "1.2"
`
	withKeys(t, withH3, rules, func(k *keyed) {
		o := k.quicOptions()
		if o.Pass != nil || o.Choose == nil {
			k.Fatalf("%+v", o)
		}
		old := &tls.ClientHelloInfo{ServerName: "old.example.org", SupportedProtos: []string{"h3"}}
		if got := o.Choose(old).Config.MinVersion; got != tls.VersionTLS13 {
			k.Errorf("a rule lets %x in", got)
		}
		pair := clientPair(k.T, k.ca, nil)
		trusting := func(c *tls.Config) { c.InsecureSkipVerify = true }
		for name, want := range map[string]bool{
			"a.example.org": true, "old.example.org": true, "denied.example.org": false, "passed.example.org": false,
			"asked.example.org": false,
		} {
			if _, err := k.dialQUIC(o, name, trusting); (err == nil) != want {
				k.Errorf("%s: %v", name, err)
			}
		}
		s, err := k.dialQUIC(o, "asked.example.org", func(c *tls.Config) {
			c.InsecureSkipVerify, c.Certificates = true, []tls.Certificate{pair}
		})
		if err != nil || len(s.VerifiedChains) == 0 {
			k.Errorf("with a certificate: %v", err)
		}
	})
}

// Clients of each address are told of its own port, which the kernel may have chosen, until a reload takes HTTP/3 away.
func TestAltSvc_isOfTheAddress(t *testing.T) {
	const told = `h3=":PORT"; ma=86400`
	for lines, want := range map[string]string{
		"": told, withH3: told, withoutH3: "", withH3 + "h3 = { advertise = false }\n": "",
		withH3 + "h3 = { advertise_port = 443, max_age = \"1h\" }\n": `h3=":443"; ma=3600`,
		withH3 + "h3 = { hosts = \"!example.org\" }\n":               "",
	} {
		withKeys(t, lines, "", func(k *keyed) {
			port := k.addr[strings.LastIndex(k.addr, ":")+1:]
			if got := k.altSvc(k.addr); got != strings.Replace(want, "PORT", port, 1) {
				k.Errorf("%s: %q, want %q", lines, got, want)
			}
		})
	}
	addrs := []string{testutil.FreeAddr(t), testutil.FreeAddr(t)}
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	list := "[\"" + strings.Join(addrs, "\", \"") + "\"]"
	text := quiet + strings.Replace(secured(t, ca, dir), "\"127.0.0.1:0\"", list, 1)
	s := start(t, Options{}, "%s%s%s", text, withH3, all200)
	k := &keyed{T: t, server: s, ca: ca}
	for _, addr := range addrs {
		port := addr[strings.LastIndex(addr, ":")+1:]
		if got, want := k.altSvc(addr), `h3=":`+port+`"; ma=86400`; got != want {
			t.Errorf("%s: %q, want %q", addr, got, want)
		}
	}
	apply(t, s, "%s%s%s", text, withoutH3, all200)
	wantEqual(t, k.altSvc(addrs[0]), "", "after the reload")
}

// altSvc returns the field of an answer over TCP at addr.
func (k *keyed) altSvc(addr string) string {
	k.Helper()
	resp, _ := askBy(k.T, asHTTPS(k.T, k.ca, true), "GET", "https://"+addr, "Host: example.org")
	return resp.Header.Get("Alt-Svc")
}

// A listener whose file does not name h3 serves without its UDP port, which another process has, and tells of HTTP/3
// once it has the port. With h3 in its file it would not be served.
func TestServer_optionalHTTP3(t *testing.T) {
	events := logged(t, 1000)
	other, err := net.ListenPacket("udp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer other.Close()
	ca, addr := testutil.NewAuthority(t), other.LocalAddr().String()
	text := quiet + strings.Replace(secured(t, ca, t.TempDir()), "127.0.0.1:0", addr, 1)
	s := start(t, Options{}, "%s%s", text, all200)
	k := &keyed{T: t, server: s, ca: ca}
	wantEqual(t, k.altSvc(addr), "", "while another process has the port")
	apply(t, s, "%slimits.body_size = \"1m\"\n%s", text, all200)
	apply(t, s, "%s%s", text, all200)
	if told := events.with("HTTP/3 waits for its UDP port"); len(told) != 1 || told[0]["level"] != "WARN" {
		t.Errorf("%v, not one warning", told)
	}
	wantEqual(t, s.Parts().Listeners[0].UDP, "waiting", "state")
	named := parse(t, "global.worker_threads = 2\n"+text+withH3+all200)
	if _, err := s.Apply(named); !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "udp") {
		t.Errorf("where the file names h3: %v", err)
	}
	wantEqual(t, k.altSvc(addr), "", "after a reload that was not applied")
	other.Close()
	testutil.Eventually(t, time.Minute, func() bool { return k.altSvc(addr) != "" }, "clients are not told of HTTP/3")
	wantEqual(t, s.Parts().Listeners[0].UDP, "open", "state")
	mustApply(t, s, named)
}

// othersPorts is a kernel where others have the TCP port that is asked for first.
type othersPorts struct {
	poller.Kernel
	taken *poller.Addr
}

func (k othersPorts) Listen(a poller.Addr, o *poller.ListenOptions) (poller.FD, poller.Addr, error) {
	if *k.taken == (poller.Addr{}) {
		*k.taken = a
	}
	if a == *k.taken {
		return 0, poller.Addr{}, syscall.EADDRINUSE
	}
	return k.Kernel.Listen(a, o)
}

// leaving is a kernel where another process has each UDP port for so many tries.
type leaving struct {
	poller.Kernel
	tries *int
}

func (k leaving) ListenDatagrams(a poller.Addr, o *poller.DatagramOptions) (poller.FD, poller.Addr, error) {
	if *k.tries--; *k.tries >= 0 {
		return 0, poller.Addr{}, syscall.EADDRINUSE
	}
	return k.Kernel.ListenDatagrams(a, o)
}

// A start waits a moment for the UDP port, as it does for the TCP port: a process that ends may have it. A reload does
// not.
func TestOpenDatagrams_aStartWaits(t *testing.T) {
	for _, c := range []struct {
		state state
		open  bool
	}{{made, true}, {serving, false}} {
		tries := 2
		e, err := engine.New(engine.Options{Reactors: 1, Kernel: func(int) (poller.Kernel, error) {
			k, err := poller.NewEpoll(poller.ParkAuto)
			return leaving{k, &tries}, err
		}})
		testutil.Must(t, err)
		t.Cleanup(e.Stop)
		at := engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort(testutil.FreeAddr(t))}}
		tcp, err := e.Listen(at, nil)
		testutil.Must(t, err)
		p, l := &listeners{shared: &shared{engine: e, lifecycle: lifecycle{state: c.state}}}, &listener{open: tcp}
		if err := p.openDatagrams(l, 0, p.patience()); (err == nil) != c.open || l.http3.isOpen() != c.open {
			t.Errorf("state %v: %v, open: %v", c.state, err, l.http3.isOpen())
		}
	}
}

// takeDatagrams calls the method with the lock that it needs: a timer of an earlier call may run at the same time.
func takeDatagrams(p *listeners) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.takeDatagrams()
}

// While another process has a UDP port, the event log names it, once a minute.
func TestTakeDatagrams_namesTheHolder(t *testing.T) {
	logger, log := slog.Default(), strings.Builder{}
	slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
	defer slog.SetDefault(logger)
	e, err := engine.New(engine.Options{Reactors: 1})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	at := engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort(testutil.FreeAddr(t))}}
	tcp, err := e.Listen(at, nil)
	testutil.Must(t, err)
	other, err := net.ListenPacket("udp", tcp.Addr().String())
	testutil.Must(t, err)
	defer other.Close()
	l := &listener{open: tcp, title: "web", http3: http3Listener{on: true}}
	p := &listeners{shared: &shared{engine: e}, now: []*listener{l}} // not serving: no timer tries again
	p.state = draining
	want := func(lines int) {
		t.Helper()
		takeDatagrams(p)
		if n := strings.Count(log.String(), `waits for its UDP port" listener=web`); n != lines {
			t.Errorf("%d lines, not %d: %s", n, lines, &log)
		}
	}
	wantEqual(t, (&http3Listener{}).state()+l.http3.state(), "waiting", "state")
	want(1)
	want(1)
	l.http3.toldAt = l.http3.toldAt.Add(-toldEvery)
	want(2)
	if n := strings.Count(log.String(), "holder=\"this process listens there"); n != 2 { // which other is part of
		t.Error(log.String())
	}
	other.Close()
	takeDatagrams(p)
	if l.http3.state() != "open" || !strings.Contains(log.String(), "HTTP/3 has its UDP port") {
		t.Error(log.String())
	}
}

// A kernel that refuses an optional UDP port costs one warning, until a reload finds it open.
func TestTakeDatagrams_optional(t *testing.T) {
	var refuses bool
	e, err := engine.New(engine.Options{Reactors: 1, Kernel: func(int) (poller.Kernel, error) {
		k, err := poller.NewEpoll(poller.ParkAuto)
		return withoutUDP{k, &refuses}, err
	}})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	at := engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort(testutil.FreeAddr(t))}}
	for optional, level := range map[bool]string{true: "WARN", false: "ERROR"} {
		events := logged(t, 1000)
		refuses = true
		tcp, err := e.Listen(at, nil)
		testutil.Must(t, err)
		l := &listener{open: tcp, title: "web", http3: http3Listener{on: true, optional: optional}}
		p := &listeners{shared: &shared{engine: e}, now: []*listener{l}}
		takeDatagrams(p)
		takeDatagrams(p)
		told := events.with("no HTTP/3: the UDP port cannot be opened")
		if len(told) != 1 || told[0]["level"] != level {
			t.Errorf("%v, not one line of the level %s", told, level)
		}
		wantEqual(t, l.http3.state(), "failed", "state")
		refuses = false
		takeDatagrams(p)
		wantEqual(t, l.http3.state(), "open", "state")
		at.Addr.IP = netip.MustParseAddrPort(testutil.FreeAddr(t))
	}
}

// With HTTP/3 that is optional a port that the kernel chooses is one of TCP alone where there is no UDP.
func TestListenBoth_optional(t *testing.T) {
	refuses := true
	e, err := engine.New(engine.Options{Reactors: 1, Kernel: func(int) (poller.Kernel, error) {
		k, err := poller.NewEpoll(poller.ParkAuto)
		return withoutUDP{k, &refuses}, err
	}})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	p := &listeners{shared: &shared{engine: e}}
	at := engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}}
	if _, err := p.listenBoth(at, &listener{}); !errors.Is(err, syscall.EACCES) {
		t.Errorf("where the file names h3: %v", err)
	}
	l := &listener{http3: http3Listener{optional: true}}
	open, err := p.listenBoth(at, l)
	if err != nil || open.Addr().IP.Port() == 0 || l.http3.isOpen() {
		t.Errorf("%v", err)
	}
}

// withoutUDP is a kernel that opens no UDP port while it refuses to.
type withoutUDP struct {
	poller.Kernel
	refuses *bool
}

func (k withoutUDP) ListenDatagrams(a poller.Addr, o *poller.DatagramOptions) (poller.FD, poller.Addr, error) {
	if *k.refuses {
		return 0, poller.Addr{}, syscall.EACCES
	}
	return k.Kernel.ListenDatagrams(a, o)
}

// Where others have the TCP port of a number that the kernel chose for UDP, the next number is tried at once.
func TestListenBoth_doesNotWait(t *testing.T) {
	var taken poller.Addr
	e, err := engine.New(engine.Options{Reactors: 1, Kernel: func(int) (poller.Kernel, error) {
		k, err := poller.NewEpoll(poller.ParkAuto)
		return othersPorts{k, &taken}, err
	}})
	testutil.Must(t, err)
	t.Cleanup(e.Stop)
	p, l, begun := &listeners{shared: &shared{engine: e}}, &listener{}, time.Now()
	tcp, err := p.listenBoth(engine.ListenOptions{Addr: poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}}, l)
	testutil.Must(t, err)
	if took := time.Since(begun); took >= vacancyWait || tcp.Addr() == taken {
		t.Errorf("%v until there was %v after %v", took, tcp.Addr(), taken)
	}
	if udp := l.http3.open.Load().Addr(); udp.IP != tcp.Addr().IP {
		t.Errorf("UDP has %v, TCP %v", udp, tcp.Addr())
	}
}

// A port that the kernel chose is named again at once, with other options of its sockets: it gets another number, and
// the UDP port of the number before goes on to close.
func TestOpen_anotherAnyPort(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	text := quiet + secured(t, ca, dir) + withH3
	s := start(t, Options{}, "%s%s", text, all200)
	first := s.Parts().Listeners[0]
	apply(t, s, "%shttp.listen = %q\n%s", quiet, testutil.FreeAddr(t), all200)
	apply(t, s, "%suser_timeout = \"7s\"\n%s", text, all200)
	next := s.Parts().Listeners[0]
	if next.HTTP3 == first.HTTP3 || next.HTTP3.Addr() != next.Open.Addr() || next.Open.Addr() == first.Open.Addr() {
		t.Errorf("TCP %v, UDP %v; before %v", next.Open.Addr(), next.HTTP3.Addr(), first.HTTP3.Addr())
	}
	testutil.Eventually(t, testutil.Patience, first.HTTP3.Closed, "the UDP port before is closed")
}
