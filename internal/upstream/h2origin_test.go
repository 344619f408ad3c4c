package upstream_test

import (
	"bytes"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/edge-proxy/edge/internal/test/sim"
)

// h2Origin is an HTTP/2 server in a World, which shares nothing with package h2.
type h2Origin struct {
	t        testing.TB
	w        *sim.World
	limit    int           // exchanges at a time on one connection; 0: it does not say
	closed   bool          // it says that it takes none
	goAway   int           // how many exchanges of a connection it processes; 0: any number
	refuse   float64       // how often it refuses one
	lose     float64       // how often it resets the connection instead of answering
	delay    time.Duration // an answer takes up to so long
	silent   bool          // it takes exchanges and does not answer them
	accepted int           // connections
	taken    int           // exchanges
	answered int
	refused  int
}

// serve makes o the origin at l.
func (o *h2Origin) serve(l *sim.Listener) {
	l.Handle = func(p *sim.Peer) {
		o.accepted++
		c := &h2Conn{origin: o, peer: p, open: map[uint32]bool{}}
		c.framer = http2.NewFramer(&c.out, &c.in)
		c.framer.AllowIllegalWrites = true
		c.dec = hpack.NewDecoder(4096, nil)
		c.enc = hpack.NewEncoder(&c.block)
		p.Handle = func(*sim.Peer) { c.handle() }
		c.handle()
	}
}

// h2Conn is one connection of an h2Origin.
type h2Conn struct {
	origin  *h2Origin
	peer    *sim.Peer
	framer  *http2.Framer
	in, out bytes.Buffer
	block   bytes.Buffer
	dec     *hpack.Decoder
	enc     *hpack.Encoder
	greeted bool
	acked   bool // the limit binds the client
	leaving bool // GOAWAY was sent
	last    uint32
	served  int
	open    map[uint32]bool
}

// handle reads what came.
func (c *h2Conn) handle() {
	c.in.Write(c.peer.Take())
	if !c.greeted {
		if c.in.Len() < len(http2.ClientPreface) {
			return
		}
		if got := string(c.in.Next(len(http2.ClientPreface))); got != http2.ClientPreface {
			c.origin.t.Errorf("the preface is %q", got)
			c.peer.Reset()
			return
		}
		c.greeted = true
		var settings []http2.Setting
		if n := c.origin.limit; n > 0 {
			settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: uint32(n)})
		}
		if c.origin.closed {
			settings = append(settings, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		}
		c.framer.WriteSettings(settings...) //nolint:errcheck // to memory
	}
	for c.whole() {
		f, err := c.framer.ReadFrame()
		if err != nil {
			c.origin.t.Errorf("frame: %v", err)
			c.peer.Reset()
			return
		}
		c.frame(f)
	}
	c.flush()
	if c.peer.EOF() {
		c.peer.Close()
	}
}

// whole reports whether a frame is here.
func (c *h2Conn) whole() bool {
	b := c.in.Bytes()
	return len(b) >= 9 && len(b) >= 9+(int(b[0])<<16|int(b[1])<<8|int(b[2]))
}

func (c *h2Conn) flush() {
	if c.out.Len() > 0 {
		c.peer.Send(c.out.Bytes())
		c.out.Reset()
	}
}

func (c *h2Conn) frame(f http2.Frame) {
	switch f := f.(type) {
	case *http2.SettingsFrame:
		if c.acked = c.acked || f.IsAck(); !f.IsAck() {
			c.framer.WriteSettingsAck() //nolint:errcheck // to memory
		}
	case *http2.PingFrame:
		if !f.IsAck() {
			c.framer.WritePing(true, f.Data) //nolint:errcheck // to memory
		}
	case *http2.HeadersFrame:
		if _, err := c.dec.DecodeFull(f.HeaderBlockFragment()); err != nil {
			c.origin.t.Errorf("header block: %v", err)
		}
		c.begin(f.StreamID, f.StreamEnded())
	case *http2.DataFrame:
		if n := uint32(len(f.Data())); n > 0 {
			c.framer.WriteWindowUpdate(0, n) //nolint:errcheck // to memory
		}
		if c.open[f.StreamID] && f.StreamEnded() {
			c.answerLater(f.StreamID)
		}
	case *http2.RSTStreamFrame:
		delete(c.open, f.StreamID)
	}
}

// begin takes an exchange, or does not.
func (c *h2Conn) begin(id uint32, ended bool) {
	o := c.origin
	if id%2 == 0 || id <= c.last && !c.leaving {
		o.t.Errorf("stream %d after %d", id, c.last)
	}
	if c.leaving {
		return // the client knows from GOAWAY that it is not processed
	}
	over := o.limit > 0 && len(c.open) >= o.limit
	if over && c.acked {
		o.t.Errorf("%d exchanges at a time, %d are allowed", len(c.open)+1, o.limit)
	}
	c.last = id
	if over || o.closed || o.w.Rand().Float64() < o.refuse {
		o.refused++
		c.framer.WriteRSTStream(id, http2.ErrCodeRefusedStream) //nolint:errcheck // to memory
		return
	}
	c.open[id] = true
	o.taken++
	if c.served++; c.served == o.goAway {
		c.leaving = true
		c.framer.WriteGoAway(id, http2.ErrCodeNo, nil) //nolint:errcheck // to memory
	}
	if ended {
		c.answerLater(id)
	}
}

func (c *h2Conn) answerLater(id uint32) {
	o := c.origin
	if o.silent {
		return
	}
	if o.delay == 0 {
		c.answer(id)
		return
	}
	o.w.After(time.Duration(o.w.Rand().Int64N(int64(o.delay))), func() {
		c.answer(id)
		c.flush()
	})
}

func (c *h2Conn) answer(id uint32) {
	o := c.origin
	if !c.open[id] || c.peer.Closed() {
		return
	}
	if o.w.Rand().Float64() < o.lose {
		c.peer.Reset()
		return
	}
	o.answered++
	delete(c.open, id)
	c.block.Reset()
	c.enc.WriteField(hpack.HeaderField{Name: ":status", Value: "200"}) //nolint:errcheck // to memory
	c.framer.WriteHeaders(http2.HeadersFrameParam{                     //nolint:errcheck // to memory
		StreamID: id, BlockFragment: c.block.Bytes(), EndHeaders: true,
	})
	c.framer.WriteData(id, true, []byte("ok")) //nolint:errcheck // to memory
}
