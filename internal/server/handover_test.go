package server

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/backend/registry"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/discovery/locator"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// successor makes a Server that adopts the sockets of old and accepts nothing yet.
func successor(t *testing.T, old *Server, text string) (*Server, []Socket) {
	t.Helper()
	sockets, err := old.Handover().Sockets()
	testutil.Must(t, err)
	s := serve(t, parse(t, text), Options{Adopt: sockets, Suspended: true, TicketKeys: old.TicketKeys()})
	for i, claimed := range s.Handover().Claims() {
		if !claimed {
			unix.Close(sockets[i].FD)
		}
	}
	return s, sockets
}

func claimed(s *Server) (indexes []int) {
	for i, is := range s.Handover().Claims() {
		if is {
			indexes = append(indexes, i)
		}
	}
	return indexes
}

// pass has next accept in the place of old.
func pass(t *testing.T, old, next *Server) {
	t.Helper()
	testutil.Must(t, old.Handover().Suspend(claimed(next)))
	testutil.Must(t, next.Handover().Resume())
}

// moving passes connections on until the test says so.
type moving struct {
	giving *Giving
	stop   context.CancelFunc
	done   sync.WaitGroup
	moved  atomic.Int64
}

func move(old, next *Server) *moving {
	m := &moving{giving: old.Handover().Give(500)}
	ctx, stop := context.WithCancel(context.Background())
	m.stop = stop
	m.done.Go(func() {
		for {
			batch, err := m.giving.Next(ctx)
			if err != nil {
				return
			}
			m.moved.Add(int64(next.Handover().Receive(batch)))
			m.giving.Took(len(batch))
		}
	})
	return m
}

func (m *moving) end() {
	m.stop()
	m.done.Wait()
}

// patron is a client that keeps one connection and counts those that it had to open.
type patron struct {
	client *http.Client
	url    string
	dials  atomic.Int64
	ended  atomic.Int64 // connections that the server has ended
	asked  atomic.Int64
	failed atomic.Pointer[string]
}

// patronConn is a connection of a patron. The client may end it by itself: a Transport does not use one again whose
// goroutines were kept from running for 50 ms.
type patronConn struct {
	net.Conn
	by   *patron
	left atomic.Bool
}

// Read notes the end of the server.
func (c *patronConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if err != nil && !c.left.Swap(true) {
		c.by.ended.Add(1)
	}
	return n, err
}

// Close is the end of the client.
func (c *patronConn) Close() error {
	c.left.Store(true)
	return c.Conn.Close()
}

func newPatron(t *testing.T, url, network, address string) *patron {
	p := &patron{url: url}
	tr := &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, MaxIdleConnsPerHost: 1,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			p.dials.Add(1)
			c, err := new(net.Dialer).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &patronConn{Conn: c, by: p}, nil
		},
	}
	p.client = &http.Client{Transport: tr}
	t.Cleanup(tr.CloseIdleConnections)
	return p
}

