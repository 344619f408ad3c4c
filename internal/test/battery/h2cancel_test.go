package battery

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// atOnce bounds what is to happen without waiting for a peer or a timeout of edge: all those are longer.
const atOnce = patience

// upload sends a body on stream 1 as the windows allow, until no more is taken: edge, which is asked again and again
// whether it has come that far, opens none for a while.
func (c *h2client) upload(t *testing.T) (sent int) {
	t.Helper()
	chunk := strings.Repeat("u", 16384)
	tick := time.NewTicker(30 * time.Millisecond)
	defer tick.Stop()
	idle := 0
	for range 10_000 {
		window := 65535 - sent + min(c.credit[0], c.credit[1])
		if window >= len(chunk) {
			c.say(h2frame(http2.FrameData, 0, 1, chunk))
			sent, idle = sent+len(chunk), 0
			continue
		}
		if idle++; idle > 10 {
			return sent
		}
		<-tick.C
		if !c.ping() {
			t.Fatal(c.end)
		}
	}
	t.Fatal("edge takes without end what nobody reads")
	return sent
}

// begin opens a connection and sends the head of a request on stream 1.
func (l *h2lane) begin(t *testing.T, settings string, method string, end bool) (*h2client, *scribe) {
	t.Helper()
	return h2ask(t, l.edge, "big", settings, h2base(method), end)
}

// leave resets stream 1 and asks for something else on the same connection, which has to be answered at once.
func (c *h2client) leave(t *testing.T, s *scribe, meanwhile ...func()) {
	t.Helper()
	s.frame(http2.FrameRSTStream, 0, be32(uint32(http2.ErrCodeCancel)))
	s.stream = 3
	s.head(h2base("GET").set(":path", "/next-{id}"), true)
	c.say(s.out.String())
	for _, f := range meanwhile {
		f()
	}
	c.until(func() bool { return c.answer(3).done() })
	if a := c.answer(3); a.status != 200 || a.body.String() != "/next-big" || c.wrong != nil {
		t.Fatalf("the next one got %s; %q %v", a, c.wrong, c.end)
	}
}

func (o *h2origin) wantReset(t *testing.T, target string, code http2.ErrCode) {
	t.Helper()
	testutil.Eventually(t, atOnce, func() bool {
		o.mu.Lock()
		defer o.mu.Unlock()
		got, ok := o.resets[target]
		return ok && got == code
	}, "the origin of "+target+" hears "+code.String())
}

// RFC 9113 §5.4.2, §8.7: what a client cancels is cancelled at the origin at once, also where the origin takes
// nothing, and its place is free.
func TestBatteryH2_cancelled(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	one := h2setting(http2.SettingMaxConcurrentStreams, 1)
	never := make(chan bool)
	t.Run("an upload to an origin without window", func(t *testing.T) {
		t.Parallel()
		o := newH2Origin(t)
		o.note(func() { o.settings, o.shut = one+h2setting(http2.SettingInitialWindowSize, 0), true })
		l := newH2Lane(t, o, "")
		c, s := l.begin(t, "", "POST", false)
		n := c.upload(t)
		testutil.Eventually(t, atOnce, func() bool { return o.begins() == 1 }, "the head comes")
		c.leave(t, s)
		o.wantReset(t, "/big", http2.ErrCodeCancel)
		o.wantConns(t, 1)
		t.Logf("edge took %d KiB", n>>10)
	})
	t.Run("an answer that the client does not take", func(t *testing.T) {
		t.Parallel()
		o := newH2Origin(t)
		o.note(func() { o.settings = one })
		o.perform("/big", &h2play{do: func(s *h2exchange) {
			s.say(h2ok(), pData(strings.Repeat("d", 16384), false), pData(strings.Repeat("d", 16384), false))
		}})
		l := newH2Lane(t, o, "")
		c, s := l.begin(t, h2setting(http2.SettingInitialWindowSize, 0), "GET", true)
		c.until(func() bool { return c.answer(1).status == 200 })
		s.out.WriteString(h2frame(http2.FrameSettings, 0, 0, h2setting(http2.SettingInitialWindowSize, 65535)))
		c.leave(t, s)
		o.wantReset(t, "/big", http2.ErrCodeCancel)
		o.wantConns(t, 1)
	})
	t.Run("an answer that does not come", func(t *testing.T) {
		t.Parallel()
		o := newH2Origin(t)
		o.note(func() { o.settings = one })
		o.perform("/big", &h2play{hold: never})
		l := newH2Lane(t, o, "")
		c, s := l.begin(t, "", "GET", true)
		testutil.Eventually(t, atOnce, func() bool { return o.sees("/big") }, "the request comes")
		c.leave(t, s)
		o.wantReset(t, "/big", http2.ErrCodeCancel)
		o.wantConns(t, 1)
	})
}

