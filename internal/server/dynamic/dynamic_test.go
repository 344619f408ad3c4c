package dynamic_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/discovery/dns"
	"github.com/edge-proxy/edge/internal/exchange/meter"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/test/testutil/dnsserver"
)

func TestLead(t *testing.T) {
	g := newRig(t, func(_ context.Context, host string) (dns.Answer, error) {
		return answer(time.Hour, map[string]string{"a.test.": "127.0.0.1", "b.test.": "127.0.0.2"}[host]), nil
	}, local, nil)
	port := portOfAll(t)
	origin(t, "127.0.0.1:"+port, "first")
	origin(t, "127.0.0.2:"+port, "second")
	origin(t, "127.0.0.7:"+port, "literal")
	for range 3 {
		for to, want := range map[string]string{
			"http://a.test:": "first", "http://A.Test.:": "first", "b.test:": "second", "h2c://b.test:": "second",
			"http://127.0.0.7:": "literal", "http://[::ffff:127.0.0.7]:": "literal",
		} {
			if status, body := g.ask(to + port); status != 200 || body != want+" shop.example" {
				t.Errorf("%s: %d %q", to, status, body)
			}
		}
	}
	h2 := testutil.H2C(t)
	if resp, body := testutil.Do(t, h2,
		g.request("b.test:"+port)); resp.StatusCode != 200 || body != "second shop.example" {
		t.Errorf("by HTTP/2: %d %q", resp.StatusCode, body)
	}
	for contentType, protocol := range map[string]string{"application/grpc": "HTTP/2.0", "text/plain": "HTTP/1.1"} {
		req := g.request("b.test:" + port)
		req.Header.Set("Content-Type", contentType)
		if resp, _ := testutil.Do(t, h2, req); resp.Header.Get("X-Protocol") != protocol {
			t.Errorf("%s goes by %s", contentType, resp.Header.Get("X-Protocol"))
		}
	}
	if s := g.stats(); s.Lookups != 4 || s.Destinations != 4 || s.Upstream.Taken == 0 {
		t.Errorf("%+v", s)
	}
}

// The name of the destination is asked for in TLS, and verified.
func TestLead_byTLS(t *testing.T) {
	ca := testutil.NewAuthority(t)
	cert, key := ca.Issue(t, nil, "a.test")
	var asked atomic.Value
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Store(r.TLS.ServerName)
	}))
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{cert.Raw}, PrivateKey: key}}}
	s.StartTLS()
	t.Cleanup(s.Close)
	port := s.URL[strings.LastIndexByte(s.URL, ':'):]
	g := newRig(t, at("127.0.0.1"), local, func(o *dynamic.Options) {
		o.Upstream.TLS.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: ca.Cert.Raw}))
	})
	if status, body := g.ask("https://A.test" + port); status != 200 || asked.Load() != "a.test" {
		t.Errorf("%d %q, asked for %v", status, body, asked.Load())
	}
	if status, _ := g.ask("https://b.test" + port); status != 502 || g.records.last() != "backend:certificate" {
		t.Errorf("another name: %d %s", status, g.records.last())
	}
}

