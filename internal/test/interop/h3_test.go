package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"testing"

	quicgo "github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"

	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

const h3BodySize = 5 << 20

func h3TLS(c *tls.Config) *tls.Config {
	c.NextProtos = []string{"h3"}
	return c
}

// serveH3 answers as h3Handler does, with our codec.
func serveH3(t *testing.T, o *h3.Options) (port *quicPort, ends chan *h3End) {
	ends = make(chan *h3End, 10)
	port = newQUICPort(t, "127.0.0.1", h3TLS(quicServerTLS()), quic.Options{}, func(l *quicLink) {
		e := &h3End{t: t, serve: serveH3Exchange}
		e.take(l, h3.Server, o)
		ends <- e
	})
	return port, ends
}

func serveH3Exchange(x *h3Exchange) {
	size := int64(len(x.got))
	switch x.target {
	case "/hello":
		hint := h3Answer(103, 0)
		hint.Add("Link", "</style.css>")
		if err := x.end.conn.SendHead(x.stream, hint, false); err != nil {
			x.end.t.Error(err)
		}
		h := h3Answer(200, 5)
		if x.method == "HEAD" {
			if err := x.end.conn.SendHead(x.stream, h, true); err != nil {
				x.end.t.Error(err)
			}
			return
		}
		x.answer(h, []byte("hello"))
	case "/echo":
		x.sum = fmt.Sprint(size, "-", x.trailers["x-sum"])
		x.answer(h3Answer(200, -1), x.got)
	case "/big":
		h := h3Answer(200, 0)
		h.Add("X-Big", x.fields["x-big"])
		x.answer(h, nil)
	case "/chat":
		h := h3Answer(101, -1)
		h.Tunnel, h.Upgrade = true, true
		if err := x.end.conn.SendHead(x.stream, h, false); err != nil {
			x.end.t.Error(err)
		}
	case "/never":
		x.moved <- struct{}{}
	default:
		x.answer(h3Answer(404, 0), nil)
	}
}

// h3Handler is what a server of quic-go does with the same requests.
func h3Handler(stopped chan<- struct{}) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/hello", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Link", "</style.css>")
		w.WriteHeader(103)
		w.Header().Set("Content-Length", "5")
		_, _ = io.WriteString(w, "hello")
	})
	mux.HandleFunc("/echo", func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		w.Header().Set("Trailer", "X-Sum")
		_, _ = w.Write(b)
		w.Header().Set("X-Sum", fmt.Sprint(len(b), "-", r.Trailer.Get("X-Sum")))
	})
	mux.HandleFunc("/big", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Big", r.Header.Get("X-Big"))
	})
	mux.HandleFunc("/chat", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Proto != "websocket" {
			w.WriteHeader(400)
			return
		}
		w.WriteHeader(200)
		s, err := w.(http3.HTTPStreamer).HTTPStream()
		if err == nil {
			_, _ = io.Copy(s, s)
			_ = s.Close()
		}
	})
	mux.HandleFunc("/never", func(w http.ResponseWriter, r *http.Request) {
		stopped <- struct{}{}
		<-r.Context().Done()
		stopped <- struct{}{}
	})
	return mux
}

// theirH3Client is a client of quic-go for one server.
func theirH3Client(t *testing.T, port *quicPort) (c *http.Client, base string) {
	tr := &http3.Transport{TLSClientConfig: h3TLS(quicClientTLS()), QUICConfig: &quicgo.Config{},
		MaxResponseHeaderBytes: 1 << 20}
	t.Cleanup(func() { _ = tr.Close() })
	return &http.Client{Transport: tr, Timeout: testutil.Patience}, "https://" + port.addr().String()
}