// The same where the origin does not read, and where many are cancelled at once.
func TestBatteryH2_cancelledUnread(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	one := h2setting(http2.SettingMaxConcurrentStreams, 1)
	t.Run("an upload to an origin that does not read", func(t *testing.T) {
		t.Parallel()
		o := newH2Origin(t)
		again := make(chan bool)
		o.note(func() { o.settings = one + h2setting(http2.SettingInitialWindowSize, 1<<30) })
		o.perform("/big", &h2play{early: true, do: func(s *h2exchange) {
			s.c.write(h2frame(http2.FrameWindowUpdate, 0, 0, be32(1<<30)))
			<-again
		}})
		l := newH2Lane(t, o, "")
		c, s := l.begin(t, "", "POST", false)
		testutil.Eventually(t, atOnce, func() bool { return o.begins() == 1 }, "the head comes")
		n := c.upload(t)
		// The place is free while nothing can be told to the origin: the next one waits after the reset, on the same
		// connection.
		c.leave(t, s, func() { c.ping(); close(again) })
		o.wantConns(t, 1)
		o.wantReset(t, "/big", http2.ErrCodeCancel)
		if o.sees("/big") {
			t.Error("the origin saw a whole request")
		}
		t.Logf("edge and the kernel took %d KiB", n>>10)
	})
	t.Run("all of a client that leaves", func(t *testing.T) {
		t.Parallel()
		o := newH2Origin(t)
		l := newH2Lane(t, o, "")
		c := h2dial(t, l.edge)
		s := newScribe("big", false)
		s.out.WriteString(h2preface + h2frame(http2.FrameSettings, 0, 0, ""))
		s.times(50, func() {
			target := fmt.Sprintf("/big-%d", s.stream)
			s.head(h2base("POST").set(":path", target), false)
		})
		io.WriteString(c, s.out.String())
		testutil.Eventually(t, atOnce, func() bool { return o.begins() == 50 }, "the heads come")
		c.Close()
		for n := range 50 {
			o.wantReset(t, fmt.Sprintf("/big-%d", 2*n+1), http2.ErrCodeCancel)
		}
		if err := h2victim(t, l.edge, "after"); err != nil {
			t.Error(err)
		}
		o.wantConns(t, 1)
	})
}

// The same at an origin of HTTP/1, whose connection is closed.
func TestBatteryH2_cancelledAtHTTP1(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	for _, method := range []string{"POST", "GET"} {
		t.Run(method+" to an origin of HTTP/1 that does not read", func(t *testing.T) {
			t.Parallel()
			addr, heads := deaf(t)
			p, edge := h2start(t, backendAt(addr), "")
			l := &h2lane{Process: p, edge: edge}
			c := h2dial(t, edge)
			s := newScribe("big", false)
			io.WriteString(c, h2preface+h2frame(http2.FrameSettings, 0, 0, h2setting(http2.SettingInitialWindowSize,
				0)))
			c.ping()
			before := l.descriptors(t)
			s.head(h2base(method), method == "GET")
			c.say(s.out.String())
			<-heads
			if method == "POST" {
				c.upload(t)
			} else {
				c.until(func() bool { return c.answer(1).status == 200 })
			}
			testutil.Eventually(t, atOnce, func() bool { return l.descriptors(t) == before+1 },
				"there are %d descriptors and one more", before)
			c.say(h2frame(http2.FrameRSTStream, 0, 1, be32(8)))
			testutil.Eventually(t, atOnce, func() bool { return l.descriptors(t) == before },
				"the connection to the origin is closed")
			if !c.ping() {
				t.Errorf("the connection of the client ended: %v, %v", c.gone, c.end)
			}
		})
	}
}