// What is refused is answered 403 before a connection is made, is counted by its reason, and the log has it.
func TestRefused(t *testing.T) {
	silence(t)
	var connections atomic.Int64
	l := testutil.Serve(t, func(c net.Conn) { connections.Add(1); c.Close() })
	own := netip.MustParseAddrPort(l.Addr().String())
	port := fmt.Sprint(own.Port())
	byName := map[string][]string{
		"private.test.": {"10.0.0.1"}, "metadata.test.": {"169.254.169.254"}, "mixed.test.": {"127.0.0.2",
			"10.0.0.1"},
		"mapped.test.": {"::ffff:10.0.0.1"}, "nat64.test.": {"64:ff9b::7f00:1"}, "six.test.": {"2002:7f00:1::"},
		"link.test.": {"fe80::1"}, "zone.test.": {"fe80::1%lo"}, "loop.test.": {"::1"}, "any.test.": {"0.0.0.0"},
		"compatible.test.": {"::127.0.0.1"}, "isatap.test.": {"2606:4700::5efe:10.0.0.1"}, "own.test.": {"127.0.0.1"},
	}
	g := newRig(t, func(_ context.Context, host string) (dns.Answer, error) {
		return answer(time.Hour, byName[host]...), nil
	}, local, func(o *dynamic.Options) { o.Own = func(at netip.AddrPort) bool { return at == own } })
	refused := func(to string, why dynamic.Refusal) {
		t.Helper()
		before := g.stats().Refused[why]
		resp, _ := testutil.Do(t, g.client, g.request(to))
		status := resp.Header.Get("Proxy-Status")
		if resp.StatusCode != 403 || !strings.Contains(status, "destination_ip_prohibited") ||
			g.records.last() != "edge:dest_not_allowed" {
			t.Errorf("%q: %d, Proxy-Status %q, %s", to, resp.StatusCode, status, g.records.last())
		}
		if g.stats().Refused[why] != before+1 {
			t.Errorf("%q: counted %v", to, g.stats().Refused)
		}
	}
	for _, to := range []string{
		"", "http://u@a.test", "http://a.test/x", "http://a.test#x", "http://a.test%2f.test", "2130706433", "0x7f.1",
		"http://[fe80::1%25lo]:80", "http://a..test", "http://a.test:0", "ftp://a.test", "http://１２７.0.0.1.test",
	} {
		refused(to, dynamic.Malformed)
	}
	for _, to := range []string{
		"http://test", "http://a.test.evil.example", "http://127.0.0.1:" + port, "http://[::1]:" + port,
		"http://127.0.0.8",
		"http://localhost:" + port, "http://[::ffff:127.0.0.1]", "http://169.254.169.254", "http://10.0.0.1",
	} {
		refused(to, dynamic.Unlisted)
	}
	for name := range byName {
		if name != "own.test." {
			refused("http://"+name+":"+port, dynamic.Address)
		}
	}
	refused("http://own.test:"+port, dynamic.OwnListener)
	if n := connections.Load(); n != 0 {
		t.Errorf("%d connections", n)
	}
}

// A name that has another address a moment later is connected to at the one that was judged, and at no other.
func TestRebinding(t *testing.T) {
	silence(t)
	server := dnsserver.Start(t)
	server.Answer("a.test.", "A 0 127.0.0.2")
	port := portOfAll(t)
	origin(t, "127.0.0.2:"+port, "judged")
	origin(t, "127.0.0.1:"+port, "another")
	client := dns.New(dns.Options{Servers: []netip.AddrPort{server.Addr}})
	g := newRig(t, func(ctx context.Context, host string) (dns.Answer, error) {
		a, err := client.Addresses(ctx, host, nil)
		server.Answer("a.test.", "A 0 127.0.0.1") // for the next question
		return a, err
	}, []string{"http://*.test:*", "127.0.0.2"}, nil)
	begun := time.Now()
	for i := range 5 {
		status, body := g.ask("a.test:" + port)
		if n := server.Asked("a.test. A"); i > 0 && time.Since(begun) > 800*time.Millisecond {
			break // the answer may be over
		} else if status != 200 || body != "judged shop.example" || n != 1 {
			t.Fatalf("%d %q, %d look-ups", status, body, n)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool { // when the TTL is over: 1 s, the least that there is
		status, body := g.ask("a.test:" + port)
		if status != 403 && body != "judged shop.example" {
			t.Fatalf("%d %q", status, body)
		}
		return status == 403
	})
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Upstream.Connections == 0 },
		"the connections to the address of before are closed")
}

// answeredAt returns a resolver that answers after release, however long that takes. It counts what it is asked.
func answeredAt(asked *atomic.Int64) (names fakeNames, release func()) {
	released := make(chan struct{})
	names = func(context.Context, string) (dns.Answer, error) {
		asked.Add(1)
		<-released
		return answer(time.Hour, "127.0.0.1"), nil
	}
	return names, sync.OnceFunc(func() { close(released) })
}

