package session_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/session"
)

var loopback = poller.Addr{IP: netip.MustParseAddrPort("127.0.0.1:0")}

// mirror is a service whose answers are their requests.
type mirror struct{}

type mirrored struct {
	body
	early bool
}

func (mirror) Accept(*engine.Reactor, session.Stream) session.Receiver { return &mirrored{} }
func (mirror) Refused(*engine.Reactor, poller.Addr, int, error)        {}
func (*mirrored) OnReset(session.Stream, session.Code, error)          {}
func (m *mirrored) OnTrailers(s session.Stream, _ *message.Head)       { m.OnData(s, nil, true) }
func (m *mirrored) OnSendable(s session.Stream)                        { m.send(s); m.settle(s, s) }

func (m *mirrored) OnHead(s session.Stream, h *message.Head, end bool) {
	answer := message.Head{Status: 200, Length: h.Length}
	if h.Upgrade {
		_ = s.SendHead(&message.Head{Status: 101, Tunnel: true}, false)
		return
	}
	if string(h.Path()) == "/early" {
		m.early = true
		answer.Length = 0
		_ = s.SendHead(&answer, true)
		return
	}
	answer.Add("X-Path", string(h.Path()))
	_ = s.SendHead(&answer, end)
}

func (m *mirrored) OnData(s session.Stream, p []byte, end bool) {
	m.held, m.owed, m.ended = append(m.held, p...), m.owed+len(p), end
	m.OnSendable(s)
}

// serveH2C starts a server that mirrors, and returns its address and a client of net/http that speaks HTTP/2 alone.
func serveH2C(t *testing.T, o session.ServerOptions) (*engine.Engine, string, *http.Client) {
	t.Helper()
	e := startEngine(t)
	o.H2C = true
	l, err := e.Listen(engine.ListenOptions{Addr: loopback}, session.NewServer(e, mirror{}, o).Accept)
	testutil.Must(t, err)
	return e, l.Addr().IP.String(), testutil.H2C(t)
}

// A client of others gets back what it sends, by many exchanges at a time on one connection.
func TestServer_h2cWithNetHTTP(t *testing.T) {
	_, addr, client := serveH2C(t, session.ServerOptions{})
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			want := strings.Repeat("x", i*i*300)
			r, err := client.Post("http://"+addr+fmt.Sprint("/", i), "text/plain", strings.NewReader(want))
			if err != nil {
				t.Error(err)
				return
			}
			defer r.Body.Close()
			got, err := io.ReadAll(r.Body)
			if err != nil || string(got) != want || r.ProtoMajor != 2 || r.Header.Get("X-Path") != fmt.Sprint("/", i) {
				t.Errorf("%d: %v %d of %d bytes, %s", i, err, len(got), len(want), r.Proto)
			}
		})
	}
	wg.Wait()
}

// An answer that ends before its request takes nothing from the other exchanges of the connection.
func TestServer_h2cEarlyAnswer(t *testing.T) {
	_, addr, client := serveH2C(t, session.ServerOptions{})
	for range 3 {
		body, w := io.Pipe()
		r, err := client.Post("http://"+addr+"/early", "text/plain", body)
		testutil.Must(t, err)
		if _, err := io.ReadAll(r.Body); err != nil || r.StatusCode != 200 {
			t.Fatal(err, r.StatusCode)
		}
		r.Body.Close()
		w.Close()
	}
}

// curl 7.88 takes RST_STREAM after an answer for a failure, whatever its code. A body that comes soon is read.
func TestServer_h2cEarlyAnswerToCurl(t *testing.T) {
	curl, err := exec.LookPath("curl")
	if err != nil {
		t.Skip("no curl")
	}
	if says, _ := exec.Command(curl, "--version").Output(); !bytes.Contains(says, []byte("HTTP2")) {
		t.Skip("a curl without HTTP/2")
	}
	// What curl cannot send at once, it takes for lost when the answer comes.
	if bufferSize(t, "tcp_wmem", 2) < 128<<10 || bufferSize(t, "tcp_rmem", 1) < 128<<10 {
		t.Skip("this kernel takes no whole body at once")
	}
	_, addr, _ := serveH2C(t, session.ServerOptions{})
	for i := range 60 {
		cmd := exec.CommandContext(t.Context(), curl, "-q", "-sS", "--noproxy", "*", "--http2-prior-knowledge",
			"--max-time", "60", "-o", os.DevNull, "-w", "%{http_code}", "--data-binary", "@-", "http://"+addr+"/early")
		cmd.Stdin = strings.NewReader(strings.Repeat("x", 1+i*1000))
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "200" {
			t.Fatalf("%d: %v %s", i, err, out)
		}
	}
}

