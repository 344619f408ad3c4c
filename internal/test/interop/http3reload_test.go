package interop

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// slow is an origin whose answers to /slow have a first line, and a last one once the test says so. Those of /steady
// are as a crowd wants them.
type slow struct {
	addr string
	end  chan struct{}
}

func newSlow(t *testing.T) *slow {
	o := &slow{end: make(chan struct{})}
	o.addr = testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			fmt.Fprintln(w, "begun")
			w.(http.Flusher).Flush()
			select {
			case <-o.end:
			case <-r.Context().Done():
				return
			}
		}
		if r.URL.Path == "/steady" {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintln(w, "well", n)
			return
		}
		fmt.Fprint(w, "well")
	})
	return o
}

// exchange is a request of HTTP/3 whose answer has begun.
type exchange struct{ *http.Response }

func (o *slow) begin(t *testing.T, c *http.Client, addr string) exchange {
	t.Helper()
	r, _ := http.NewRequestWithContext(bound(t), "GET", "https://"+addr+"/slow", nil)
	resp, err := c.Do(r)
	testutil.Must(t, err)
	t.Cleanup(func() { resp.Body.Close() })
	if _, err := io.ReadFull(resp.Body, make([]byte, len("begun\n"))); err != nil {
		t.Fatal(err)
	}
	return exchange{resp}
}

// wantEnd checks that the answer comes whole.
func (x exchange) wantEnd(t *testing.T) {
	t.Helper()
	if rest, err := io.ReadAll(x.Body); err != nil || string(rest) != "well" {
		t.Errorf("the request in progress: %q %v", rest, err)
	}
}

// placed is edge with one listener on an address that does not change over reloads.
type placed struct {
	*edge
	addr, head string
	reloads    int
}

func startPlaced(t *testing.T, o *slow, format string, args ...any) *placed {
	t.Helper()
	p := &placed{addr: testutil.FreeAddr(t)}
	text := "[upstreams.u]\nbackends = [" + fmt.Sprintf("{ address = %q }", o.addr) +
		"]\n[[routes]]\npattern = \"/*\"\ndest = \"u\"\n" + fmt.Sprintf(format, args...)
	keys := newKeys(t)
	p.edge = &edge{ca: keys.ca, pool: keys.pool, file: filepath.Join(t.TempDir(), "edge.toml")}
	p.head = fmt.Sprintf("[[certificates]]\ncert = %q\nkey = %q\n[log]\noutput = []\n",
		keys.cert, keys.key) + text
	p.write(t, p.listener(`"h1", "h2", "h3"`))
	p.Process = testutil.StartEdge(t, p.file)
	p.WaitLine(`"msg":"listening".*"listener":"web"`)
	return p
}

func (p *placed) listener(protocols string) string {
	return fmt.Sprintf("[[listeners]]\nname = \"web\"\nlisten = %q\ntls = true\nprotocols = [%s]\n", p.addr, protocols)
}

func (p *placed) write(t *testing.T, listeners string) {
	t.Helper()
	testutil.Must(t, os.WriteFile(p.file, []byte(p.head+listeners), 0o600))
}

// reload applies the listeners, and waits until that is done.
func (p *placed) reload(t *testing.T, listeners string) {
	t.Helper()
	p.write(t, listeners)
	p.reloads++
	p.Signal(syscall.SIGHUP)
	testutil.Eventually(t, testutil.Patience, func() bool {
		return strings.Count(p.Output(), `"msg":"configuration reloaded"`) == p.reloads
	}, "reload")
}

func (p *placed) h3(t *testing.T) *http.Client {
	return &http.Client{Transport: newHTTP3(t, p.client("h3"))}
}

// well asks for a page on a connection of its own.
func (p *placed) well(t *testing.T, what string) {
	t.Helper()
	c := p.h3(t)
	if resp, body := fetch(t, c, "GET", "https://"+p.addr+"/", nil); resp.StatusCode != 200 || body != "well" {
		t.Errorf("%s: %s %q", what, resp.Status, body)
	}
	_ = c.Transport.(*http3.Transport).Close()
}

