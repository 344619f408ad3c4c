package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
	_ "unsafe" // go:linkname

	quicgo "github.com/quic-go/quic-go"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/quic"
)

// The suites of TLS 1.3 that both ends have: crypto/tls lets nobody choose them, and keeps these names for quic-go.
//
//go:linkname tlsSuites crypto/tls.defaultCipherSuitesTLS13
var tlsSuites []uint16

//go:linkname tlsSuitesNoAES crypto/tls.defaultCipherSuitesTLS13NoAES
var tlsSuitesNoAES []uint16

// quicSetup is what a test changes of a connection.
type quicSetup struct {
	host   string // default 127.0.0.1
	lossy  uint64 // seed of a network that loses datagrams; 0: none
	opts   quic.Options
	conf   quicgo.Config
	groups []tls.CurveID // of the client
}

// quicCase is a connection between a Conn of ours and one of quic-go. Both ends send back what comes on two-way
// streams that the other one opens. Ours takes all that comes: two ends that read no more than they can send would wait
// for each other.
type quicCase struct {
	t      *testing.T
	port   *quicPort
	link   *quicLink
	theirs *quicgo.Conn
	socket *net.UDPConn // of theirs
}

// eachQUICRole runs f with our end as the server, and as the client.
func eachQUICRole(t *testing.T, o quicSetup, f func(t *testing.T, c *quicCase)) {
	if o.host == "" {
		o.host = "127.0.0.1"
	}
	t.Run("server", func(t *testing.T) { f(t, o.serve(t)) })
	t.Run("client", func(t *testing.T) { f(t, o.dial(t)) })
}

func (o quicSetup) via(t *testing.T, to netip.AddrPort) netip.AddrPort {
	if o.lossy == 0 {
		return to
	}
	return startQUICRelay(t, o.host, to, o.lossy)
}

func patientContext(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	t.Cleanup(cancel)
	return ctx
}

// serve has quic-go dial us.
func (o quicSetup) serve(t *testing.T) *quicCase {
	links := make(chan *quicLink, 1)
	c := &quicCase{t: t}
	c.port = newQUICPort(t, o.host, quicServerTLS(), o.opts, func(l *quicLink) {
		l.onStream = func(x *quicLane) { x.echo = true }
		links <- l
	})
	config := quicClientTLS()
	config.CurvePreferences = o.groups
	c.theirs, c.socket = dialQUICGo(t, o.host, o.via(t, c.port.addr()), config, &o.conf)
	c.link = <-links
	c.link.await(c.link.established, "the handshake")
	c.echoTheirs()
	return c
}

func dialQUICGo(
	t *testing.T, host string, to netip.AddrPort, c *tls.Config, conf *quicgo.Config,
) (*quicgo.Conn, *net.UDPConn) {
	t.Helper()
	socket := quicSocket(t, host)
	tr := &quicgo.Transport{Conn: socket}
	t.Cleanup(func() { _ = tr.Close() })
	theirs, err := tr.Dial(patientContext(t), net.UDPAddrFromAddrPort(to), c, conf.Clone())
	testutil.Must(t, err)
	return theirs, socket
}

// dial has us dial quic-go.
func (o quicSetup) dial(t *testing.T) *quicCase {
	c := &quicCase{t: t}
	config := quicClientTLS()
	config.CurvePreferences = o.groups
	c.port = newQUICPort(t, o.host, config, o.opts, nil)
	l, socket := listenQUICGo(t, o.host, quicServerTLS(), &o.conf)
	c.socket = socket
	c.link = c.port.connect(o.via(t, addrPortOf(socket)))
	c.port.call(func() { c.link.onStream = func(x *quicLane) { x.echo = true } })
	var err error
	if c.theirs, err = l.Accept(patientContext(t)); err != nil {
		t.Fatal(err)
	}
	c.echoTheirs()
	return c
}