func TestH3_server(t *testing.T) {
	port, ends := serveH3(t, nil)
	client, base := theirH3Client(t, port)
	t.Run("early hints", func(t *testing.T) {
		var hints []string
		ctx := httptrace.WithClientTrace(patientContext(t), &httptrace.ClientTrace{
			Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
				hints = append(hints, fmt.Sprint(code, h.Get("Link")))
				return nil
			}})
		for _, method := range []string{"GET", "HEAD"} {
			r, _ := http.NewRequestWithContext(ctx, method, base+"/hello", nil)
			a, b := doH3(t, client, r)
			if want := map[string]string{"GET": "hello"}[method]; a.StatusCode != 200 || string(b) != want ||
				a.ContentLength != 5 || len(hints) != 1 || hints[0] != "103</style.css>" {
				t.Error(method, a, string(b), hints)
			}
			hints = nil
		}
	})
	t.Run("bodies and trailers", func(t *testing.T) {
		body := quicBody(1, h3BodySize)
		r, _ := http.NewRequest("POST", base+"/echo", io.NopCloser(bytes.NewReader(body)))
		r.Trailer = http.Header{"X-Sum": {"77"}}
		a, b := doH3(t, client, r)
		if !bytes.Equal(b, body) || a.Trailer.Get("X-Sum") != fmt.Sprint(h3BodySize, "-77") {
			t.Error(a.StatusCode, len(b), a.Trailer)
		}
	})
	t.Run("many at once", func(t *testing.T) { askMany(t, client, base+"/echo") })
	t.Run("large heads", func(t *testing.T) {
		for size, status := range map[int]int{15 << 10: 200, 40 << 10: 431} {
			r, _ := http.NewRequest("GET", base+"/big", nil)
			r.Header.Set("X-Big", strings.Repeat("x", size))
			if a, _ := doH3(t, client, r); a.StatusCode != status ||
				status == 200 && a.Header.Get("X-Big") != r.Header.Get("X-Big") {
				t.Error(size, a.StatusCode)
			}
		}
	})
	e := <-ends
	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(patientContext(t))
		var x *h3Exchange
		port.call(func() {
			e.serve = func(y *h3Exchange) { x = y; cancel() }
		})
		r, _ := http.NewRequestWithContext(ctx, "GET", base+"/never", nil)
		if _, err := client.Do(r); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		var over chan struct{}
		port.call(func() { over, e.serve = x.over, serveH3Exchange })
		e.link.await(over, "the reset")
		if !errors.Is(x.err, h3.ErrPeerReset) {
			t.Error(x.err)
		}
	})
	t.Run("GOAWAY", func(t *testing.T) { serverGoesAway(t, e, client, base, ends) })
}

// askMany sends bodies of many sizes at once.
func askMany(t *testing.T, client *http.Client, url string) {
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			body := quicBody(uint64(i), 100*i)
			a, err := client.Post(url, "", bytes.NewReader(body))
			if err != nil {
				t.Error(err)
				return
			}
			b, err := io.ReadAll(a.Body)
			if _ = a.Body.Close(); err != nil || !bytes.Equal(b, body) {
				t.Error(i, err, len(b))
			}
		})
	}
	all.Wait()
}

// serverGoesAway ends a connection with a request under way: that one is answered, the next one comes by another.
func serverGoesAway(t *testing.T, e *h3End, client *http.Client, base string, ends chan *h3End) {
	got := make(chan *h3Exchange, 1)
	e.link.port.call(func() { e.serve = func(x *h3Exchange) { got <- x } })
	answered := make(chan error, 1)
	go func() {
		a, err := client.Get(base + "/late")
		if err == nil {
			var b []byte
			if b, err = io.ReadAll(a.Body); string(b) != "late" {
				err = errors.Join(err, fmt.Errorf("%q", b))
			}
			_ = a.Body.Close()
		}
		answered <- err
	}()
	x := <-got
	e.link.port.call(func() {
		e.conn.Shutdown(e.link.port.now())
		e.conn.Expire(e.conn.Deadline())
		x.answer(h3Answer(200, 4), []byte("late"))
	})
	if err := <-answered; err != nil {
		t.Error(err)
	}
	if end := e.link.end(); !end.ByPeer || h3.Code(end.Code) != h3.NoError {
		t.Errorf("%+v", end)
	}
	r, _ := http.NewRequest("GET", base+"/hello", nil)
	if a, b := doH3(t, client, r); a.StatusCode != 200 || string(b) != "hello" {
		t.Error(a.StatusCode, string(b))
	}
	<-ends
}

func doH3(t *testing.T, client *http.Client, r *http.Request) (*http.Response, []byte) {
	t.Helper()
	a, err := client.Do(r)
	testutil.Must(t, err)
	b, err := io.ReadAll(a.Body)
	if _ = a.Body.Close(); err != nil {
		t.Error(err)
	}
	return a, b
}

func TestH3_serverTunnel(t *testing.T) {
	port, _ := serveH3(t, nil)
	config := h3TLS(quicClientTLS())
	theirs, _ := dialQUICGo(t, "127.0.0.1", port.addr(), config, &quicgo.Config{})
	conn := (&http3.Transport{}).NewClientConn(theirs)
	<-conn.ReceivedSettings()
	if !conn.Settings().EnableExtendedConnect {
		t.Fatal("not offered")
	}
	s, err := conn.OpenRequestStream(patientContext(t))
	testutil.Must(t, err)
	r, _ := http.NewRequest(http.MethodConnect, "https://a.test/chat", nil)
	r.Proto = "websocket"
	testutil.Must(t, s.SendRequestHeader(r))
	a, err := s.ReadResponse()
	if err != nil || a.StatusCode != 200 {
		t.Fatal(a, err)
	}
	for _, text := range []string{"ab", "cde"} {
		if _, err := io.WriteString(s, text); err != nil {
			t.Fatal(err)
		}
		b := make([]byte, len(text))
		if _, err := io.ReadFull(s, b); err != nil || string(b) != text {
			t.Errorf("%q, %v", b, err)
		}
	}
	_ = s.Close()
	if n, err := s.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Error(n, err)
	}
}

