package proxy

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/list"
)

// Encoder makes another form of the body of an answer, by a content coding such as gzip. It belongs to its exchange
// until Close, and its methods run on the reactor of that.
type Encoder interface {
	// Coding is the name of the content coding.
	Coding() string
	// Append encodes p, which is borrowed, and appends to dst the bytes of the encoded body that are ready: all of them
	// unless how is EncodeMore. late reports whether the Encoder keeps bytes back.
	Append(dst, p []byte, how Encode) (out []byte, late bool)
	// Close ends the use of the Encoder, whether the body has ended or not.
	Close()
}

// Encode says what comes after a piece of a body.
type Encode uint8

// What comes after a piece.
const (
	EncodeMore  Encode = iota // another piece, soon
	EncodeFlush               // nothing for a while: the client is to have all that came
	EncodeEnd                 // the end of the body
)

// Encoding takes turns, since it takes a hundred times as long as passing bytes on. Bytes that a tick has no room for
// wait, and their source is paused:
//
//	pushDown ─► filters ─► encodedSide.part ─► Encoder ─► client
//	                           │ bytes beyond a piece, or beyond the share of the tick
//	                           └─► Body.Raw, the encoding in turns ─► run, once a tick ─► OnTurn
const (
	encodePiece   = 16 << 10 // bytes of one answer in a row: 160 µs of gzip at level 5
	encodePerTick = 64 << 10 // bytes of all answers in a tick
)

// flushAfter is the pause of a source after which the client gets all that came.
const flushAfter = int64(10 * time.Millisecond)

// encoded is an exchange whose answer is encoded, as encoders see it.
type encoded interface {
	OnTurn(n int) // up to n of its bytes that wait may be encoded
	OnPause()     // its source pauses
}

// encoding is the Encoder of an exchange, and the account of its bytes. Owned by the exchange.
type encoding struct {
	x       encoded
	of      *encoders
	with    Encoder // nil once it is closed
	coding  string
	taken   int                 // bytes of Body.Raw that were encoded already
	in, out int64               // bytes before and after
	since   int64               // reactor time of the last piece, while late is listed
	turn    list.Node[encoding] // in encoders.turns
	late    list.Node[encoding] // in encoders.late
}

// encodingOf has the encoding of an exchange whose answer is Encoded.
var encodingOf = NewLocal[encoding]()

// encoders is what the encodings of a reactor share. Owned by that.
type encoders struct {
	reactor *engine.Reactor
	turns   list.List[encoding] // whose bytes wait for a turn, the oldest first
	late    list.List[encoding] // whose clients lack something that came, the longest pause first
	tick    int64               // that left is of
	left    int                 // bytes that may be encoded in it
	task    engine.Task
	posted  bool // the task is on its way
	timer   engine.Timer
	armed   bool
	out     []byte // what an Encoder made last
}

func newEncoders(r *engine.Reactor) *encoders {
	e := &encoders{reactor: r}
	e.task.Run, e.timer.Run = e.run, e.flush
	return e
}

// start makes c the encoding of x by with.
func (c *encoding) start(x encoded, of *encoders, with Encoder) {
	c.x, c.of, c.with, c.coding = x, of, with, with.Coding()
}

// stop gives the Encoder back. The account stays.
func (c *encoding) stop() {
	c.turn.Remove()
	c.late.Remove()
	if c.with != nil {
		c.with.Close()
		c.with = nil
	}
}

// encode returns what the Encoder makes of p, borrowed until the next call for any encoding of the reactor.
func (c *encoding) encode(p []byte, how Encode) []byte {
	e := c.of
	out, late := c.with.Append(e.out[:0], p, how)
	if e.out = out[:0]; cap(out) > encodedKept {
		e.out = nil
	}
	c.in, c.out = c.in+int64(len(p)), c.out+int64(len(out))
	if late {
		c.isLate()
	} else {
		c.late.Remove()
	}
	return out
}

// isLate arranges a call of OnPause after a pause, unless there is another piece before.
func (c *encoding) isLate() {
	c.late.Remove()
	c.since = c.of.reactor.Now()
	c.of.late.PushBack(&c.late, c)
	c.of.arm(c.since + flushAfter)
}

// encodedKept is the capacity that encoders.out keeps.
const encodedKept = 256 << 10

// awaitTurn arranges that the bytes of c that wait are encoded later in this tick, or in the next ones.
func (c *encoding) awaitTurn() {
	if e := c.of; !c.turn.Listed() {
		e.turns.PushBack(&c.turn, c)
		e.post()
	}
}

func (e *encoders) post() {
	if !e.posted {
		e.posted = true
		e.reactor.Post(&e.task)
	}
}

// share returns how many of n bytes may be encoded in a row now.
func (e *encoders) share(n int) int {
	if e.tick != e.reactor.Now() {
		e.tick, e.left = e.reactor.Now(), encodePerTick
	}
	n = min(n, encodePiece, e.left)
	e.left -= n
	return n
}

// run gives the encodings that wait a turn each, as long as the tick has room.
func (e *encoders) run(*engine.Reactor) {
	e.posted = false
	for c := e.turns.First(); c != nil; c = e.turns.First() {
		n := e.share(encodePiece)
		if n == 0 {
			e.post()
			return
		}
		c.turn.Remove()
		c.x.OnTurn(n)
	}
}

// flush gives the clients of sources that pause all that came.
func (e *encoders) flush(r *engine.Reactor) {
	e.armed = false
	for c := e.late.First(); c != nil && c.since+flushAfter <= r.Now(); c = e.late.First() {
		c.x.OnPause()
	}
	if c := e.late.First(); c != nil {
		e.arm(c.since + flushAfter)
	}
}

func (e *encoders) arm(at int64) {
	if !e.armed {
		e.armed = true
		e.reactor.Arm(&e.timer, at)
	}
}