// Requests for one new name wait for one look-up.
func TestLookup_isShared(t *testing.T) {
	port := origin(t, "127.0.0.1:0", "a")
	var asked atomic.Int64
	names, release := answeredAt(&asked)
	g := newRig(t, names, local, nil)
	t.Cleanup(release) // when the test fails, too
	var done sync.WaitGroup
	for range 20 {
		done.Go(func() {
			if status, body := g.ask("a.test:" + port); status != 200 {
				t.Errorf("%d %q", status, body)
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := g.client.Do(g.request("a.test:" + port).WithContext(ctx))
		left <- err
	}()
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Waited == 21 })
	cancel() // a client that leaves while it waits
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	release()
	done.Wait()
	if n := asked.Load(); n != 1 {
		t.Errorf("%d look-ups", n)
	}
}

// The 257th look-up at one time is refused, and so is what comes after Close.
func TestLookup_bounds(t *testing.T) {
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	g := newRig(t, func(context.Context, string) (dns.Answer, error) {
		<-released
		return dns.Answer{}, errors.New("SERVFAIL")
	}, local, nil)
	t.Cleanup(release) // when the test fails, too
	var done sync.WaitGroup
	for i := range 256 {
		done.Go(func() {
			if status, _ := g.ask(fmt.Sprintf("a%d.test:80", i)); status != 502 {
				t.Errorf("%d", status)
			}
		})
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Lookups == 256 })
	if status, _ := g.ask("b.test:80"); status != 503 || g.records.last() != "edge:shed" {
		t.Errorf("%d %s", status, g.records.last())
	}
	release()
	done.Wait()
	g.to.Close()
	if status, _ := g.ask("c.test:80"); status != 503 {
		t.Errorf("after Close: %d", status)
	}
	if s := g.stats(); s.Shed != 2 || s.Unresolved != 256 || s.Destinations != 0 {
		t.Errorf("%+v", s)
	}
}

// While there are too many look-ups, a destination that was looked up keeps its answer, as when its look-up fails.
func TestLookup_floodSparesWhatIsKnown(t *testing.T) {
	released := make(chan struct{})
	release := sync.OnceFunc(func() { close(released) })
	g := newRig(t, func(_ context.Context, host string) (dns.Answer, error) {
		if host == "a.test." {
			return answer(time.Second, "127.0.0.1"), nil
		}
		<-released
		return dns.Answer{}, errors.New("SERVFAIL")
	}, local, nil)
	t.Cleanup(release)
	port := origin(t, "127.0.0.1:0", "a")
	if status, _ := g.ask("a.test:" + port); status != 200 {
		t.Fatal(status)
	}
	var done sync.WaitGroup
	for i := range 256 {
		done.Go(func() { g.ask(fmt.Sprintf("b%d.test:80", i)) })
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Lookups == 257 })
	end := time.Now().Add(1200 * time.Millisecond) // its TTL is 1 s
	for time.Now().Before(end) && !t.Failed() {
		if status, _ := g.ask("a.test:" + port); status != 200 {
			t.Errorf("%d %s", status, g.records.last())
		}
	}
	release()
	done.Wait()
}

// Close ends look-ups, and the requests that wait for them.
func TestClose(t *testing.T) {
	g := newRig(t, func(ctx context.Context, _ string) (dns.Answer, error) {
		<-ctx.Done()
		return dns.Answer{}, ctx.Err()
	}, local, nil)
	answered := make(chan int)
	go func() {
		resp, err := g.client.Do(g.request("a.test:80"))
		if err != nil {
			t.Error(err)
			close(answered)
			return
		}
		resp.Body.Close() //nolint:errcheck // its status is enough
		answered <- resp.StatusCode
	}()
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Lookups == 1 })
	g.to.Close()
	if status := <-answered; status != 502 {
		t.Errorf("%d", status)
	}
}

// A reload ends no look-up that a request waits for, and that request goes on. The end of the process does.
func TestRetire_requestsGoOn(t *testing.T) {
	var asked atomic.Int64
	names, release := answeredAt(&asked)
	g := newRig(t, names, local, nil)
	t.Cleanup(release)
	port := origin(t, "127.0.0.1:0", "a")
	var done sync.WaitGroup
	for range 5 {
		done.Go(func() {
			if status, _ := g.ask("a.test:" + port); status != 200 {
				t.Errorf("%d %s", status, g.records.last())
			}
		})
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Waited == 5 })
	g.to.Retire()
	release()
	done.Wait()
	if status, _ := g.ask("a.test:" + port); status != 200 || asked.Load() < 2 {
		t.Errorf("later: %d, %d look-ups", status, asked.Load())
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		s := g.stats()
		return s.Upstream.Connections == 0 && s.Destinations == 0
	})
}

// A name that is not there, or whose servers fail, is answered 502 and not asked for again at once.
func TestUnresolved(t *testing.T) {
	var asked atomic.Int64
	g := newRig(t, func(_ context.Context, host string) (dns.Answer, error) {
		asked.Add(1)
		if host == "none.test." {
			return dns.Answer{TTL: time.Hour}, nil
		}
		return dns.Answer{}, errors.New("SERVFAIL")
	}, local, nil)
	for _, to := range []string{"none.test", "none.test.", "fails.test"} {
		if status, _ := g.ask(to); status != 502 || g.records.last() != "backend:dns" {
			t.Errorf("%s: %d %s", to, status, g.records.last())
		}
	}
	if n := asked.Load(); n != 2 || g.stats().Unresolved != 3 {
		t.Errorf("%d look-ups, %d requests", n, g.stats().Unresolved)
	}
}

