package load

import (
	"bytes"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/h3"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
)

// worker is a thread of the load: some of the connections, and what they count. Owned by its reactor, and by Run when
// the engine has stopped.
//
//	inFlight == requests that were sent and neither answered nor given up
//	over => stopping => running
//	in an open loop: a connection that is open, has room and is not in free was not asked yet
type worker struct {
	plan       *plan
	index      int
	reactor    *engine.Reactor
	handshaker *tlsconn.Handshaker
	tls        *tlsconn.ClientOptions
	head       message.Head // scratch of the decoders
	wire       []byte       // with Numbered or Hosts: the request that was sent last
	number     uint64       // of the next request
	codec      h2.Options
	h3         h3Shared

	peers     []*peer
	undecided int             // peers that neither stood nor failed yet
	connected chan connection // one, when undecided is 0
	done      chan struct{}   // closed when over

	connectTask, beginTask, endTask, sendTask engine.Task
	endTimer                                  engine.Timer

	// The schedule of an open loop.
	free       ring  // connections with room
	next       int   // the number of the next request
	wake       int64 // when it is due, 0 where no connection is free
	sendPosted bool

	began, ends, answeredAt int64 // times of the reactor
	inFlight                int
	running, stopping, over bool

	latencies                          *hdrhistogram.Histogram
	requests, opened, reopened, unsent uint64
	late                               int64
	status                             Status
	errors                             Errors
	failure                            error
}

// connection is what has become of the first attempts of a worker to connect.
type connection struct {
	open    int
	failure error
}

func newWorker(p *plan, index int) *worker {
	w := &worker{
		plan: p, index: index, connected: make(chan connection, 1), done: make(chan struct{}),
		latencies: newHistogram(), wire: bytes.Clone(p.wire),
		number: p.first + uint64(index),
	}
	w.codec = h2.Options{
		Arena: new(h2.Arena), MaxStreams: p.Depth, StallTimeout: p.Timeout, SettingsTimeout: p.Timeout, Scheme: "http",
	}
	w.h3.codec = h3.Options{Arena: new(h3.Arena), MaxStreams: p.Depth, Scheme: "https"}
	if p.TLS != nil {
		w.codec.Scheme = "https"
	}
	for i := index; i < p.Connections; i += p.Threads {
		w.peers = append(w.peers, newPeer(w))
	}
	w.undecided = len(w.peers)
	w.free.peers = make([]*peer, len(w.peers))
	w.connectTask.Run = w.connect
	w.beginTask.Run = w.begin
	w.endTask.Run = w.end
	w.endTimer.Run = w.end
	w.sendTask.Run = w.sendDue
	return w
}

func (w *worker) connect(*engine.Reactor) {
	for _, p := range w.peers {
		if w.plan.Reconnect {
			p.decide(nil)
		} else {
			p.self.dial()
		}
	}
}

func (w *worker) begin(r *engine.Reactor) {
	w.running = true
	w.began, w.ends = r.Now(), r.Now()+int64(w.plan.Duration)
	r.Arm(&w.endTimer, w.ends)
	for _, p := range w.peers {
		p.fill()
	}
}

// end sends no more requests. Those in progress are waited for.
func (w *worker) end(r *engine.Reactor) {
	if w.stopping || !w.running {
		return
	}
	w.stopping = true
	w.wake = 0
	w.ends = min(w.ends, r.Now())
	if w.plan.Rate > 0 {
		for ; w.due(w.next) < w.ends; w.next++ {
			w.unsent++
		}
	}
	w.checkOver()
}

func (w *worker) checkOver() {
	if w.stopping && w.inFlight == 0 && !w.over {
		w.over = true
		close(w.done)
	}
}

// due is when request n of w is to be sent. The workers take turns.
func (w *worker) due(n int) int64 {
	whole := float64(n*w.plan.Threads + w.index)
	return w.began + int64(whole*float64(time.Second)/w.plan.Rate)
}

// offer puts a connection with room at the end of those that wait for a request.
func (w *worker) offer(p *peer) {
	w.free.push(p)
	w.wake = w.due(w.next)
	if w.wake <= w.reactor.Now() {
		w.postSend()
	}
}

// postSend arranges for sendDue in this tick.
func (w *worker) postSend() {
	if !w.sendPosted {
		w.sendPosted = true
		w.reactor.Defer(&w.sendTask)
	}
}

// sendDue sends the requests whose time has come, each on the connection that has waited longest.
func (w *worker) sendDue(r *engine.Reactor) {
	w.sendPosted, w.wake = false, 0
	for !w.stopping && w.free.n > 0 {
		at := w.due(w.next)
		if at >= w.ends || r.Now() >= w.ends {
			return
		}
		if at > r.Now() {
			w.wake = at
			return
		}
		p := w.free.pop()
		if p.self.room() == 0 { // it closed meanwhile
			continue
		}
		w.next++
		w.late = max(w.late, r.Now()-at)
		p.self.send(at)
		if p.self.room() > 0 {
			w.free.push(p)
		}
	}
}

// nextRequest returns the next request over HTTP/1. It is borrowed until the next call. The workers take numbers in
// turn, as they do with times.
func (w *worker) nextRequest() []byte {
	if !w.plan.Numbered && w.plan.Hosts == 0 {
		return w.plan.wire
	}
	n := w.number
	w.number += uint64(w.plan.Threads)
	if w.plan.Hosts > 0 {
		writeDigits(w.wire[w.plan.hostAt:][:hostDigits], n%uint64(w.plan.Hosts), 10)
	}
	if w.plan.Numbered {
		writeDigits(w.wire[w.plan.numberAt:][:numberLen], n, 16)
	}
	return w.wire
}

// writeDigits fills to with the last digits of n.
func writeDigits(to []byte, n, base uint64) {
	for i := len(to) - 1; i >= 0; i-- {
		to[i] = "0123456789abcdef"[n%base]
		n /= base
	}
}

// answered counts the answer to a request whose latency counts from start.
func (w *worker) answered(start int64, status uint16) {
	w.inFlight--
	w.requests++
	if status != 0 {
		w.status.count(status)
	}
	if w.plan.Answered != nil {
		w.plan.Answered()
	}
	w.answeredAt = w.reactor.Now()
	// No value is above what the histogram takes: the error cannot come.
	_ = w.latencies.RecordValue(min(max(w.answeredAt-start, 1), int64(latencyMax)))
	w.checkOver()
}

// lost counts a request that brings no answer.
func (w *worker) lost(cause error) {
	w.inFlight--
	w.errors.Read++
	w.note(cause)
	w.checkOver()
}

// timedOut counts n requests that were given up.
func (w *worker) timedOut(n int) {
	if n == 0 {
		return
	}
	w.inFlight -= n
	w.errors.Timeout += uint64(n)
	w.note(engine.ErrTimeout)
	w.checkOver()
}

func (w *worker) note(cause error) {
	if w.failure == nil {
		w.failure = cause
	}
}

// ring is a queue of peers, each of which is in it once at the most. Owned by its worker.
type ring struct {
	peers []*peer
	at, n int
}

func (r *ring) push(p *peer) {
	if p.listed {
		return
	}
	p.listed = true
	r.peers[(r.at+r.n)%len(r.peers)] = p
	r.n++
}

func (r *ring) pop() *peer {
	p := r.peers[r.at]
	r.at = (r.at + 1) % len(r.peers)
	r.n--
	p.listed = false
	return p
}