func (p *patron) ask() error {
	p.asked.Add(1)
	answer, err := p.client.Get(p.url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if _, err := io.Copy(io.Discard, answer.Body); err != nil {
		return err
	}
	if answer.StatusCode != 200 {
		return fmt.Errorf("%s", answer.Status)
	}
	return nil
}

// keepAsking asks until ctx ends.
func (p *patron) keepAsking(ctx context.Context) {
	for ctx.Err() == nil {
		if err := p.ask(); err != nil {
			text := err.Error()
			p.failed.Store(&text)
			return
		}
	}
}

const handed = quiet + `
worker_threads = %d
http = { name = "web", listen = ["127.0.0.1:0", %q, "unix:%s"] }
https = { name = "secure", listen = "127.0.0.1:0", cert = %q, key = %q }
upstreams.api.backends = [{ address = %q }]
routes = [{ pattern = "/*", dest = "api" }]
`

// handedOver is a configuration with a port that the kernel chooses, a given one, a Unix socket and TLS.
func handedOver(t *testing.T) (text func(reactors int) string, path string) {
	addr, _ := origin(t, "one")
	path = testutil.SocketPath(t)
	dir := t.TempDir()
	testutil.NewAuthority(t).IssueTo(t, dir, "pair", nil, "localhost")
	cert, key := filepath.Join(dir, "pair.pem"), filepath.Join(dir, "pair.key")
	given := testutil.FreeAddr(t)
	return func(reactors int) string { return fmt.Sprintf(handed, reactors, given, path, cert, key, addr) }, path
}

// patrons returns so many clients of each address.
func patrons(t *testing.T, s *Server, each int) (all []*patron) {
	for _, a := range s.Addresses() {
		for range each {
			switch {
			case a.TLS:
				all = append(all, newPatron(t, "https://localhost/x", "tcp", a.Addr.String()))
			case a.Addr.IsUnix():
				all = append(all, newPatron(t, "http://localhost/x", "unix", a.Addr.Path))
			default:
				all = append(all, newPatron(t, "http://localhost/x", "tcp", a.Addr.String()))
			}
		}
	}
	return all
}

// Processes replace each other under load, with other numbers of reactors: no request fails, and a client without TLS
// keeps its connection.
func TestHandover_clientsNoticeNothing(t *testing.T) {
	text, path := handedOver(t)
	old := serve(t, parse(t, text(1)), Options{})
	all := patrons(t, old, 4)
	ctx, stop := context.WithCancel(context.Background())
	var asking sync.WaitGroup
	for _, p := range all {
		asking.Go(func() { p.keepAsking(ctx) })
	}
	progress := func() {
		t.Helper()
		for _, p := range all {
			before := p.asked.Load()
			testutil.Eventually(t, testutil.Patience, func() bool {
				return p.asked.Load() > before+3 || p.failed.Load() != nil
			})
		}
	}
	rounds, moved := []int{2, 1, 4}, int64(0)
	if testutil.RaceOn {
		rounds = rounds[:2]
	}
	for _, reactors := range rounds {
		progress()
		next, _ := successor(t, old, text(reactors))
		testutil.Must(t, next.Handover().SelfCheck(ctx))
		pass(t, old, next)
		m := move(old, next)
		if !old.Drain(testutil.Patience) {
			t.Error("not drained")
		}
		m.end()
		moved += m.moved.Load()
		old.Handover().Abandon(claimed(next))
		wantNoErr(t, old.Stop())
		next.Handover().Join()
		progress()
		old = next
	}
	stop()
	asking.Wait()
	for _, p := range all {
		if text := p.failed.Load(); text != nil {
			t.Errorf("%s: %s after %d requests", p.url, *text, p.asked.Load())
		}
		if n := p.ended.Load(); strings.HasPrefix(p.url, "http:") && n > 0 {
			t.Errorf("%s: %d of %d connections were ended", p.url, n, p.dials.Load())
		}
	}
	t.Logf("%d connections of %d clients moved in %d rounds", moved, len(all), len(rounds))
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	_ = old.Stop()
	if _, err := os.Stat(path); err == nil {
		t.Error("the last one leaves its socket file")
	}
}

// Where the new process ends, the old one takes its sockets and connections back, and drains no more.
func TestHandover_takenBack(t *testing.T) {
	text, path := handedOver(t)
	old := serve(t, parse(t, text(2)), Options{})
	plain := newPatron(t, "http://localhost/x", "tcp", old.Addresses()[1].Addr.String())
	local := newPatron(t, "http://localhost/x", "unix", path)
	for _, p := range []*patron{plain, local} {
		testutil.Must(t, p.ask())
	}
	next, _ := successor(t, old, text(1))
	testutil.Must(t, old.Handover().Suspend(claimed(next)))
	if _, err := old.Apply(parse(t, text(2))); err == nil {
		t.Error("a configuration was applied meanwhile")
	}
	giving := old.Handover().Give(1)
	over := make(chan bool)
	go func() { over <- old.Drain(time.Minute) }()
	ctx, stop := context.WithTimeout(context.Background(), testutil.Patience)
	defer stop()
	sent, err := giving.Next(ctx)
	if err != nil || len(sent) != 1 {
		t.Fatalf("%d given: %v", len(sent), err)
	}
	_ = next.Stop()
	if left := giving.End(); len(left) != 0 {
		t.Errorf("%d given, 1 allowed", 1+len(left))
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return old.engine.Draining() })
	testutil.Must(t, old.Handover().Resume())
	if <-over {
		t.Error("drained, with open connections")
	}
	old.Handover().CloseOthers() // what begins too late changes nothing
	if old.Handover().Drain(time.Minute) {
		t.Error("drained, after Resume")
	}
	if n := old.Handover().TakeBack(sent); n != 1 {
		t.Errorf("%d taken back", n)
	}
	for _, p := range []*patron{plain, local} {
		if err := p.ask(); err != nil || p.dials.Load() != 1 {
			t.Errorf("%v; %d connections", err, p.dials.Load())
		}
	}
	wantNoErr(t, newPatron(t, "http://localhost/x", "unix", path).ask())
	if _, err := old.Apply(parse(t, text(2))); err != nil {
		t.Error(err)
	}
}