// dialTheirH3 connects a client of ours to a server of quic-go.
func dialTheirH3(t *testing.T) (e *h3End, server *http3.Server, stopped chan struct{}) {
	stopped = make(chan struct{}, 2)
	server = &http3.Server{TLSConfig: h3TLS(quicServerTLS()), Handler: h3Handler(stopped), MaxHeaderBytes: 1 << 20}
	socket := quicSocket(t, "127.0.0.1")
	served := make(chan error, 1)
	go func() { served <- server.Serve(socket) }()
	t.Cleanup(func() {
		_ = server.Close()
		_ = socket.Close()
		<-served
	})
	port := newQUICPort(t, "127.0.0.1", h3TLS(quicClientTLS()), quic.Options{}, nil)
	e = &h3End{t: t}
	port.onDial = func(l *quicLink) { e.take(l, h3.Client, &h3.Options{Scheme: "https"}) }
	port.connect(socket.LocalAddr().(*net.UDPAddr).AddrPort())
	e.link.await(e.settled, "the settings")
	return e, server, stopped
}

func TestH3_client(t *testing.T) {
	e, server, stopped := dialTheirH3(t)
	t.Run("early hints", func(t *testing.T) {
		for _, method := range []string{"GET", "HEAD"} {
			x := e.ask(h3Request(method, "/hello"), nil, "")
			if want := map[string]string{"GET": "hello"}[method]; x.await() != nil || x.status != 200 ||
				string(x.got) != want || x.fields["content-length"] != "5" || fmt.Sprint(x.interim) != "[103]" {
				t.Errorf("%s %+v", method, x)
			}
		}
	})
	t.Run("bodies and trailers", func(t *testing.T) {
		body, h := quicBody(1, h3BodySize), h3Request("POST", "/echo")
		h.Length, h.Chunked = message.LengthUnknown, true
		h.Add("Trailer", "X-Sum")
		x := e.ask(h, body, "77")
		if err := x.await(); err != nil || !bytes.Equal(x.got, body) ||
			!maps.Equal(x.trailers, map[string]string{"x-sum": fmt.Sprint(h3BodySize, "-77")}) {
			t.Error(err, len(x.got), x.trailers)
		}
	})
	t.Run("many at once", func(t *testing.T) {
		all := make([]*h3Exchange, 100)
		for i := range all {
			h := h3Request("POST", "/echo")
			h.Length = int64(100 * i)
			all[i] = e.ask(h, quicBody(uint64(i), 100*i), "")
		}
		for i, x := range all {
			if err := x.await(); err != nil || !bytes.Equal(x.got, quicBody(uint64(i), 100*i)) {
				t.Error(i, err, len(x.got))
			}
		}
	})
	t.Run("large heads", func(t *testing.T) {
		h, big := h3Request("GET", "/big"), strings.Repeat("x", 14<<10)
		h.Add("X-Big", big)
		if x := e.ask(h, nil, ""); x.await() != nil || x.fields["x-big"] != big {
			t.Error(x.err, x.status)
		}
	})
	t.Run("cancelled", func(t *testing.T) {
		x := e.ask(h3Request("GET", "/never"), nil, "")
		<-stopped
		e.link.port.call(func() { e.conn.Reset(x.stream, h3.RequestCancelled) })
		<-stopped
	})
	t.Run("tunnel", func(t *testing.T) { clientTunnel(t, e) })
	t.Run("GOAWAY", func(t *testing.T) {
		x := e.ask(h3Request("GET", "/never"), nil, "")
		<-stopped
		ctx, cancel := context.WithCancel(patientContext(t))
		down := make(chan error, 1)
		go func() { down <- server.Shutdown(ctx) }()
		e.link.await(e.goAway, "GOAWAY")
		e.link.port.call(func() {
			if _, err := e.conn.Open(e.link.port.now()); err != h3.ErrGoingAway || e.conn.Done() {
				t.Error(err)
			}
			e.conn.Reset(x.stream, h3.RequestCancelled)
		})
		<-stopped
		cancel()
		<-down
	})
}

func clientTunnel(t *testing.T, e *h3End) {
	h := h3Request("GET", "/chat")
	h.Upgrade = true
	h.AddBytes(message.Upgrade, "Upgrade", []byte("websocket"))
	h.Protocol = message.Span{At: h.Fields[0].ValueAt, Len: h.Fields[0].ValueLen}
	x := e.ask(h, nil, "")
	e.link.await(x.moved, "the tunnel")
	for _, text := range []string{"ab", "cde"} {
		var before int
		e.link.port.call(func() {
			before, x.out = len(x.got), []byte(text)
			x.send()
		})
		for n := 0; n < len(text); e.link.port.call(func() { n = len(x.got) - before }) {
			e.link.await(x.moved, "the echo")
		}
	}
	e.link.port.call(func() {
		x.last = true
		x.send()
	})
	if err := x.await(); err != nil || x.status != 101 || string(x.got) != "abcde" {
		t.Errorf("%v %+v", err, x)
	}
}