func listenQUICGo(t *testing.T, host string, c *tls.Config, conf *quicgo.Config) (*quicgo.Listener, *net.UDPConn) {
	t.Helper()
	socket := quicSocket(t, host)
	tr := &quicgo.Transport{Conn: socket, StatelessResetKey: &quicgo.StatelessResetKey{1}}
	l, err := tr.Listen(c, conf.Clone())
	testutil.Must(t, err)
	t.Cleanup(func() { _ = l.Close(); _ = tr.Close() })
	return l, socket
}

// echoTheirs has quic-go send back what comes.
func (c *quicCase) echoTheirs() {
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			s, err := c.theirs.AcceptStream(ctx)
			if err != nil {
				return
			}
			all.Go(func() {
				if _, err := io.Copy(s, s); err == nil {
					_ = s.Close()
				}
			})
		}
	})
	c.t.Cleanup(func() {
		cancel()
		_ = c.theirs.CloseWithError(0, "")
		all.Wait()
	})
}

// ours sends b on a stream that we open, and checks the answer.
func (c *quicCase) ours(b []byte) error {
	x, err := c.link.open(quic.TwoWay, b, true)
	if err != nil {
		return err
	}
	if err := c.link.wait(x.over, fmt.Sprintf("the end of a stream with %d bytes", len(b))); err != nil {
		return err
	}
	if r := x.reset.Load(); r != 0 || !bytes.Equal(x.got, b) {
		return fmt.Errorf("we got %d bytes, want %d; reset %d", len(x.got), len(b), r)
	}
	return nil
}

// their sends b on a stream that quic-go opens, and checks the answer.
func (c *quicCase) their(b []byte) error {
	ctx, cancel := context.WithTimeout(context.Background(), testutil.Patience)
	defer cancel()
	s, err := c.theirs.OpenStreamSync(ctx)
	if err != nil {
		return err
	}
	_ = s.SetDeadline(time.Now().Add(testutil.Patience))
	var wrote error
	var all sync.WaitGroup
	all.Go(func() {
		if _, wrote = s.Write(b); wrote == nil {
			wrote = s.Close()
		}
	})
	got, err := io.ReadAll(s)
	if err != nil {
		_ = s.SetDeadline(time.Now())
	}
	all.Wait()
	if err := errors.Join(err, wrote); err != nil {
		return fmt.Errorf("%d of %d bytes: %w", len(got), len(b), err)
	}
	if !bytes.Equal(got, b) {
		return fmt.Errorf("quic-go got %d bytes, want %d", len(got), len(b))
	}
	return nil
}

// all runs functions at once.
func (c *quicCase) all(fs ...func() error) {
	c.t.Helper()
	errs := make([]error, len(fs))
	var all sync.WaitGroup
	for i, f := range fs {
		all.Go(func() { errs[i] = f() })
	}
	all.Wait()
	testutil.Must(c.t, errors.Join(errs...))
}

// both sends bodies both ways, with n streams of each end at once.
func (c *quicCase) both(n int, sizes ...int) {
	c.t.Helper()
	var fs []func() error
	for i := range n {
		b := quicBody(uint64(i), sizes[i%len(sizes)])
		fs = append(fs, func() error { return c.ours(b) }, func() error { return c.their(b) })
	}
	c.all(fs...)
}

// settled waits until nothing of our streams is left. The numbers of packets that came may take a page.
func (c *quicCase) settled() {
	c.t.Helper()
	left := func() (what string) {
		c.port.call(func() {
			if l := c.link; l.conn.Held() != 0 || l.opts.Arena.Stats.Pages > 1 || len(l.lanes) != 0 {
				what = fmt.Sprintf("%d bytes held, %d pages, streams:", l.conn.Held(), l.opts.Arena.Stats.Pages)
				for s, x := range l.lanes {
					what += fmt.Sprintf(" %d(%d to be sent, %d came)", s.ID, len(x.out), len(x.got))
				}
			}
		})
		return what
	}
	testutil.Eventually(c.t, testutil.Patience, func() bool { return left() == "" },
		"all streams are over: %s", stringer(left))
}