// An address that the new configuration does not name stays with the old process, which closes it as a reload does.
func TestHandover_unclaimed(t *testing.T) {
	t.Parallel()
	first, second := testutil.FreeAddr(t), testutil.FreeAddr(t)
	const file = quiet + "http = { name = \"web\", listen = %s }\n" + all200
	old := serve(t, parse(t, fmt.Sprintf(file, fmt.Sprintf("[%q, %q]", first, second))), Options{})
	next, sockets := successor(t, old, fmt.Sprintf(file, fmt.Sprintf("%q", second)))
	for i, is := range next.Handover().Claims() {
		wantEqual(t, is, sockets[i].Address == second, "%s is claimed", sockets[i].Address)
	}
	pass(t, old, next)
	for _, a := range []string{first, second} {
		wantNoErr(t, newPatron(t, "http://"+a, "tcp", a).ask())
	}
	old.Handover().CloseOthers()
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.Dial("tcp", first)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	wantNoErr(t, newPatron(t, "http://"+second, "tcp", second).ask())
	old.Handover().Abandon(claimed(next))
	_ = old.Stop()
	wantNoErr(t, newPatron(t, "http://"+second, "tcp", second).ask())
	// The descriptor of the unclaimed one was closed: a later configuration has a socket of its own.
	both := parse(t, fmt.Sprintf(file, fmt.Sprintf("[%q, %q]", first, second)))
	mustApply(t, next, both)
	wantNoErr(t, newPatron(t, "http://"+first, "tcp", first).ask())
}

// A reload between Sockets and Suspend: nothing is suspended where it has changed addresses, which the new process does
// not know of.
func TestHandover_reloadSinceSockets(t *testing.T) {
	first, second := testutil.FreeAddr(t), testutil.FreeAddr(t)
	const file = quiet + "http = { name = \"web\", listen = [%s] }\n" + all200
	one, both := fmt.Sprintf(file, `"`+first+`"`), fmt.Sprintf(file, `"`+first+`", "`+second+`"`)
	s := serve(t, parse(t, one), Options{})
	for _, c := range []struct {
		name, text string
		want       error
	}{
		{"nothing has changed", one, nil}, {"a route", one + "routes = []\n", nil},
		{"an address more", both, errReplaced}, {"an address less", one, errReplaced},
	} {
		sockets, err := s.Handover().Sockets()
		testutil.Must(t, err)
		apply(t, s, "%s", strings.Replace(c.text, all200+"routes", "routes", 1))
		if err := s.Handover().Suspend([]int{0}); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err := s.Handover().Resume(); c.want == nil && err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if status := answerAt("http://" + first); status == 0 {
			t.Errorf("%s: nobody answers", c.name)
		}
		closeSockets(sockets)
	}
}