// What a destination answers goes to the client, a redirect too.
func TestRedirect_isNotFollowed(t *testing.T) {
	g := newRig(t, at("127.0.0.1"), local, nil)
	port := origin(t, "127.0.0.1:0", "a")
	req := g.request("a.test:" + port)
	req.Header.Set("X-Redirect", "http://169.254.169.254/latest")
	resp, _ := testutil.Do(t, g.client, req)
	if resp.StatusCode != 302 || resp.Header.Get("Location") != "http://169.254.169.254/latest" {
		t.Errorf("%d %v", resp.StatusCode, resp.Header)
	}
	if s := g.stats(); s.Lookups != 1 || s.Upstream.Dialed != 1 {
		t.Errorf("%+v", s)
	}
}

// The destination that was used longest ago leaves for a new one, and its connections close. Names that lead nowhere
// push out none that lead somewhere.
func TestMax_leastRecentlyUsedLeaves(t *testing.T) {
	g := newRig(t, func(_ context.Context, host string) (dns.Answer, error) {
		if strings.HasPrefix(host, "none") {
			return dns.Answer{TTL: time.Hour}, nil
		}
		return answer(time.Hour, "127.0.0.1"), nil
	}, local, func(o *dynamic.Options) { o.Max = 2 })
	port := origin(t, "127.0.0.1:0", "a")
	for i, to := range []string{"a", "b", "a", "none1", "none2", "none3", "c", "a", "c", "none4"} {
		if status, _ := g.ask(to + ".test:" + port); status != 200 && status != 502 {
			t.Errorf("%d: %s: %d", i, to, status)
		}
	}
	s := g.stats() // a and c, and two that lead nowhere
	if s.Evicted != 1 || s.Lookups != 7 || s.Destinations != 4 || s.Upstream.Dialed < 3 {
		t.Errorf("%+v", s)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		c := g.stats().Upstream
		return c.Connections <= 4 && c.Connections == c.Idle
	}, "the connection to b closes")
	if status, _ := g.ask("b.test:" + port); status != 200 || g.stats().Lookups != 8 {
		t.Errorf("b again: %d, %+v", status, g.stats())
	}
}

// A destination that leaves while requests are on their way to it takes them all the same.
func TestMax_requestsGoOn(t *testing.T) {
	g := newRig(t, at("127.0.0.1"), local, func(o *dynamic.Options) { o.Max = 1 })
	port := origin(t, "127.0.0.1:0", "a")
	var done sync.WaitGroup
	for c := range 8 {
		done.Go(func() {
			for range 20 {
				if status, _ := g.ask(fmt.Sprintf("n%d.test:%s", c, port)); status != 200 {
					t.Errorf("%d %s", status, g.records.last())
				}
			}
		})
	}
	done.Wait()
}

// Thousands of names come and go: what is kept is bounded, and nothing is left at the end (newRig looks).
func TestChurn(t *testing.T) {
	const clients = 8
	names, most := 5000, 1024
	if testutil.RaceOn || testing.Short() {
		names, most = 300, 64
	}
	g := newRig(t, at("127.0.0.1"), local, func(o *dynamic.Options) {
		if o.GRPC = false; most != 1024 { // else it is the default
			o.Max = most
		}
	})
	l := testutil.Serve(t, serveEmpty)
	port := l.Addr().String()[strings.LastIndexByte(l.Addr().String(), ':'):]
	var done sync.WaitGroup
	for c := range clients {
		done.Go(func() {
			w, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
			if err != nil {
				t.Error(err)
				return
			}
			defer w.Close()
			for i := c; i < names; i += clients {
				if answer := exchange(w, fmt.Sprintf("n%d.test%s", i, port)); !strings.HasPrefix(answer,
					"HTTP/1.1 200 ") {
					t.Errorf("n%d: %q", i, answer)
					return
				}
			}
		})
	}
	done.Wait()
	if s := g.stats(); s.Lookups != uint64(names) || s.Evicted != uint64(names-most) || s.Destinations != most ||
		s.Upstream.Dialed != uint64(names) {
		t.Errorf("%+v", s)
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return g.stats().Upstream.Connections == most },
		"the connections to what has left close")
	g.to.Close()
	testutil.Eventually(t, testutil.Patience, func() bool {
		s := g.stats()
		return s.Upstream.Connections == 0 && s.Destinations == 0
	})
}

