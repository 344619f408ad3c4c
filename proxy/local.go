package proxy

import (
	"context"
	"encoding/binary"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/exchange/forwarding"
	"github.com/edge-proxy/edge/internal/exchange/recent"
	"github.com/edge-proxy/edge/internal/forward"
	"github.com/edge-proxy/edge/internal/match/regex"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/route"
	"github.com/edge-proxy/edge/message"
)

// Proxy takes requests from listeners and brings them where the routes of its present Snapshot say.
// Safe for any goroutine.
type Proxy struct {
	snapshot atomic.Pointer[Snapshot]
	local    []*local         // by Reactor.Index
	name     *forwarding.Name // immutable once a Service was made
	patterns *regex.Budget    // of the tables of regular expressions, on all reactors and workers
	idle     idleEvaluations
	loads    *content.Loads // of files that are sent
}

// local is the state that the exchanges of one reactor share.
// Owned by its reactor.
type local struct {
	proxy    *Proxy
	reactor  *engine.Reactor
	free     freeList
	active   int
	alone    int          // sub-requests without a parent
	subHead  message.Head // of the sub-request that is being made
	stats    Stats
	attempts forward.Local
	record   *observe.Record // filled for each exchange: too large for the stack of every one; nil while one is in use

	routing route.Local
	rings   *recent.Rings // of requests that have ended; nil: none is remembered

	language *evaluation // of texts; nil until the first one

	slab slab // what Locals have

	failing Error // what Error filters are given

	sampleRate string // of the record that is being logged; see Chooser
	span       spanRoom

	emitted, input []byte // what body filters put out, and what the next one of them is given
	lent           lent
	page           []byte          // where bodies of the proxy's own are made
	coded          []byte          // what gRPC-Web makes of a piece of a body
	encoders       *encoders       // nil until the first answer that is encoded
	contents       *content.Source // of bodies that are in files; nil until the first one

	refused  sessionRefusal // the last request that the session refused, until Refused logs it
	answered sessionEnd     // the last exchange that the session ended, until it answers

	ids      [2]uint64 // the first half and the last number of request ids
	wall     int64     // wall clock less reactor clock, ns
	date     []byte    // the Date field of this second
	dateTill int64     // reactor time at which it is over
}

// spanRoom has the span of the record that is being logged. Owned by its reactor: each of the exchanges that this keeps
// would hold as much.
type spanRoom struct {
	observe.Span
	text   []byte // of values, one after the other
	hidden []byte
}

// lent is the body of a stored answer while run brings it to the client. Borrowed: what waits keeps a copy.
type lent struct {
	to   *Exchange // nil: there is none, or it was taken
	body []byte
}

// keepLent copies the body that is lent, if there is one, since what comes may change it.
func (l *local) keepLent() {
	if x := l.lent.to; x != nil {
		x.toDown.Hold(l.unlend(x))
	}
}

// encodings returns what the encodings of the reactor share.
func (l *local) encodings() *encoders {
	if l.encoders == nil {
		l.encoders = newEncoders(l.reactor)
	}
	return l.encoders
}

// sources returns what gives the bodies of files.
func (l *local) sources() *content.Source {
	if l.contents == nil {
		l.contents = content.NewSource(l.proxy.loads)
	}
	return l.contents
}

// unlend returns the body that was lent to x, once.
func (l *local) unlend(x *Exchange) (body []byte) {
	if l.lent.to == x {
		body, l.lent = l.lent.body, lent{}
	}
	return body
}

// sessionRefusal is a request that the session answers and that never was an exchange.
type sessionRefusal struct {
	cause error // why; nil: there is none
	id    [16]byte
	bytes int // of the body of its answer
}

// sessionEnd is an exchange that the session answers.
type sessionEnd struct {
	cause error  // why; nil: there is none
	text  string // its number, which may be the number that it came with
}

// idOf returns the number n of the requests of l as it stands in logs.
func (l *local) idOf(n uint64) (id [16]byte) {
	binary.BigEndian.PutUint64(id[:8], l.ids[0])
	binary.BigEndian.PutUint64(id[8:], n)
	return id
}

// now returns the wall clock of this tick in ns: it is read once a second at the most.
func (l *local) now() int64 {
	l.tellTime()
	return l.reactor.Now() + l.wall
}

// addDate adds the time to an answer: RFC 9110 §6.6.1.
func (l *local) addDate(h *message.Head) {
	l.tellTime()
	h.AddID(message.Date, "Date", string(l.date))
}

// wallTime returns the wall clock of this tick.
func (l *local) wallTime() time.Time { return time.Unix(0, l.now()) }

// tellTime renews what depends on the wall clock, and what the log takes, when a second is over.
func (l *local) tellTime() {
	now := l.reactor.Now()
	if now < l.dateTill {
		return
	}
	t := time.Now()
	l.wall = t.UnixNano() - now
	l.date = t.UTC().AppendFormat(l.date[:0], message.DateLayout)
	l.dateTill = now + int64(time.Second) - int64(t.Nanosecond())
	l.attempts.Debug = slog.Default().Enabled(context.Background(), slog.LevelDebug)
}