// An address that the new process has dropped, and the old one therefore abandoned, is opened again when the old one
// takes all back. Where that is not possible the error names it, nothing else does, and the next reload opens it.
func TestHandover_abandonedAndTakenBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name           string
		drained, taken bool // the drain has begun; another process has the address by then
		broken         bool // a file of the configuration cannot be read any more
	}{
		{"at once", false, false, false}, {"after a drain has begun", true, false, false},
		{"it is taken", false, true, false}, {"it is taken, after a drain has begun", true, true, false},
		{"a page is lost", true, false, true},
	} {
		t.Run(c.name, func(t *testing.T) { takeAbandonedBack(t, c.drained, c.taken, c.broken) })
	}
}

func takeAbandonedBack(t *testing.T, drained, taken, broken bool) {
	first, second, path := testutil.FreeAddr(t), testutil.FreeAddr(t), testutil.SocketPath(t)
	page := filepath.Join(t.TempDir(), "404.html")
	testutil.Must(t, os.WriteFile(page, []byte("none"), 0o600))
	const file = "error_pages.404 = %q\nhttp = { name = \"web\", listen = [%q, %q, \"unix:%s\"] }\n"
	cfg := parse(t, fmt.Sprintf(quiet+file+all200, page, first, second, path))
	s := serve(t, cfg, Options{})
	sockets, err := s.Handover().Sockets()
	testutil.Must(t, err)
	closeSockets(sockets)
	var all, dropped []int
	for i := range sockets {
		if all = append(all, i); sockets[i].Address != first {
			dropped = append(dropped, i)
		}
	}
	testutil.Must(t, s.Handover().Suspend(all))
	var drain sync.WaitGroup
	if drained {
		hold, err := net.Dial("tcp", first) // keeps the drain going
		testutil.Must(t, err)
		defer hold.Close()
		drain.Go(func() { s.Handover().Drain(testutil.Patience) })
		testutil.Eventually(t, testutil.Patience, s.engine.Draining)
	}
	s.Handover().Abandon(dropped)
	os.Remove(path) // as the new process does
	if taken {
		l := testutil.ListenAt(t, second)
		checkLost(t, s, second, drain.Wait)
		l.Close()
	} else if broken {
		os.Remove(page)
		checkLost(t, s, second, drain.Wait)
		testutil.Must(t, os.WriteFile(page, []byte("none"), 0o600))
	} else if err := s.Handover().Resume(); err != nil {
		t.Errorf("taken back: %v", err)
	}
	drain.Wait()
	if taken || broken {
		mustApply(t, s, cfg)
	}
	for _, a := range []string{first, second} {
		wantNoErr(t, newPatron(t, "http://"+a, "tcp", a).ask())
	}
	wantNoErr(t, newPatron(t, "http://localhost/x", "unix", path).ask())
	if n := len(s.Addresses()); n != 3 {
		t.Errorf("%d addresses are listed", n)
	}
}

// checkLost has s take everything but one address back.
func checkLost(t *testing.T, s *Server, lost string, drained func()) {
	t.Helper()
	wantErr(t, s.Handover().Resume(), lost)
	drained()
	for _, a := range s.Addresses() {
		if a.Addr.String() == lost {
			t.Errorf("%s is listed", lost)
		} else if a.Addr.IsUnix() {
			continue
		} else if err := newPatron(t, "http://"+a.Addr.String(), "tcp", a.Addr.String()).ask(); err != nil {
			t.Error(err)
		}
	}
	if len(s.Addresses()) == 0 {
		t.Error("nothing is listed")
	}
}

// The requests of a connection go on being counted in the new process.
func TestHandover_requestsSoFar(t *testing.T) {
	const file = quiet + `
http = { name = "web", listen = "127.0.0.1:0", limits.keepalive_requests = 3 }
routes = [{ pattern = "/*", dest = "status:200" }]
`
	old := serve(t, parse(t, file), Options{})
	p := newPatron(t, "http://localhost/", "tcp", old.Addresses()[0].Addr.String())
	for range 2 {
		testutil.Must(t, p.ask())
	}
	next, _ := successor(t, old, file)
	pass(t, old, next)
	m := move(old, next)
	defer m.end()
	testutil.Eventually(t, testutil.Patience, func() bool { return next.Conns() == 1 })
	answer, err := p.client.Get(p.url)
	if err != nil || !answer.Close || p.dials.Load() != 1 {
		t.Fatalf("%+v: %v, %d connections", answer, err, p.dials.Load())
	}
	answer.Body.Close()
}