// serveEmpty answers each request on a connection with nothing.
func serveEmpty(c net.Conn) {
	defer c.Close()
	buf, answer := make([]byte, 4096), []byte("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	for {
		if n, err := c.Read(buf); err != nil || n == 0 {
			return
		}
		if _, err := c.Write(answer); err != nil {
			return
		}
	}
}

// exchange asks for a destination on a connection and returns the answer, which has no body.
func exchange(c net.Conn, to string) string {
	var buf [1024]byte
	_ = c.SetDeadline(time.Now().Add(testutil.Patience))
	if _, err := fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: a\r\nX-To: %s\r\n\r\n", to); err != nil {
		return err.Error()
	}
	n, err := c.Read(buf[:])
	if err != nil {
		return err.Error()
	}
	return string(buf[:n])
}

// A request to a destination that is known allocates nothing, and takes no more than others do.
func TestKnown_allocatesNothing(t *testing.T) {
	l := testutil.Serve(t, serveEmpty)
	g := newRig(t, at("127.0.0.1"), local, func(o *dynamic.Options) { o.GRPC = false })
	port := l.Addr().String()[strings.LastIndexByte(l.Addr().String(), ':'):]
	c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	request, buf := []byte("GET / HTTP/1.1\r\nHost: a\r\nX-To: a.test"+port+"\r\n\r\n"), make([]byte, 1024)
	once := func() {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		if n, err := c.Read(buf); err != nil || !bytes.HasPrefix(buf[:n], []byte("HTTP/1.1 200 ")) {
			t.Fatalf("%q, %v", buf[:n], err)
		}
	}
	for range 100 {
		once()
	}
	if n := testutil.Allocs(200, once); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// What is remembered of a request says how long it waited for a look-up: the second one finds an answer.
func TestLookup_isRemembered(t *testing.T) {
	const takes = 10 * time.Millisecond
	g := newRig(t, func(context.Context, string) (dns.Answer, error) {
		<-time.After(takes)
		return answer(time.Hour, "127.0.0.1"), nil
	}, local, nil)
	g.proxy.Remember(8, time.Hour)
	port := origin(t, "127.0.0.1:0", "well")
	for range 2 {
		if status, body := g.ask("a.test:" + port); status != 200 {
			t.Fatalf("%d %q", status, body)
		}
	}
	waited, all := 0, 0
	for _, r := range g.engine.Reactors() {
		pages := make(chan recent.Page, 1)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			page, _ := g.proxy.Recent(r, false, recent.Newest, 8)
			pages <- page
		}})
		for _, one := range (<-pages).Records {
			if all++; one.Lookup.Duration() >= takes-time.Microsecond && one.Lookup <= one.Sent {
				waited++
			}
		}
	}
	if all != 2 || waited < 1 {
		t.Errorf("of %d requests %d waited", all, waited)
	}
}

// The time for which requests wait for a look-up is a phase of their upstream, found or not. Those that know the answer
// have none.
func TestLookup_isMetered(t *testing.T) {
	const takes = 10 * time.Millisecond
	meters := meter.New(2, meter.ByClass)
	g := newRig(t, func(_ context.Context, host string) (dns.Answer, error) {
		if host != "a.test." {
			return dns.Answer{TTL: time.Hour}, nil
		}
		<-time.After(takes)
		return answer(time.Hour, "127.0.0.1"), nil
	}, local, func(o *dynamic.Options) { o.To.Meter = meters.Upstream() })
	port := origin(t, "127.0.0.1:0", "well")
	for _, to := range []string{"a.test:" + port, "none.test", "a.test:" + port, "a.test:" + port, "a.test:" + port} {
		g.ask(to)
	}
	var h meter.Histogram
	for _, r := range g.engine.Reactors() {
		taken := make(chan []meter.Delta, 1)
		r.Post(&engine.Task{Run: func(r *engine.Reactor) {
			all, _ := meters.Take(r.Index(), nil, 8)
			taken <- all
		}})
		for _, d := range <-taken {
			if _, again := d.Retry(); again {
				continue
			}
			if phase, key := d.Phase(); phase == meter.DNS {
				h.Merge(key, d.N)
			}
		}
	}
	// Each event loop waits once: the second one for what the first one found.
	if n := h.Count(); n < 2 || n > 4 || h.Sum() < takes-time.Microsecond {
		t.Errorf("%d waited, %v in all", n, h.Sum())
	}
}