// refused checks that no connection of QUIC is taken, and that clients are told so at once.
func (p *placed) refused(t *testing.T) {
	t.Helper()
	_, err := quicgo.DialAddr(bound(t), p.addr, p.client("h3"), nil)
	var fault *quicgo.TransportError
	if !errors.As(err, &fault) || fault.ErrorCode != quicgo.ConnectionRefused {
		t.Errorf("a new connection: %v", err)
	}
}

// closed waits until the UDP port is closed.
func (p *placed) closed(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		c, err := net.ListenPacket("udp4", p.addr)
		if err == nil {
			c.Close()
		}
		return err == nil
	}, "the UDP port is closed")
}

// tcpClosed waits until the TCP port is closed.
func (p *placed) tcpClosed(t *testing.T) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		l, err := net.Listen("tcp4", p.addr)
		if err == nil {
			l.Close()
		}
		return err == nil
	}, "the TCP port is closed")
}

// connect opens a connection of HTTP/3.
func (p *placed) connect(t *testing.T) (*quicgo.Conn, *http3.ClientConn) {
	t.Helper()
	conn, err := quicgo.DialAddr(bound(t), p.addr, p.client("h3"), nil)
	testutil.Must(t, err)
	t.Cleanup(func() { _ = conn.CloseWithError(0x100, "") })
	return conn, (&http3.Transport{}).NewClientConn(conn)
}

func (p *placed) altSvc(t *testing.T) string {
	t.Helper()
	c := &http.Client{Transport: &http.Transport{TLSClientConfig: p.client("http/1.1"), DisableKeepAlives: true}}
	resp, _ := fetch(t, c, "GET", "https://"+p.addr+"/", nil)
	return resp.Header.Get("Alt-Svc")
}

// A reload that takes HTTP/3 away, or its listener, has requests in progress end, and idle connections. One that names
// it again meanwhile has new connections at once.
func TestHTTP3_takenAway(t *testing.T) {
	for name, without := range map[string]func(p *placed) string{
		"protocol": func(p *placed) string { return p.listener(`"h1", "h2"`) },
		"listener": func(*placed) string { return "[[listeners]]\nname = \"other\"\nlisten = \"127.0.0.1:0\"\n" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o := newSlow(t)
			p := startPlaced(t, o, "")
			with := p.listener(`"h1", "h2", "h3"`)
			idle, idleConn := p.connect(t)
			goneRequest, _ := http.NewRequestWithContext(bound(t), "GET", "https://"+p.addr+"/", nil)
			if resp, err := idleConn.RoundTrip(goneRequest); err != nil {
				t.Fatal(err)
			} else {
				resp.Body.Close()
			}
			first := o.begin(t, p.h3(t), p.addr)
			p.reload(t, without(p))
			p.refused(t)
			if name == "protocol" {
				if a := p.altSvc(t); a != "" {
					t.Errorf("Alt-Svc: %q", a)
				}
			} else { // TCP closes first
				p.tcpClosed(t)
			}
			select {
			case <-idle.Context().Done():
			case <-bound(t).Done():
				t.Error("an idle connection stays")
			}
			var code *quicgo.ApplicationError
			if err := context.Cause(idle.Context()); !errors.As(err, &code) || code.ErrorCode != 0x100 {
				t.Errorf("the end of an idle connection: %v", err)
			}
			p.reload(t, with)
			p.well(t, "named again")
			if a := p.altSvc(t); a == "" {
				t.Error("no Alt-Svc")
			}
			p.reload(t, without(p))
			p.refused(t)
			close(o.end)
			first.wantEnd(t)
			p.closed(t)
			p.reload(t, with)
			p.well(t, "at last")
		})
	}
}