// A reactor takes a large batch of connections in several ticks: its clients do not wait for all of them.
func TestHandover_receivesInTurns(t *testing.T) {
	const file = quiet + "http = { name = \"web\", listen = \"127.0.0.1:0\" }\nglobal.threads = 1\n" + all200
	old := serve(t, parse(t, file), Options{})
	next, _ := successor(t, old, file)
	pass(t, old, next)
	var batch []Given
	for range 3 * receivesPerTick {
		pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		testutil.Must(t, err)
		t.Cleanup(func() { unix.Close(pair[0]) })
		batch = append(batch, Given{FD: pair[1]})
	}
	most, before, done := 0, 0, make(chan struct{})
	look := &engine.Task{}
	look.Run = func(r *engine.Reactor) {
		now := next.Conns()
		most, before = max(most, now-before), now
		if now == len(batch) {
			close(done)
			return
		}
		r.Post(look)
	}
	next.engine.Reactors()[0].Post(look)
	if n := next.Handover().Receive(batch); n != len(batch) {
		t.Errorf("%d of %d received", n, len(batch))
	}
	<-done
	if most > receivesPerTick {
		t.Errorf("%d in one tick", most)
	}
}

// Before Resume a new process runs and accepts nothing; what connects waits.
func TestHandover_suspendedStart(t *testing.T) {
	const file = quiet + "http = { name = \"web\", listen = %q }\n" + all200
	a := testutil.FreeAddr(t)
	s := serve(t, parse(t, fmt.Sprintf(file, a)), Options{Suspended: true})
	wantNoErr(t, s.Handover().SelfCheck(t.Context()))
	p := newPatron(t, "http://"+a, "tcp", a)
	answered := make(chan error, 1)
	go func() { answered <- p.ask() }()
	testutil.Eventually(t, testutil.Patience, func() bool { return p.dials.Load() == 1 })
	if n := s.Conns(); n != 0 {
		t.Errorf("%d connections before Resume", n)
	}
	testutil.Must(t, s.Handover().Resume())
	wantNoErr(t, <-answered)
}

// A Unix socket whose file is another one by now is made anew, and no process removes the file of another one.
func TestHandover_unixFile(t *testing.T) {
	const file = quiet + "http = { name = \"web\", listen = \"unix:%s\" }\n" + all200
	path := testutil.SocketPath(t)
	ask := func() error { return newPatron(t, "http://localhost", "unix", path).ask() }
	text := fmt.Sprintf(file, path)
	old := serve(t, parse(t, text), Options{})
	refused, _ := successor(t, old, text)
	_ = refused.Stop() // before it served
	if err := ask(); err != nil {
		t.Fatalf("after one that ended early: %v", err)
	}
	os.Remove(path)
	next, sockets := successor(t, old, text)
	if is := next.Handover().Claims(); len(is) != 1 || is[0] || sockets[0].File == (FileID{}) {
		t.Fatalf("claims %v of %+v", is, sockets)
	}
	pass(t, old, next)
	old.Handover().CloseOthers()
	_ = old.Stop()
	wantNoErr(t, ask())
}