// bufferSize reads a setting of the kernel: the least, the first and the largest size of a buffer of TCP.
func bufferSize(t *testing.T, name string, i int) (n int) {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/ipv4/" + name)
	if f := strings.Fields(string(b)); err == nil && i < len(f) {
		n, err = strconv.Atoi(f[i])
	}
	if err != nil {
		t.Skip(err)
	}
	return n
}

// A draining server says so; what is in progress is answered.
func TestServer_h2cDrainsAnIdleConnectionAtOnce(t *testing.T) {
	e, addr, client := serveH2C(t, session.ServerOptions{})
	r, err := client.Get("http://" + addr + "/")
	testutil.Must(t, err)
	r.Body.Close()
	start := time.Now()
	if !e.Drain(20*time.Second) || time.Since(start) > 10*time.Second {
		t.Fatal("an idle connection outlived the drain", time.Since(start))
	}
}

// A drain says GOAWAY at once, leaves a tunnel open, and ends it when its time is nearly up, also one that is busy to
// the end.
func TestServer_h2cDrainEndsTunnelsLast(t *testing.T) {
	for grace := 2 * time.Second; ; grace *= 2 { // a machine that stands still for long needs a longer one
		kinds := drainTunnel(t, grace)
		said, echoed := bytes.IndexByte(kinds, frameGoAway), bytes.IndexByte(kinds, frameData)
		if reset := bytes.IndexByte(kinds, frameReset); said >= 0 && said < echoed && echoed < reset {
			return
		}
		if grace > 10*time.Second {
			t.Fatalf("frames %d in a drain of %v", kinds, grace)
		}
	}
}

// drainTunnel drains a server with one tunnel, sends some bytes there after the GOAWAY, and returns the kinds of
// all frames that come.
func drainTunnel(t *testing.T, grace time.Duration) (kinds []byte) {
	t.Helper()
	e, addr, _ := serveH2C(t, session.ServerOptions{})
	c, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	defer c.Close()
	_ = c.SetReadDeadline(time.Now().Add(3 * grace))
	hello := frame(frame([]byte(preface), frameSettings, 0, 0, ""), frameSettings, flagAck, 0, "")
	_, err = c.Write(append(hello, ask(1, false, blockConnect)...))
	testutil.Must(t, err)
	var drain sync.WaitGroup
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for got := bufio.NewReader(c); ; {
		h := make([]byte, 9)
		if _, err := io.ReadFull(got, h); err == io.EOF || errors.Is(err, os.ErrDeadlineExceeded) {
			c.Close()
			drain.Wait()
			return kinds
		} else if err != nil {
			t.Fatal(kinds, err)
		}
		if _, err := got.Discard(int(h[1])<<8 | int(h[2])); err != nil {
			t.Fatal(kinds, err)
		}
		switch kinds = append(kinds, h[3]); h[3] {
		case frameHeaders:
			drain.Go(func() { e.Drain(grace) }) // to whose last part there is a third: not for certain in time
		case frameGoAway, frameData:
			<-pause.C
			// Where it comes too late for that, nobody is there any more: the frames tell.
			_, _ = c.Write(frame(nil, frameData, 0, 1, "still there"))
		}
	}
}

// HTTP/1 on the same port costs a comparison, and works.
func TestServer_h2cLeavesHTTP1Alone(t *testing.T) {
	_, addr, _ := serveH2C(t, session.ServerOptions{})
	tr := &http.Transport{}
	defer tr.CloseIdleConnections()
	client := &http.Client{Transport: tr, Timeout: testutil.Patience}
	r, err := client.Post("http://"+addr+"/", "text/plain", strings.NewReader("P"))
	testutil.Must(t, err)
	defer r.Body.Close()
	if got, err := io.ReadAll(r.Body); err != nil || string(got) != "P" || r.ProtoMajor != 1 {
		t.Fatalf("%v %q %s", err, got, r.Proto)
	}
	// A method that begins as the preface does.
	c, err := net.Dial("tcp", addr)
	testutil.Must(t, err)
	defer c.Close()
	for _, part := range []string{"P", "R", "I /x HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"} {
		_, err := io.WriteString(c, part)
		testutil.Must(t, err)
	}
	if got, err := io.ReadAll(c); err != nil || !bytes.HasPrefix(got, []byte("HTTP/1.1 200 ")) {
		t.Fatalf("%v %q", err, got)
	}
}

