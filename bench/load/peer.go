package load

import (
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/poller"
)

// The pause before a connection that brought no answer is made anew, doubling.
const (
	pauseFirst = time.Millisecond
	pauseSteps = 7
)

// client is a connection that speaks one of the protocols. Its methods run on its reactor.
type client interface {
	engine.Handler
	// dial begins to connect. Errors reach leave.
	dial()
	// room is how many requests can be sent now.
	room() int
	// send sends one. start is the time from which its latency counts. room has said that there is room.
	send(start int64)
	// forget gives up what is in progress and returns how many requests that was.
	forget() int
}

// peer is what clients of all protocols have in common: one connection and those that replace it.
// Owned by its reactor.
type peer struct {
	engine.NopHandler
	w        *worker
	self     client
	conn     *engine.Conn
	failures int // since the last answer
	pause    engine.Timer
	open     bool // conn stands, and requests may be sent on it
	wasOpen  bool
	decided  bool // the first attempt to connect was counted
	pausing  bool
	listed   bool // in the ring of its worker
}

func newPeer(w *worker) *peer {
	var p *peer
	switch w.plan.Protocol {
	case HTTP2:
		c := &h2Client{exchanges: newExchanges[h2.Stream](w.plan.Depth)}
		c.self, p = c, &c.peer
	case HTTP3:
		c := newH3Client(w.plan.Depth)
		c.self, p = c, &c.peer
	case WebSocket:
		c := &wsClient{}
		c.self, p = c, &c.peer
	default:
		c := &h1Client{starts: make([]int64, w.plan.Depth)}
		c.self, p = c, &c.peer
	}
	p.w = w
	p.pause.Run = func(*engine.Reactor) {
		p.pausing = false
		p.renew()
	}
	return p
}

// dial connects over TCP.
func (p *peer) dial() {
	w := p.w
	to := poller.Addr{IP: w.plan.to}
	do := &engine.DialOptions{Timeout: w.plan.Timeout}
	var err error
	if w.handshaker != nil {
		p.conn, err = w.handshaker.Dial(w.reactor, to, p.self, do, w.tls)
	} else {
		p.conn, err = w.reactor.Dial(to, p.self, do)
	}
	if err != nil {
		p.conn = nil
		p.leave(err)
	}
}

// stands says that requests may be sent on the connection.
func (p *peer) stands() {
	p.open = true
	p.w.opened++
	if p.wasOpen {
		p.w.reopened++
	}
	p.wasOpen = true
	p.decide(nil)
}

// decide counts the first attempt to connect.
func (p *peer) decide(failure error) {
	w := p.w
	if failure != nil {
		w.note(failure)
	}
	if p.decided {
		return
	}
	p.decided = true
	if w.undecided--; w.undecided > 0 {
		return
	}
	c := connection{failure: w.failure}
	for _, p := range w.peers {
		if p.wasOpen {
			c.open++
		}
	}
	w.connected <- c
}

// answered counts the answer to a request whose latency counts from start.
func (p *peer) answered(start int64, status uint16) {
	p.failures = 0
	p.w.answered(start, status)
}

// fill sends requests as far as there is room, or offers the room to the schedule.
func (p *peer) fill() {
	w := p.w
	if !w.running || w.stopping {
		return
	}
	if w.plan.Rate > 0 {
		if p.self.room() > 0 {
			w.offer(p)
		}
		return
	}
	for p.self.room() > 0 {
		p.self.send(w.reactor.Now())
	}
}

// OnTimeout gives up what has no answer.
func (p *peer) OnTimeout(*engine.Conn) { p.leave(engine.ErrTimeout) }

// OnEOF makes another connection.
func (p *peer) OnEOF(*engine.Conn) { p.leave(nil) }

// OnClose makes another connection.
func (p *peer) OnClose(c *engine.Conn, cause error) {
	if c == p.conn && cause != engine.ErrStopped {
		p.conn = nil
		p.leave(cause)
	}
}

// leave gives the connection up, with the requests on it, and arranges for another one.
func (p *peer) leave(cause error) {
	w, stood := p.w, p.open
	p.open = false
	if c := p.conn; c != nil {
		p.conn = nil
		c.Close(cause)
	}
	n := p.self.forget()
	w.inFlight -= n
	switch {
	case !stood && !w.stopping:
		w.errors.Connect++
	case !stood:
		w.errors.Connect += uint64(n)
	case cause == engine.ErrTimeout:
		w.errors.Timeout += uint64(n)
	default:
		w.errors.Read += uint64(n)
	}
	if cause == nil && n > 0 {
		cause = errEnded
	}
	if n > 0 || !stood {
		p.decide(cause)
	}
	w.checkOver()
	p.again()
}

// again makes the next connection: at once where the last one brought an answer, else after a pause.
func (p *peer) again() {
	w := p.w
	if w.stopping {
		return
	}
	p.failures++
	if p.failures > 1 {
		p.pausing = true
		w.reactor.Arm(&p.pause, w.reactor.Now()+int64(pauseFirst)<<min(p.failures, pauseSteps))
		return
	}
	p.renew()
}

// renew makes a connection. With Reconnect the next request does.
func (p *peer) renew() {
	switch {
	case p.w.stopping:
	case p.w.plan.Reconnect:
		p.fill()
	default:
		p.self.dial()
	}
}