type stringer func() string

func (s stringer) String() string { return s() }

func quicBody(seed uint64, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8)}).Read(b)
	return b
}

func TestQUIC_handshake(t *testing.T) {
	suites, noAES := tlsSuites, tlsSuitesNoAES
	t.Cleanup(func() { tlsSuites, tlsSuitesNoAES = suites, noAES })
	groups := []tls.CurveID{tls.X25519, tls.X25519MLKEM768, tls.CurveP256}
	all := []uint16{tls.TLS_AES_128_GCM_SHA256, tls.TLS_AES_256_GCM_SHA384, tls.TLS_CHACHA20_POLY1305_SHA256}
	for i, suite := range all {
		for k, group := range groups {
			host := []string{"127.0.0.1", "::1"}[(i+k)%2]
			t.Run(fmt.Sprintf("%s/%v/%s", tls.CipherSuiteName(suite), group, host), func(t *testing.T) {
				tlsSuites, tlsSuitesNoAES = []uint16{suite}, []uint16{suite}
				eachQUICRole(t, quicSetup{host: host, groups: []tls.CurveID{group}}, func(t *testing.T, c *quicCase) {
					var s tls.ConnectionState
					c.port.call(func() { s = c.link.tls.ConnectionState() })
					if s.CipherSuite != suite || s.CurveID != group || s.NegotiatedProtocol != quicALPN {
						t.Fatalf("suite %x, group %v, protocol %q", s.CipherSuite, s.CurveID, s.NegotiatedProtocol)
					}
					c.both(1, 5000)
					c.settled()
				})
			})
		}
	}
}

func TestQUIC_handshakeFails(t *testing.T) {
	var alert *quicgo.TransportError
	t.Run("server", func(t *testing.T) {
		links := make(chan *quicLink, 1)
		p := newQUICPort(t, "127.0.0.1", quicServerTLS(), quic.Options{}, func(l *quicLink) { links <- l })
		config := quicClientTLS()
		config.NextProtos = []string{"other"}
		tr := &quicgo.Transport{Conn: quicSocket(t, "127.0.0.1")}
		t.Cleanup(func() { _ = tr.Close() })
		_, err := tr.Dial(patientContext(t), net.UDPAddrFromAddrPort(p.addr()), config, nil)
		if !errors.As(err, &alert) || alert.ErrorCode != 0x100+120 || !alert.Remote {
			t.Fatal(err)
		}
		if k := (<-links).end(); k.Code != 0x100+120 || k.ByPeer || k.App {
			t.Fatalf("%+v", k)
		}
	})
	t.Run("client", func(t *testing.T) {
		config := quicClientTLS()
		config.InsecureSkipVerify = false
		p := newQUICPort(t, "127.0.0.1", config, quic.Options{}, nil)
		_, socket := listenQUICGo(t, "127.0.0.1", quicServerTLS(), &quicgo.Config{})
		l := p.dial(addrPortOf(socket))
		if k := l.end(); k.Code != 0x100+48 && k.Code != 0x100+42 || k.ByPeer || k.App {
			t.Fatalf("%+v", k)
		}
	})
	t.Run("client is refused", func(t *testing.T) {
		config := quicClientTLS()
		config.NextProtos = []string{"other"}
		p := newQUICPort(t, "127.0.0.1", config, quic.Options{}, nil)
		_, socket := listenQUICGo(t, "127.0.0.1", quicServerTLS(), &quicgo.Config{})
		if k := p.dial(addrPortOf(socket)).end(); k.Code != 0x100+120 || !k.ByPeer || k.App {
			t.Fatalf("%+v", k)
		}
	})
}

func TestQUIC_streams(t *testing.T) {
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		c.both(100, 0, 1, 1000, 20_000, 100_000, 10, 5000, 0, 2000, 1<<20)
		c.settled()
	})
}