// perform has requests for target answered by p.
func (o *h2origin) perform(target string, p *h2play) { o.note(func() { o.plays[target] = p }) }

// begins is how many requests began.
func (o *h2origin) begins() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.began
}

func (o *h2origin) wantConns(t *testing.T, n int) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.conns != n || len(o.goaways) > 0 {
		t.Errorf("%d connections to the origin, want %d; GOAWAY %v", o.conns, n, o.goaways)
	}
}

func (l *h2lane) descriptors(t *testing.T) int {
	t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", l.PID()))
	testutil.Must(t, err)
	return len(open)
}

// deaf is an origin of HTTP/1 that reads a head and nothing more, and answers a GET without an end.
func deaf(t *testing.T) (addr string, heads chan bool) {
	l := testutil.Listen(t)
	heads = make(chan bool, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		t.Cleanup(func() { c.Close() })
		c.(*net.TCPConn).SetReadBuffer(16 << 10)
		m, err := readHead(bufio.NewReader(c), requestLine)
		if err != nil {
			return
		}
		heads <- true
		if m.word(0) != "GET" {
			return
		}
		_, err = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
		for err == nil {
			_, err = io.WriteString(c, strings.Repeat("d", 1<<16))
		}
	}()
	return l.Addr().String(), heads
}

// RFC 9113 §6.9.1: a peer that sends more than the window allows is reset or disconnected; nothing of it is kept.
func TestBatteryH2_windowsThatAreNotKept(t *testing.T) {
	testutil.Binary(t, "./cmd/edge")
	flow := http2.ErrCodeFlowControl
	many := func(s *scribe, bytes int) {
		for range bytes / 16384 {
			s.frame(http2.FrameData, 0, strings.Repeat("e", 16384))
		}
		s.frame(http2.FrameData, http2.FlagDataEndStream, "vil")
	}
	for _, size := range []int{1 << 20, 8 << 20} {
		t.Run(fmt.Sprintf("of a client, %d KiB", size>>10), func(t *testing.T) {
			t.Parallel()
			o := newH2Origin(t)
			o.note(func() { o.settings, o.shut = h2setting(http2.SettingInitialWindowSize, 0), true })
			l := newH2Lane(t, o, "")
			c, s := l.begin(t, "", "POST", false)
			many(s, size)
			sent := c.send([]string{s.out.String()})
			c.until(func() bool { return c.answer(1).done() || c.over() })
			if a := c.answer(1); (!a.reset || a.code != flow) && (c.gone == nil || *c.gone != flow) {
				t.Errorf("%s; GOAWAY %v, %v", a, c.gone, c.end)
			}
			c.Close()
			<-sent
			o.note(func() { o.settings, o.shut = "", false })
			if o.sees("/big") {
				t.Error("the origin saw a whole request")
			}
			if err := h2victim(t, l.edge, "after"); err != nil {
				t.Error(err)
			}
		})
		t.Run(fmt.Sprintf("of an origin, %d KiB", size>>10), func(t *testing.T) {
			t.Parallel()
			o := newH2Origin(t)
			o.perform("/big", &h2play{do: func(s *h2exchange) { s.say(h2ok(), func(w *scribe) { many(w, size) }) }})
			l := newH2Lane(t, o, "")
			c, _ := l.begin(t, h2setting(http2.SettingInitialWindowSize, 0), "GET", true)
			c.until(func() bool { return c.answer(1).done() || c.over() })
			if a := c.answer(1); !a.reset && a.status != 502 || a.ended && a.status == 200 || c.over() ||
				c.wrong != nil {
				t.Errorf("%s; %q GOAWAY %v, %v", a, c.wrong, c.gone, c.end)
			}
			testutil.Eventually(t, atOnce, func() bool {
				o.mu.Lock()
				defer o.mu.Unlock()
				code, ok := o.resets["/big"]
				return ok && code == flow || len(o.goaways) > 0 && o.goaways[0] == flow
			}, "the origin hears of it")
			if err := h2victim(t, l.edge, "after"); err != nil {
				t.Error(err)
			}
		})
	}
}
