package health_test

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/internal/upstream/health"
)

// lively returns options whose checks follow each other soon.
func lively() health.Options {
	return health.Options{
		Name: "api", Timeout: 5 * time.Second, Rules: health.Rules{
			Interval: 10 * time.Millisecond, Fast: 5 * time.Millisecond, Down: 10 * time.Millisecond, Rise: 2, Fall: 3,
		},
	}
}

// running checks the member at an address on real sockets.
func running(t *testing.T, address string, o health.Options) (*backend.Set, *health.Watch) {
	t.Helper()
	return watching(t, backend.Spec{Address: address}, o)
}

func watching(t *testing.T, one backend.Spec, o health.Options) (*backend.Set, *health.Watch) {
	t.Helper()
	e, err := engine.New(engine.Options{Reactors: 2})
	testutil.Must(t, err)
	o.Handshaker = tlsconn.NewHandshaker(e, tlsconn.HandshakerOptions{})
	e.Start()
	t.Cleanup(e.Stop)
	set := backend.NewSet(one)
	w := health.NewMonitor(e).Watch(set, o)
	t.Cleanup(w.Stop)
	return set, w
}

// outcome waits for what the checks of a member say: "" when they pass, else the word.
func outcome(t *testing.T, set *backend.Set, w *health.Watch) string {
	t.Helper()
	m := set.Members()[0]
	testutil.Eventually(t, testutil.Patience, func() bool {
		s := w.Stats()
		return s.Passed >= 12 || s.Downs > 0
	}, "the checks decide")
	if m.Reasons()&backend.Health == 0 {
		return ""
	}
	return m.Why(backend.Health).Word
}

func addressOf(s *httptest.Server) string { return s.Listener.Addr().String() }

// serve starts an HTTP server with TLS or without; protocols as in http.Server.
func serve(t *testing.T, h http.Handler, cert *tls.Certificate, protocols ...string) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	for _, p := range protocols {
		switch p {
		case "h1":
			s.Config.Protocols.SetHTTP1(true)
		case "h2":
			s.Config.Protocols.SetHTTP2(true)
		case "h2c":
			s.Config.Protocols.SetUnencryptedHTTP2(true)
		}
	}
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if cert == nil {
		s.Start()
	} else {
		s.EnableHTTP2 = s.Config.Protocols.HTTP2()
		s.TLS = &tls.Config{Certificates: []tls.Certificate{*cert}}
		s.StartTLS()
	}
	t.Cleanup(s.Close)
	return s
}