// More streams than either end allows at once: they wait for MAX_STREAMS.
func TestQUIC_manyStreams(t *testing.T) {
	eachQUICRole(t, quicSetup{opts: quic.Options{Streams: 10}}, func(t *testing.T, c *quicCase) {
		c.both(500, 0, 10, 3000)
		c.settled()
	})
}

// Our end reads no more than it can send back.
func TestQUIC_backPressure(t *testing.T) {
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		c.port.call(func() { c.link.onStream = func(x *quicLane) { x.echo, x.slow = true, true } })
		var fs []func() error
		for i := range 50 {
			fs = append(fs, func() error { return c.their(quicBody(uint64(i), 300_000)) })
		}
		c.all(fs...)
		c.settled()
	})
}

// 20 MiB in one stream each way, at once. quic-go retires connection ids meanwhile.
func TestQUIC_long(t *testing.T) {
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		c.both(1, 20<<20)
		c.settled()
		t.Logf("%d ids retired, %d packets lost", c.link.retired.Load(), c.port.opts.Arena.Stats.Lost)
	})
}

func TestQUIC_oneWay(t *testing.T) {
	const many = 30 // more than we allow at once
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		came := make(chan *quicLane, many)
		c.port.call(func() { c.link.onStream = func(x *quicLane) { came <- x } })
		want := quicBody(1, 50_000)
		ctx := patientContext(t)
		var fs []func() error
		for range many {
			fs = append(fs, func() error {
				if _, err := c.link.open(quic.OneWay, want, true); err != nil {
					return err
				}
				s, err := c.theirs.AcceptUniStream(ctx)
				if err != nil {
					return err
				}
				if b, err := io.ReadAll(s); err != nil || !bytes.Equal(b, want) {
					return fmt.Errorf("quic-go got %d bytes: %w", len(b), err)
				}
				return nil
			}, func() error {
				s, err := c.theirs.OpenUniStreamSync(ctx)
				if err != nil {
					return err
				}
				if _, err := s.Write(want); err != nil {
					return err
				}
				return s.Close()
			}, func() error {
				x := <-came
				if err := c.link.wait(x.over, "the end of a stream"); err != nil {
					return err
				}
				if !bytes.Equal(x.got, want) {
					return fmt.Errorf("we got %d bytes", len(x.got))
				}
				return nil
			})
		}
		c.all(fs...)
	})
}

func TestQUIC_resets(t *testing.T) {
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		ctx := patientContext(t)
		came := make(chan *quicLane, 1)
		c.port.call(func() { c.link.onStream = func(x *quicLane) { came <- x } })
		big := quicBody(2, 4<<20) // more than the windows allow
		var fault *quicgo.StreamError

		s, err := c.theirs.OpenStreamSync(ctx) // theirs resets what it sends, and stops what we send
		testutil.Must(t, err)
		if _, err := s.Write(big[:1000]); err != nil {
			t.Fatal(err)
		}
		x := <-came
		c.port.call(func() { x.out, x.last = big, true; x.send() })
		s.CancelWrite(0x1007)
		s.CancelRead(0x1009)
		c.link.await(x.over, "the reset")
		if code := <-x.stopped; code != 0x1009 || x.reset.Load() != 1+0x1007 {
			t.Fatalf("stopped by %x, reset %x", code, x.reset.Load()-1)
		}
		c.port.call(func() { x.leave() })

		if s, err = c.theirs.OpenStreamSync(ctx); err != nil { // we reset what we send, and stop what it sends
			t.Fatal(err)
		}
		if _, err := s.Write(big[:1000]); err != nil {
			t.Fatal(err)
		}
		x = <-came
		c.port.call(func() {
			x.out = big
			x.send()
			c.link.conn.Reset(x.stream, 0x100b)
			c.link.conn.Stop(x.stream, 0x100d)
		})
		if _, err := io.ReadAll(s); !errors.As(err, &fault) || fault.ErrorCode != 0x100b || !fault.Remote {
			t.Fatal(err)
		}
		_ = s.SetWriteDeadline(time.Now().Add(testutil.Patience))
		for err = nil; err == nil; {
			_, err = s.Write(big)
		}
		if !errors.As(err, &fault) || fault.ErrorCode != 0x100d || !fault.Remote {
			t.Fatal(err)
		}
		c.port.call(func() { x.leave() })

		c.port.call(func() { c.link.onStream = func(x *quicLane) { x.echo = true } })
		c.both(20, 1000, 300_000) // the windows are what they were
		c.settled()
	})
}