// Requests that do not end keep the port for grace_period.
func TestHTTP3_takenAwayAndCut(t *testing.T) {
	t.Parallel()
	o := newSlow(t)
	p := startPlaced(t, o, "[global]\ngrace_period = \"500ms\"\n")
	first := o.begin(t, p.h3(t), p.addr)
	p.reload(t, p.listener(`"h1", "h2"`))
	if rest, err := io.ReadAll(first.Body); err == nil {
		t.Errorf("the answer has ended: %q", rest)
	}
	p.closed(t)
}

// A UDP port that another program has refuses a start and a reload, and the program is named.
func TestHTTP3_portTaken(t *testing.T) {
	t.Parallel()
	o := newSlow(t)
	p := startPlaced(t, o, "")
	p.reload(t, p.listener(`"h1", "h2"`))
	p.closed(t)
	taken, err := net.ListenPacket("udp4", p.addr)
	testutil.Must(t, err)
	defer taken.Close()
	want := fmt.Sprintf(`edge.toml:\d+:\d+: listener web: listen udp %s: address already in use`, p.addr)
	p.write(t, p.listener(`"h1", "h2", "h3"`))
	p.Signal(syscall.SIGHUP)
	p.WaitLine("reload failed, nothing has changed.*" + want)
	p.WaitLine(fmt.Sprintf("process %d, listens there", os.Getpid()))
	if a := p.altSvc(t); a != "" {
		t.Errorf("Alt-Svc: %q", a)
	}
	p.Stop()
	second := testutil.StartEdge(t, p.file)
	second.WaitLine(want)
	second.WaitLine(fmt.Sprintf("process %d, listens there", os.Getpid()))
	if code := second.Wait(testutil.Patience); code == 0 {
		t.Error("it has started")
	}
}

// Reloads with other options and another certificate, while clients ask over connections that stay and over new ones:
// nobody notices.
func TestHTTP3_reloadsUnderLoad(t *testing.T) {
	reloads := 20
	a, b := steady(t), steady(t)
	e := startEdge(t, "%s", reloading(0, a, b))
	c := newCrowd(t)
	c.ask(6, "https://"+e.secure+"/", func() *http.Client {
		return &http.Client{Transport: newHTTP3(t, e.client("h3"))}
	})
	c.ask(2, "https://"+e.secure+"/", func() *http.Client {
		return &http.Client{Transport: oneOff(func() *http3.Transport { return newHTTP3(t, e.client("h3")) })}
	})
	other := testutil.NewAuthority(t)
	other.IssueTo(t, filepath.Dir(e.file), "other", nil, "other.example.org")
	for i := 1; i <= reloads && c.failed.Load() == 0; i++ {
		served := c.served.Load()
		const protocols = "protocols = [\"h1\", \"h2\", \"h3\"]\n"
		with := fmt.Sprintf("%sh3 = { max_streams = %d, hosts = \"h%d.example.org\" }\n", protocols, 10+i%3, i)
		text := strings.Replace(e.listeners, protocols, with, 1) + reloading(i, a, b)
		if i%2 == 1 {
			at := filepath.Join(filepath.Dir(e.file), "other")
			text += fmt.Sprintf("[[certificates]]\ncert = %q\nkey = %q\n", at+".pem", at+".key")
		}
		testutil.Must(t, os.WriteFile(e.file, []byte(text), 0o600))
		e.Signal(syscall.SIGHUP)
		testutil.Eventually(t, testutil.Minutes, func() bool {
			return strings.Count(e.Output(), `"msg":"configuration reloaded"`) >= i && c.served.Load() > served+20 ||
				c.failed.Load() > 0
		})
	}
	c.leave(t)
	t.Logf("%d requests over %d reloads", c.served.Load(), reloads)
}

// oneOff makes a connection for each request.
type oneOff func() *http3.Transport

func (f oneOff) RoundTrip(r *http.Request) (*http.Response, error) {
	x := f()
	resp, err := x.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	resp.Body = closing{resp.Body, x}
	return resp, nil
}

type closing struct {
	io.ReadCloser
	with io.Closer
}

func (c closing) Close() error {
	_ = c.ReadCloser.Close()
	return c.with.Close()
}
