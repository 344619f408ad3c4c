package interop

import (
	"net"
	"testing"
	"time"

	"github.com/summerwind/h2spec/config"
	"github.com/summerwind/h2spec/generic"
	"github.com/summerwind/h2spec/hpack"
	"github.com/summerwind/h2spec/http2"
	"github.com/summerwind/h2spec/log"
	"github.com/summerwind/h2spec/reporter"
	"github.com/summerwind/h2spec/spec"

	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/message"
)

// h2spec against the codec and nothing else: a loop that reads, answers each request with five bytes when it has come
// to its end, and writes.
func TestH2spec_codec(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	l := testutil.Serve(t, serveHello)
	o := &config.Config{
		Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Path: "/", Timeout: testutil.Patience,
		MaxHeaderLen: 4000, Strict: true,
	}
	passed, groups := 0, []*spec.TestGroup{generic.Spec(), http2.Spec(), hpack.Spec()}
	for _, g := range groups {
		g.Test(o)
		passed += g.PassedCount
		if g.FailedCount+g.SkippedCount > 0 {
			t.Errorf("%s: %d failed, %d skipped", g.Name, g.FailedCount, g.SkippedCount)
		}
	}
	if t.Failed() {
		log.SetIndentLevel(0)
		reporter.FailedTests(groups)
	}
	if passed != 146 {
		t.Errorf("%d of 146 passed", passed)
	}
}

// serveHello is a server on one connection.
func serveHello(nc net.Conn) {
	defer nc.Close()
	var c h2.Conn
	var h message.Head
	start := time.Now()
	now := func() int64 { return int64(time.Since(start)) + 1 }
	c.Init(h2.Server, nil, now())
	out, in := c.AppendControl(nil), []byte(nil)
	rest := map[*h2.Stream]int{}
	answer := func(s *h2.Stream) {
		rest[s] = 5
		out, _ = c.AppendHead(out, s, &message.Head{Status: 200, Length: 5}, false)
	}
	for {
		for {
			n, ev := c.Next(in, &h, now())
			in = in[n:]
			if ev.Kind == h2.NeedMore {
				break
			}
			if ev.Kind == h2.Data && !ev.Stream.Dead() {
				c.Release(ev.Stream, len(ev.Body))
			}
			if ev.End {
				answer(ev.Stream)
				rest[ev.Stream] -= send(&c, &out, ev.Stream, rest[ev.Stream])
			}
			if ev.Kind == h2.Reset {
				delete(rest, ev.Stream)
			}
			for s := c.NextSendable(); s != nil; s = c.NextSendable() {
				rest[s] -= send(&c, &out, s, rest[s])
			}
		}
		out = c.AppendControl(out)
		if _, err := nc.Write(out); err != nil {
			return
		}
		out = out[:0]
		if c.Done() {
			// What the peer has sent is read, or a RST would overtake the GOAWAY.
			nc.(*net.TCPConn).CloseWrite()
			nc.SetReadDeadline(time.Now().Add(testutil.Patience))
			for b := make([]byte, 4096); ; {
				if _, err := nc.Read(b); err != nil {
					return
				}
			}
		}
		b := make([]byte, 16<<10)
		n, err := nc.Read(b)
		if err != nil {
			return
		}
		in = append(in, b[:n]...)
	}
}

func send(c *h2.Conn, out *[]byte, s *h2.Stream, rest int) int {
	o, n, _ := c.AppendData(*out, s, []byte("hello")[5-rest:], true)
	*out = o
	return n
}