// Streams that are given up in the middle cost no window: 40 times 1 MiB of a connection window of 2 MiB.
func TestQUIC_abandoned(t *testing.T) {
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		c.port.call(func() {
			c.link.onStream = func(x *quicLane) { c.link.conn.Release(x.stream, 0); x.leave() }
		})
		b := quicBody(3, 1<<20)
		for i := range 40 {
			s, err := c.theirs.OpenStreamSync(patientContext(t))
			testutil.Must(t, err)
			_ = s.SetDeadline(time.Now().Add(testutil.Patience))
			var fault *quicgo.StreamError
			if _, err := s.Write(b); err != nil && !errors.As(err, &fault) {
				t.Fatalf("stream %d: %v", i, err)
			}
			_ = s.Close()
		}
		c.port.call(func() { c.link.onStream = func(x *quicLane) { x.echo = true } })
		c.both(4, 100_000)
		c.settled()
	})
}

func TestQUIC_close(t *testing.T) {
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		c.both(1, 10)
		c.port.call(func() { c.link.conn.Close(0x1234); c.link.events() })
		<-c.theirs.Context().Done()
		var app *quicgo.ApplicationError
		if err := context.Cause(c.theirs.Context()); !errors.As(err, &app) || app.ErrorCode != 0x1234 || !app.Remote {
			t.Fatal(err)
		}
		c.isOver()
	})
	eachQUICRole(t, quicSetup{}, func(t *testing.T, c *quicCase) {
		c.both(1, 10)
		_ = c.theirs.CloseWithError(0x4321, "enough")
		if k := c.link.end(); k.Code != 0x4321 || !k.App || !k.ByPeer {
			t.Fatalf("%+v", k)
		}
		c.isOver()
	})
}

// isOver waits until our end does nothing any more.
func (c *quicCase) isOver() {
	c.t.Helper()
	testutil.Eventually(c.t, testutil.Patience, func() bool { return c.port.count.Load() == 0 }, "our end is over")
}

func TestQUIC_idle(t *testing.T) {
	o := quicSetup{opts: quic.Options{IdleTimeout: 200 * time.Millisecond}} // quic-go itself waits for 5 s at least
	o.conf.MaxIdleTimeout = 300 * time.Millisecond
	eachQUICRole(t, o, func(t *testing.T, c *quicCase) {
		c.both(1, 10)
		if k := c.link.end(); k.Err != quic.ErrIdle {
			t.Fatalf("%+v", k)
		}
		<-c.theirs.Context().Done()
		var idle *quicgo.IdleTimeoutError
		if err := context.Cause(c.theirs.Context()); !errors.As(err, &idle) {
			t.Fatal(err)
		}
		c.isOver()
	})
}

func TestQUIC_keepAlive(t *testing.T) {
	o := quicSetup{opts: quic.Options{IdleTimeout: 200 * time.Millisecond}}
	o.conf.KeepAlivePeriod = 50 * time.Millisecond
	eachQUICRole(t, o, func(t *testing.T, c *quicCase) {
		select {
		case <-c.link.closed:
			t.Fatalf("%+v", c.link.closure)
		case <-time.After(500 * time.Millisecond):
		}
		c.both(1, 10)
	})
}

// The peer's socket is closed without a word.
func TestQUIC_vanishes(t *testing.T) {
	o := quicSetup{opts: quic.Options{IdleTimeout: 300 * time.Millisecond}}
	eachQUICRole(t, o, func(t *testing.T, c *quicCase) {
		c.both(1, 10)
		c.port.call(func() { c.link.onStream = nil })
		if _, err := c.link.open(quic.OneWay, quicBody(1, 1<<20), true); err != nil {
			t.Fatal(err)
		}
		_ = c.socket.Close()
		if k := c.link.end(); k.Err != quic.ErrIdle {
			t.Fatalf("%+v", k)
		}
		c.isOver()
	})
}