// Sockets of systemd are adopted by their addresses alone, and closing them leaves them as they were.
func TestHandover_socketActivation(t *testing.T) {
	const file = quiet + "http = { name = \"web\", listen = [%q, \"unix:%s\"] }\n" + all200
	path := testutil.SocketPath(t)
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	testutil.Must(t, err)
	defer tcp.Close()
	local, err := net.Listen("unix", path)
	testutil.Must(t, err)
	defer local.Close()
	address := tcp.Addr().String()
	for range 2 {
		var sockets []Socket
		for _, l := range []interface{ File() (*os.File, error) }{local.(*net.UnixListener), tcp.(*net.TCPListener)} {
			f, err := l.File()
			testutil.Must(t, err)
			fd, err := unix.Dup(int(f.Fd()))
			f.Close()
			testutil.Must(t, err)
			defer unix.Close(fd)
			socket, err := SocketOf(fd)
			testutil.Must(t, err)
			sockets = append(sockets, socket)
		}
		cfg := parse(t, "global.worker_threads = 3\n"+fmt.Sprintf(file, address, path))
		s := serve(t, cfg, Options{Adopt: sockets})
		if slices.Contains(s.Handover().Claims(), false) {
			t.Fatalf("claims %v of %+v", s.Handover().Claims(), sockets)
		}
		for range 10 {
			for _, p := range []*patron{
				newPatron(t, "http://"+address, "tcp", address), newPatron(t, "http://localhost", "unix", path),
			} {
				testutil.Must(t, p.ask())
				p.client.CloseIdleConnections()
			}
		}
		s.Drain(testutil.Patience)
		wantNoErr(t, s.Stop())
	}
	c, err := net.DialTimeout("tcp", address, testutil.Patience)
	if err != nil {
		t.Fatal("systemd could not start it again: ", err)
	}
	c.Close()
	if _, err := SocketOf(1 << 20); err == nil {
		t.Error("a descriptor that is none is a socket")
	}
}

// A socket is claimed by its address and by what it takes, never by its name.
func TestHandover_claims(t *testing.T) {
	for _, c := range []struct {
		socket Socket
		listen string
		want   bool
	}{
		{Socket{Address: "127.0.0.1:8080"}, "127.0.0.1:8080", true},
		{Socket{Address: "127.0.0.1:8080"}, "127.0.0.1:8081", false},
		{Socket{Address: "127.0.0.1:8080", AnyPort: true}, "127.0.0.1:0", true},
		{Socket{Address: "127.0.0.1:8080"}, "127.0.0.1:0", false},
		{Socket{Address: "127.0.0.1:8080", AnyPort: true}, "127.0.0.1:8080", false},
		{Socket{Address: "127.0.0.2:8080", AnyPort: true}, "127.0.0.1:0", false},
		{Socket{Address: "[::]:8080"}, ":8080", true},
		{Socket{Address: "0.0.0.0:8080"}, ":8080", true},
		{Socket{Address: "[::]:8080", V6Only: true}, ":8080", false},
		{Socket{Address: "[::]:8080", V6Only: true}, "[::]:8080", true},
		{Socket{Address: "[::1]:8080", V6Only: true}, "[::1]:8080", true},
		{Socket{Address: "[::1]:8080"}, "[::1]:8080", true},
		{Socket{Address: "unix:/run/a"}, "unix:/run/a", true},
		{Socket{Address: "unix:/run/a"}, "unix:/run/b", false},
		{Socket{Address: "unix:/run/a"}, "127.0.0.1:8080", false},
		{Socket{Address: "nonsense"}, "127.0.0.1:8080", false},
	} {
		c.socket.Purpose, c.socket.Listener = PurposeHTTP, "other"
		cfg := parse(t, fmt.Sprintf(quiet+"http.listen = %q\n", c.listen))
		a := adoption{sockets: []Socket{c.socket}, claims: make([]*listener, 1)}
		if got := len(a.group(&cfg.Listeners[0].Addresses[0])) == 1; got != c.want {
			t.Errorf("%+v is claimed by %s: %v", c.socket, c.listen, got)
		}
	}
}