// healthz is a service with a path for each answer.
func healthz() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/ok", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "status: alive\n") })
	mux.HandleFunc("/no", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) })
	mux.Handle("/moved", http.RedirectHandler("/ok", http.StatusFound))
	mux.HandleFunc("/empty", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(http.StatusNoContent) })
	mux.HandleFunc("/long", func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, strings.Repeat("x", 1<<20)+"alive") //nolint:errcheck // the check reads 64 KiB of it
	})
	mux.HandleFunc("/pieces", func(w http.ResponseWriter, r *http.Request) {
		for _, c := range "it is alive now" {
			fmt.Fprintf(w, "%c", c)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("/asked", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != "OPTIONS" || r.Host != "api.test" || r.Header.Get("X-Check") != "1" || r.URL.RawQuery != "a=b" ||
			r.UserAgent() != "edge-health" {
			http.Error(w, "", http.StatusTeapot)
		}
	})
	return mux
}

func TestWatch_asksServersOfHTTP(t *testing.T) {
	authority := testutil.NewAuthority(t)
	issue := func(change func(*x509.Certificate), name string) *tls.Certificate {
		cert, key := authority.Issue(t, change, name)
		return &tls.Certificate{Certificate: [][]byte{cert.Raw}, PrivateKey: key}
	}
	good := issue(nil, "api.test")
	expired := issue(func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-48*time.Hour), time.Now().Add(-time.Hour)
	}, "api.test")
	other := issue(nil, "other.test")
	ca := string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: authority.Cert.Raw}))
	secure := func(o *health.Options) { o.TLS = upstream.TLS{On: true, CA: ca, ServerName: "api.test"} }
	h2 := func(o *health.Options) { o.Protocol = upstream.H2 }
	auto := func(o *health.Options) { o.Protocol = upstream.Auto }
	for name, c := range map[string]struct {
		path      string
		cert      *tls.Certificate
		protocols string
		set       []func(*health.Options)
		want      string
	}{
		"h1": {path: "/ok"}, "status": {path: "/no", want: "status"}, "redirect": {path: "/moved", want: "status"},
		"no body": {path: "/empty"}, "long body": {path: "/long"},
		"expected status": {path: "/moved", set: []func(*health.Options){func(o *health.Options) {
			o.Statuses = []health.Statuses{{From: 200, To: 200}, {From: 301, To: 302}}
		}}},
		"expected statuses": {path: "/ok", want: "status", set: []func(*health.Options){func(o *health.Options) {
			o.Statuses = []health.Statuses{{From: 201, To: 299}}
		}}},
		"body":             {path: "/ok", set: []func(*health.Options){body("alive")}},
		"body in pieces":   {path: "/pieces", set: []func(*health.Options){body("alive")}},
		"body mismatch":    {path: "/ok", set: []func(*health.Options){body("dead")}, want: "body"},
		"body after 64 k":  {path: "/long", set: []func(*health.Options){body("alive")}, want: "body"},
		"body of nothing":  {path: "/empty", set: []func(*health.Options){body("alive")}, want: "body"},
		"asked as it says": {path: "/asked?a=b", set: []func(*health.Options){asked}},
		"h2c":              {path: "/ok", protocols: "h2c", set: []func(*health.Options){h2, body("alive")}},
		"h2c status":       {path: "/no", protocols: "h2c", set: []func(*health.Options){h2}, want: "status"},
		"h2c asked":        {path: "/asked?a=b", protocols: "h2c", set: []func(*health.Options){h2, asked}},
		"h2c long":         {path: "/long", protocols: "h2c", set: []func(*health.Options){h2}},
		"h2c to h1":        {path: "/ok", set: []func(*health.Options){h2}, want: "protocol"},
		"h1 to h2c":        {path: "/ok", protocols: "h2c", want: "reset"},
		"TLS":              {path: "/ok", cert: good, set: []func(*health.Options){secure, body("alive")}},
		"TLS h2":           {path: "/ok", cert: good, protocols: "h2", set: []func(*health.Options){secure, h2}},
		"TLS auto h2":      {path: "/ok", cert: good, protocols: "h2 h1", set: []func(*health.Options){secure, auto}},
		"TLS auto h1":      {path: "/ok", cert: good, protocols: "h1", set: []func(*health.Options){secure, auto}},
		"TLS auto status": {
			path: "/no", cert: good, protocols: "h2", set: []func(*health.Options){secure, auto}, want: "status",
		},
		"TLS to plain":     {path: "/ok", set: []func(*health.Options){secure}, want: "tls"},
		"plain to TLS":     {path: "/ok", cert: good, want: "status"},
		"TLS expired":      {path: "/ok", cert: expired, set: []func(*health.Options){secure}, want: "tls"},
		"TLS auto expired": {path: "/ok", cert: expired, set: []func(*health.Options){secure, auto}, want: "tls"},
		"TLS other name":   {path: "/ok", cert: other, set: []func(*health.Options){secure}, want: "tls"},
	} {
		t.Run(name, func(t *testing.T) {
			protocols := strings.Fields(c.protocols)
			if len(protocols) == 0 {
				protocols = []string{"h1"}
			}
			s := serve(t, healthz(), c.cert, protocols...)
			o := lively()
			o.Path = c.path
			for _, set := range c.set {
				set(&o)
			}
			set, w := running(t, addressOf(s), o)
			if got := outcome(t, set, w); got != c.want {
				why := set.Members()[0].Why(backend.Health)
				t.Errorf("the checks say %q, want %q; %+v, %+v", got, c.want, w.Stats(), why)
			}
		})
	}
}

func body(text string) func(*health.Options) { return func(o *health.Options) { o.Body = text } }

func asked(o *health.Options) {
	o.Method, o.Host, o.Fields = "OPTIONS", "api.test", []health.Field{{Name: "X-Check", Value: "1"}}
}

// Bytes after the end of an answer (RFC 9112 §6.3) say nothing of the server. The connection is not used again.
func TestWatch_bytesAfterTheAnswer(t *testing.T) {
	const (
		line    = "HTTP/1.1 200 OK\r\n"
		chunked = "Transfer-Encoding: chunked\r\n\r\n"
		empty   = "Content-Length: 0\r\n\r\n"
	)
	for name, c := range map[string]struct{ method, body, answer string }{
		"HEAD with content":     {"HEAD", "", line + "Content-Length: 6\r\n\r\npoison"},
		"two bytes too many":    {"GET", "alive", line + "Content-Length: 5\r\n\r\nalive\r\n"},
		"204 with a chunk":      {"GET", "", "HTTP/1.1 204 No Content\r\n" + chunked + "0\r\n\r\n"},
		"after the last chunk":  {"GET", "alive", line + chunked + "5\r\nalive\r\n0\r\n\r\n\r\n"},
		"a second answer, down": {"GET", "", line + empty + "HTTP/1.1 500 No\r\n" + empty},
	} {
		t.Run(name, func(t *testing.T) {
			l := testutil.Serve(t, func(conn net.Conn) {
				defer conn.Close()
				for in := bufio.NewReader(conn); ; {
					if _, err := http.ReadRequest(in); err != nil {
						return
					}
					if _, err := io.WriteString(conn, c.answer); err != nil {
						return
					}
				}
			})
			o := lively()
			o.Method, o.Body = c.method, c.body
			set, w := running(t, l.Addr().String(), o)
			if got := outcome(t, set, w); got != "" {
				t.Errorf("the checks say %q; %+v", got, set.Members()[0].Why(backend.Health))
			}
		})
	}
}