// A client gives up in the middle of its handshake.
func TestQUIC_handshakeTimeout(t *testing.T) {
	sink := quicSocket(t, "127.0.0.1")
	p := newQUICPort(t, "127.0.0.1", quicClientTLS(), quic.Options{HandshakeTimeout: 100 * time.Millisecond}, nil)
	if k := p.dial(addrPortOf(sink)).end(); k.Err != quic.ErrHandshakeTimeout {
		t.Fatalf("%+v", k)
	}
}

func TestQUIC_manyConnections(t *testing.T) {
	const many = 50
	t.Run("server", func(t *testing.T) {
		p := newQUICPort(t, "127.0.0.1", quicServerTLS(), quic.Options{}, func(l *quicLink) {
			l.onStream = func(x *quicLane) { x.echo = true }
		})
		tr := &quicgo.Transport{Conn: quicSocket(t, "127.0.0.1")} // one socket for all of them
		t.Cleanup(func() { _ = tr.Close() })
		var fs []func() error
		for i := range many {
			fs = append(fs, func() error {
				theirs, err := tr.Dial(patientContext(t), net.UDPAddrFromAddrPort(p.addr()), quicClientTLS(), nil)
				if err != nil {
					return err
				}
				c := &quicCase{t: t, theirs: theirs}
				err = errors.Join(c.their(quicBody(uint64(i), 20_000)), c.their(nil))
				return errors.Join(err, theirs.CloseWithError(0, ""))
			})
		}
		c := &quicCase{t: t, port: p}
		c.all(fs...)
		c.isOver()
	})
	t.Run("client", func(t *testing.T) {
		l, socket := listenQUICGo(t, "127.0.0.1", quicServerTLS(), &quicgo.Config{})
		var all sync.WaitGroup
		all.Go(func() {
			for {
				theirs, err := l.Accept(context.Background())
				if err != nil {
					return
				}
				(&quicCase{t: t, theirs: theirs}).echoTheirs()
			}
		})
		p := newQUICPort(t, "127.0.0.1", quicClientTLS(), quic.Options{}, nil)
		var fs []func() error
		for i := range many {
			fs = append(fs, func() error {
				link := p.dial(addrPortOf(socket))
				if err := link.wait(link.established, "the handshake"); err != nil {
					return err
				}
				c := &quicCase{t: t, port: p, link: link}
				err := errors.Join(c.ours(quicBody(uint64(i), 20_000)), c.ours(nil))
				p.call(func() { link.conn.Close(0); link.events() })
				return err
			})
		}
		c := &quicCase{t: t, port: p}
		c.all(fs...)
		c.isOver()
		_ = l.Close()
		all.Wait()
	})
}

// A server that has forgotten its connections ends them by stateless resets.
func TestQUIC_statelessReset(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		c := quicSetup{host: "127.0.0.1"}.serve(t)
		c.both(1, 10)
		c.port.call(func() { c.port.forget(c.link); c.port.onLink = nil })
		// Errors of these are the reset, which may answer an acknowledgement that came before.
		if s, err := c.theirs.OpenStreamSync(patientContext(t)); err == nil {
			_, _ = s.Write(quicBody(1, 1000))
		}
		<-c.theirs.Context().Done()
		var reset *quicgo.StatelessResetError
		if err := context.Cause(c.theirs.Context()); !errors.As(err, &reset) {
			t.Fatal(err)
		}
	})
	t.Run("client", func(t *testing.T) {
		socket := quicSocket(t, "127.0.0.1")
		key := &quicgo.StatelessResetKey{7}
		tr := &quicgo.Transport{Conn: socket, StatelessResetKey: key}
		l, err := tr.Listen(quicServerTLS(), nil)
		testutil.Must(t, err)
		p := newQUICPort(t, "127.0.0.1", quicClientTLS(), quic.Options{}, nil)
		c := &quicCase{t: t, port: p, link: p.connect(addrPortOf(socket))}
		if c.theirs, err = l.Accept(patientContext(t)); err != nil {
			t.Fatal(err)
		}
		_ = tr.Close() // without a word
		tr = &quicgo.Transport{Conn: socket, StatelessResetKey: key}
		if _, err = tr.Listen(quicServerTLS(), nil); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = tr.Close() })
		// The reset may answer an acknowledgement that came before.
		if _, err := c.link.open(quic.TwoWay, quicBody(1, 1000), true); err != nil && err != quic.ErrOver {
			t.Fatal(err)
		}
		if k := c.link.end(); k.Err != quic.ErrReset || !k.ByPeer {
			t.Fatalf("%+v", k)
		}
		c.isOver()
	})
}