// Every kind of listener is asked, and a backend that is down or a strict rule fails no self-check.
func TestHandover_selfCheck(t *testing.T) {
	ca, dir := testutil.NewAuthority(t), t.TempDir()
	ca.Write(t, filepath.Join(dir, "ca.pem"))
	ca.IssueTo(t, dir, "pair", nil, "example.org")
	pair := fmt.Sprintf("cert = %q\nkey = %q\n", filepath.Join(dir, "pair.pem"), filepath.Join(dir, "pair.key"))
	s := start(t, Options{}, "%s", quiet+`
[http]
listen = ["127.0.0.1:0", "unix:`+testutil.SocketPath(t)+`"]
[upstreams.api]
backends = [{ address = "127.0.0.1:1" }]
[[routes]]
pattern = "/*"
dest = "api"
[[listeners]]
name = "redirect"
listen = "127.0.0.1:0"
redirect_to_https = true
[[listeners]]
name = "h2c"
listen = "127.0.0.1:0"
protocols = ["h2"]
[[listeners]]
name = "both"
listen = "127.0.0.1:0"
protocols = ["h1", "h2"]
[[listeners]]
name = "auto"
listen = "127.0.0.1:0"
tls = "auto"
`+pair+`
[[listeners]]
name = "mutual"
listen = "127.0.0.1:0"
tls = true
client_auth = "require"
client_ca = "`+filepath.Join(dir, "ca.pem")+`"
`+pair+`
[[listeners]]
name = "strict"
listen = "127.0.0.1:0"
tls = true
protocols = ["h1"]
strict_sni = true
`+pair)
	for range 2 {
		wantNoErr(t, s.Handover().SelfCheck(t.Context()))
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return s.Conns() == 0 })
	stopped := start(t, Options{}, "%s", quiet+"http.listen = \"127.0.0.1:0\"\n"+all200)
	_ = stopped.Stop()
	if err := stopped.Handover().SelfCheck(t.Context()); err == nil {
		t.Error("what has ended serves")
	}
}