// A server of bytes is asked by bytes.
func TestWatch_asksServersOfBytes(t *testing.T) {
	redis := testutil.Serve(t, func(c net.Conn) {
		in := make([]byte, 100)
		if n, _ := c.Read(in); string(in[:n]) == "PING\r\n" {
			c.Write([]byte("+PO")) //nolint:errcheck // the check says
			c.Write([]byte("NG\r\n"))
		}
		c.Close()
	})
	ssh := testutil.Serve(t, func(c net.Conn) {
		c.Write([]byte("SSH-2.0-test\r\n")) //nolint:errcheck // the check says
		io.Copy(io.Discard, c)              //nolint:errcheck // the check says
		c.Close()
	})
	for name, c := range map[string]struct {
		address, send, expect, want string
	}{
		"connects":    {ssh.Addr().String(), "", "", ""},
		"greets":      {ssh.Addr().String(), "", "SSH-2.0", ""},
		"answers":     {redis.Addr().String(), "PING\r\n", "+PONG", ""},
		"says others": {redis.Addr().String(), "PING\r\n", "+LOADED", "body"},
		"says none":   {redis.Addr().String(), "QUIT\r\n", "+PONG", "body"},
		"refuses":     {testutil.FreeAddr(t), "", "", "refused"},
	} {
		t.Run(name, func(t *testing.T) {
			o := lively()
			o.Kind, o.Send, o.Expect = health.TCP, c.send, c.expect
			set, w := running(t, c.address, o)
			if got := outcome(t, set, w); got != c.want {
				t.Errorf("the checks say %q, want %q; %+v", got, c.want, set.Members()[0].Why(backend.Health))
			}
		})
	}
}

// A Unix socket is checked as well, and one that nobody listens on is refused.
func TestWatch_unixSocket(t *testing.T) {
	l := testutil.ListenUnix(t)
	testutil.ServeHTTP(t, l, healthz().ServeHTTP)
	o := lively()
	o.Path = "/ok"
	set, w := running(t, "unix:"+l.Addr().String(), o)
	if got := outcome(t, set, w); got != "" {
		t.Errorf("the checks say %q", got)
	}
	set, w = running(t, "unix:"+l.Addr().String()+".none", o)
	if got := outcome(t, set, w); got != "refused" {
		t.Errorf("the checks of no socket say %q", got)
	}
}

// A member is checked on the port of its checks.
func TestWatch_ownPort(t *testing.T) {
	s := serve(t, healthz(), nil, "h1")
	o := lively()
	o.Path, o.Port = "/ok", s.Listener.Addr().(*net.TCPAddr).Port
	set, w := running(t, "127.0.0.1:1", o)
	if got := outcome(t, set, w); got != "" {
		t.Errorf("the checks say %q", got)
	}
}

// A process that is stopped accepts still, by its kernel: it is down because it does not answer.
func TestWatch_nginxThatIsStopped(t *testing.T) {
	address := testutil.FreeAddr(t)
	p := testutil.StartNginx(t, "keepalive_requests 3; server { listen %s; location / { return 200 alive; } }", address)
	p.WaitPort(address)
	o := lively()
	o.Body, o.Timeout = "alive", 200*time.Millisecond
	set, w := running(t, address, o)
	if got := outcome(t, set, w); got != "" {
		t.Fatalf("the checks say %q, %+v", got, w.Stats())
	}
	p.Signal(syscall.SIGSTOP)
	m := set.Members()[0]
	testutil.Eventually(t, testutil.Patience, func() bool { return m.Reasons() != 0 }, "it is down")
	if why := m.Why(backend.Health); why.Word != "head_timeout" {
		t.Errorf("down for %+v", why)
	}
	p.Signal(syscall.SIGCONT)
	testutil.Eventually(t, testutil.Patience, func() bool { return m.Reasons() == 0 }, "it is up")
}

// A member that was found under a name is checked by that name, as requests name it: in the handshake and in Host.
func TestChecks_memberFoundUnderAName(t *testing.T) {
	for _, protocol := range []upstream.Protocol{upstream.H1, upstream.H2, upstream.Auto} {
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.TLS.ServerName != "example.com" || r.Host != "example.com:8443" {
				w.WriteHeader(http.StatusMisdirectedRequest)
			}
		}))
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		o := lively()
		o.Protocol, o.TLS.On = protocol, true
		o.TLS.CA = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}))
		set, w := watching(t, backend.Spec{Address: s.Listener.Addr().String(), Host: "example.com:8443"}, o)
		if got := outcome(t, set, w); got != "" {
			t.Errorf("protocol %v: the checks fail: %s", protocol, got)
		}
	}
}