// caller is one exchange for a goroutine to wait for.
type caller struct {
	body
	status int
	got    []byte
	head   string
	done   chan error
	ended  bool
}

func (c *caller) OnHead(_ session.Stream, h *message.Head, end bool) {
	if h.Status >= 200 {
		c.status, c.head = int(h.Status), h.Get("X-Path")
	}
	c.end(end)
}
func (c *caller) OnData(s session.Stream, p []byte, end bool) {
	c.got = append(c.got, p...)
	s.Release(len(p))
	c.end(end)
}
func (c *caller) OnTrailers(session.Stream, *message.Head) { c.end(true) }
func (c *caller) OnSendable(s session.Stream)              { c.send(s) }
func (c *caller) OnReset(_ session.Stream, code session.Code, cause error) {
	if !c.ended {
		c.ended = true
		c.done <- fmt.Errorf("%v: %w", code, cause)
	}
}
func (c *caller) end(end bool) {
	if end && !c.ended {
		c.ended = true
		c.done <- nil
	}
}

// muxOwner counts what a Mux says.
type muxOwner struct {
	mux      session.Mux
	head     message.Head
	opts     session.MuxOptions
	draining int
	gone     chan error
}

func (o *muxOwner) OnRoom(*session.Mux)                { _ = o.mux.Room() }
func (o *muxOwner) OnDraining(*session.Mux)            { o.draining++ }
func (o *muxOwner) OnGone(_ *session.Mux, cause error) { o.gone <- cause }

// call sends a request on the Mux, from any goroutine.
func (o *muxOwner) call(r *engine.Reactor, path, text string) *caller {
	c := &caller{done: make(chan error, 1)}
	r.Post(&engine.Task{Run: func(*engine.Reactor) { o.ask(c, path, text) }})
	return c
}

// ask opens the exchange of c. On the reactor.
func (o *muxOwner) ask(c *caller, path, text string) {
	h := message.Head{Length: int64(len(text)), Proto: message.HTTP11}
	h.SetMethod("POST")
	h.SetTarget(path)
	h.SetAuthority("h")
	s := o.mux.Open(c)
	c.held, c.body.ended = []byte(text), true
	if err := s.SendHead(&h, text == ""); err != nil {
		c.done <- err
		return
	}
	if text != "" {
		c.send(s)
	}
}

// An origin of others answers many exchanges of one connection, opened before it stands.
func TestMux_withNetHTTP(t *testing.T) {
	origin := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Path", r.URL.Path)
		_, _ = io.Copy(w, r.Body)
	}))
	origin.Config.Protocols = new(http.Protocols)
	origin.Config.Protocols.SetUnencryptedHTTP2(true)
	origin.Start()
	defer origin.Close()
	e := startEngine(t)
	r := e.Reactors()[0]
	o := &muxOwner{gone: make(chan error, 1)}
	r.Post(&engine.Task{Run: func(r *engine.Reactor) {
		o.mux.Init(o, &o.head, &o.opts)
		to := poller.Addr{IP: netip.MustParseAddrPort(origin.Listener.Addr().String())}
		if err := o.mux.Dial(r, to, nil); err != nil {
			t.Error(err)
		}
	}})
	var calls []*caller
	var texts []string
	for i := range 30 {
		text := strings.Repeat("y", i*i*500)
		texts = append(texts, text)
		calls = append(calls, o.call(r, fmt.Sprint("/", i), text))
	}
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	defer cancel()
	for i, c := range calls {
		select {
		case err := <-c.done:
			if err != nil || c.status != 200 || string(c.got) != texts[i] || c.head != fmt.Sprint("/", i) {
				t.Errorf("%d: %v, status %d, %d of %d bytes", i, err, c.status, len(c.got), len(texts[i]))
			}
		case <-ctx.Done():
			t.Fatalf("%d: %v", i, ctx.Err())
		}
	}
	r.Post(&engine.Task{Run: func(*engine.Reactor) { o.mux.Shutdown() }})
	select {
	case <-o.gone:
	case <-ctx.Done():
		t.Fatal("a connection without exchanges outlived Shutdown")
	}
}