// A self-check has no header of the PROXY protocol and no address that a connection filter would let through.
func TestHandover_selfCheckPassesTheDoor(t *testing.T) {
	ca := testutil.NewAuthority(t)
	secured := secured(t, ca, t.TempDir())
	announced := "proxy_protocol = { from = [\"127.0.0.0/8\"], required = true }\n"
	plain := "[[listeners]]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"
	for what, text := range map[string]string{
		"a header of an address":         plain + announced,
		"a header of an address and TLS": secured + announced,
		"a header of Unix sockets":       plain + "proxy_protocol = { from = [\"unix\"], required = true }\n",
		"a filter of accepted ones":      plain + doorThatRefuses("all"),
		"a filter of accepted ones, TLS": secured + doorThatRefuses("all"),
		"a filter of handshakes":         secured + "protocols = [\"h1\"]\n" + doorThatRefuses("secured"),
	} {
		s := start(t, Options{}, "%s", quiet+text+all200)
		if err := s.Handover().SelfCheck(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// doorThatRefuses ends the text of a listener that has a connection filter.
func doorThatRefuses(what string) string {
	return "connection_filters = [\"door\"]\n" +
		"[connection_filters.door]\ntype = \"test_door\"\nrefuse = \"" + what + "\"\n"
}

// A reactor that hangs fails the self-check in time.
func TestHandover_selfCheckOfAReactorThatHangs(t *testing.T) {
	s := start(t, Options{}, "%s", quiet+"http.listen = \"127.0.0.1:0\"\n"+all200)
	hangs := make(chan struct{})
	s.engine.Reactors()[0].Post(&engine.Task{Run: func(*engine.Reactor) { <-hangs }})
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Handover().SelfCheck(ctx)
	close(hangs)
	wantErr(t, err, "127.0.0.1:0")
}

// noted is a registry that counts.
type noted struct{ puts, withdrawals atomic.Int64 }

func (n *noted) Put(_ context.Context, e *registry.Entry) (string, error) {
	n.puts.Add(1)
	return e.Address, nil
}

func (n *noted) Withdraw(context.Context) error {
	n.withdrawals.Add(1)
	return nil
}

// Registrations that a drain has withdrawn are made again when the new process ends. That drain does not wait for
// others to hear of it, since another process serves them.
func TestHandover_registersAgain(t *testing.T) {
	counts := &noted{}
	cfg := parseBy(t, config.Options{Registries: []string{"noted"}}, quiet+
		`http = { name = "web", listen = "127.0.0.1:0" }
routes = [{ pattern = "/*", dest = "status:200" }]
register = { to = "noted://x", linger = "1m", ttl = "1h" }`)
	s := serve(t, cfg, Options{Registries: map[string]registry.Maker{
		"noted": func(*locator.Locator) (registry.Registry, error) { return counts, nil },
	}})
	testutil.Eventually(t, testutil.Patience, func() bool { return counts.puts.Load() == 1 })
	if _, err := s.Handover().Sockets(); err != nil {
		t.Fatal(err)
	}
	testutil.Must(t, s.Handover().Suspend([]int{0, 1, 99}))
	begun := time.Now()
	if !s.Drain(testutil.Patience) || counts.withdrawals.Load() != 1 || time.Since(begun) > testutil.Patience {
		t.Errorf("%d withdrawals, %v", counts.withdrawals.Load(), time.Since(begun))
	}
	testutil.Must(t, s.Handover().Resume())
	testutil.Eventually(t, testutil.Patience, func() bool { return counts.puts.Load() == 2 })
	get(t, s, "web", "/")
}

// against runs ask against a server on the other end of a connection.
func against(t *testing.T, ask func(net.Conn) error, serve func(c net.Conn)) error {
	t.Helper()
	down, up := net.Pipe()
	up.SetDeadline(time.Now().Add(testutil.Patience))
	down.SetDeadline(time.Now().Add(testutil.Patience))
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer down.Close()
		serve(down)
	}()
	err := ask(up)
	up.Close()
	<-ended
	return err
}

// answer reads a request and sends text.
func answer(text string) func(c net.Conn) {
	return func(c net.Conn) {
		if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
			io.WriteString(c, text) //nolint:errcheck // the client may have left
		}
	}
}

func TestAskH1(t *testing.T) {
	for _, c := range []struct{ answer, want string }{
		{"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", ""},
		{"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ""},
		{"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", "answered with 500 No"},
		{"HTTP/1.1 2", "no answer"},
		{"", "no answer"},
		{"HTTP/1.1 200 OK\r\nX: " + strings.Repeat("x", 80<<10) + "\r\n\r\n", "no answer"},
	} {
		err := against(t, askH1, answer(c.answer))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%.30q: %v, want %q", c.answer, err, c.want)
		}
	}
}

func TestAskH2C(t *testing.T) {
	const preface = 24 + 9
	for frame, good := range map[string]bool{
		"\x00\x00\x00\x04\x00\x00\x00\x00\x00": true, "\x00\x00\x00\x07\x00\x00\x00\x00\x00": false, "HTTP/1.1": false,
	} {
		err := against(t, askH2C, func(c net.Conn) {
			io.CopyN(io.Discard, c, preface) //nolint:errcheck // the answer shows
			io.WriteString(c, frame)         //nolint:errcheck // as above
		})
		wantEqual(t, err == nil, good, "%q: %v", frame, err)
	}
}

func TestAskTLS(t *testing.T) {
	cert, key := testutil.NewAuthority(t).Issue(t, nil, "example.org")
	must := tls.RequireAnyClientCert
	pair := tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	for name, c := range map[string]struct {
		config *tls.Config
		answer string
		good   bool
	}{
		"HTTP/1":             {&tls.Config{NextProtos: []string{"http/1.1"}}, "HTTP/1.1 200 OK\r\n\r\n", true},
		"HTTP/1 that fails":  {&tls.Config{}, "HTTP/1.1 503 No\r\n\r\n", false},
		"HTTP/2":             {&tls.Config{NextProtos: []string{"h2"}}, "", true},
		"client certificate": {&tls.Config{ClientAuth: must}, "", true},
		"one by TLS 1.2":     {&tls.Config{ClientAuth: must, MaxVersion: tls.VersionTLS12}, "", true},
		"an old version":     {&tls.Config{MaxVersion: tls.VersionTLS11}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			c.config.Certificates = []tls.Certificate{pair}
			ask := func(conn net.Conn) error { return askTLS(conn, []string{"h2", "http/1.1"}) }
			err := against(t, ask, func(conn net.Conn) {
				s := tls.Server(conn, c.config)
				if s.Handshake() == nil && c.answer != "" {
					answer(c.answer)(s)
				}
			})
			if (err == nil) != c.good {
				t.Error(err)
			}
		})
	}
}