// Versions: quic-go begins with version 2 and comes back with ours; and does not speak ours at all.
func TestQUIC_versions(t *testing.T) {
	t.Run("server", func(t *testing.T) {
		o := quicSetup{host: "127.0.0.1"}
		o.conf.Versions = []quicgo.Version{quicgo.Version2, quicgo.Version1}
		c := o.serve(t)
		if v := c.theirs.ConnectionState().Version; v != quicgo.Version1 {
			t.Fatal(v)
		}
		c.both(1, 10)
	})
	t.Run("client", func(t *testing.T) {
		other := &quicgo.Config{Versions: []quicgo.Version{quicgo.Version2}}
		_, socket := listenQUICGo(t, "127.0.0.1", quicServerTLS(), other)
		p := newQUICPort(t, "127.0.0.1", quicClientTLS(), quic.Options{}, nil)
		if k := p.dial(addrPortOf(socket)).end(); k.Err != quic.ErrVersion {
			t.Fatalf("%+v", k)
		}
	})
}

// A client with connection ids of no octets.
func TestQUIC_noID(t *testing.T) {
	links := make(chan *quicLink, 1)
	p := newQUICPort(t, "127.0.0.1", quicServerTLS(), quic.Options{}, func(l *quicLink) {
		l.onStream = func(x *quicLane) { x.echo = true }
		links <- l
	})
	theirs, err := quicgo.DialAddr(patientContext(t), p.addr().String(), quicClientTLS(), nil)
	testutil.Must(t, err)
	c := &quicCase{t: t, port: p, link: <-links, theirs: theirs}
	c.link.await(c.link.established, "the handshake")
	c.echoTheirs()
	c.both(20, 0, 1, 1000, 100_000)
	c.settled()
}

func TestQUIC_lossy(t *testing.T) {
	seeds := uint64(1)
	if os.Getenv("EDGE_SOAK") != "" {
		seeds = 100
	}
	for seed := range seeds {
		eachQUICRole(t, quicSetup{lossy: 1 + seed}, func(t *testing.T, c *quicCase) {
			c.both(30, 0, 1, 1000, 20_000, 100_000)
			c.both(1, 400_000)
			c.settled()
		})
	}
}

// startQUICRelay passes datagrams on between clients and a server: one in 20 is lost, one in 20 comes twice, one in
// ten comes late.
func startQUICRelay(t *testing.T, host string, to netip.AddrPort, seed uint64) netip.AddrPort {
	t.Helper()
	var mu sync.Mutex
	r := rand.New(rand.NewPCG(seed, 1))
	return newNAT(t, host, to, func(d []byte, send func([]byte)) {
		mu.Lock()
		fate, late := r.IntN(100), time.Duration(r.IntN(4000))*time.Microsecond
		mu.Unlock()
		switch {
		case fate < 5:
			return
		case fate < 10:
			send(d)
		case fate < 20:
			d = bytes.Clone(d)
			time.AfterFunc(late, func() { send(d) })
			return
		}
		send(d)
	}).addr()
}
