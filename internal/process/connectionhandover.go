package process

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/process/handover"
	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/server"
)

// connectionHandover passes sockets and connections on to the new process: a handover.OldProcess. Its methods are
// called by the goroutine of the attempt; a goroutine of its own passes connections on after Yield.
//
//	server.Giving ─► sendOutgoing ─► batches ─► OldSide ─► Owned
//	                      │ noReceiver             └─────► Keep ─┐
//	                      └──────────────────────────────────────┴─► they drain here
type connectionHandover struct {
	attempt       *attempt
	inheritance   *inheritance
	batches       chan []handover.Conn
	noReceiver    chan struct{} // closed when batches has no receiver any more
	stopReceiving func()        // closes noReceiver

	outgoing         *server.Giving // nil: connections are not handed over, or before Yield
	unconfirmed      atomic.Int64   // connections in batches that the new process has neither confirmed nor refused
	fewerUnconfirmed chan struct{}  // has an element after unconfirmed fell
	tookBack         atomic.Bool    // connections were taken back since run looked last
	resumed          atomic.Bool
	resumeBegun      chan struct{} // closed by Resume
	pid              int           // of the new process; 0 before Yield
	drained          chan struct{} // closed when the goroutine has ended; nil: there is none
	nothingCut       bool          // after drained: the grace period cut no connection
	cacheGiven       chan struct{} // closed when the new process has what the cache had
	begun            time.Time
}

// unconfirmedMax is how many connections are on their way at once.
const unconfirmedMax = 4 * upgrade.FilesMax

func newConnectionHandover(a *attempt, i *inheritance) *connectionHandover {
	c := &connectionHandover{
		attempt: a, inheritance: i, batches: make(chan []handover.Conn), noReceiver: make(chan struct{}),
		fewerUnconfirmed: make(chan struct{}, 1),
		resumeBegun:      make(chan struct{}),
		cacheGiven:       make(chan struct{}),
	}
	c.stopReceiving = sync.OnceFunc(func() { close(c.noReceiver) })
	return c
}

func (c *connectionHandover) Suspend(claims []int) error {
	c.inheritance.closeCopies() // a copy would keep a socket open that the new process drops
	return c.inheritance.server.Handover().Suspend(claims)
}

func (c *connectionHandover) Yield(pid int, give bool) {
	c.pid, c.begun, c.drained = pid, time.Now(), make(chan struct{})
	// The answer comes first: names ends the admin surface, which waits until its answers are written.
	c.attempt.report(upgrade.Frame{Type: upgrade.Serving, Body: upgrade.ServingBody{PID: pid}})
	c.inheritance.holdNames(false)
	slog.Info("upgraded: the new process serves, this one drains", "pid", pid,
		"connections", c.inheritance.server.Conns(),
		"took", time.Since(c.attempt.begun).Round(time.Millisecond).String())
	c.attempt.upgrades.announce(servingChange{pid: pid})
	if give {
		c.outgoing = c.inheritance.server.Handover().Give(unconfirmedMax)
	} else {
		slog.Warn("upgraded: the new process may open too few files for the connections, which drain", "pid", pid)
	}
	c.attempt.upgrades.predecessor.tellPassed(true)
	go c.giveCache()
	go c.run()
}

// giveCache hands over what the cache has, if there is one.
func (c *connectionHandover) giveCache() {
	if c.inheritance.cache != nil {
		c.inheritance.cache.Give()
	}
	close(c.cacheGiven)
}

// run passes connections on until nothing is left, or until Resume. What comes back from the new process drains here.
func (c *connectionHandover) run() {
	defer close(c.drained)
	h := c.inheritance.server.Handover()
	h.CloseOthers()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		c.sendOutgoing(ctx)
	}()
	end := c.begun.Add(c.inheritance.grace)
	for again := true; again; {
		c.nothingCut = h.Drain(time.Until(end))
		last := c.stopOutgoing()
		cancel()
		patience := time.AfterFunc(lastBatchesTime, c.stopReceiving)
		<-sent
		for batch := range slices.Chunk(last, upgrade.FilesMax) {
			c.send(batch)
		}
		c.awaitConfirmations()
		patience.Stop()
		again = c.tookBack.Swap(false) || c.awaitPredecessor()
		again = again && c.nothingCut && !c.resumed.Load()
	}
	c.awaitPredecessor()
	<-c.cacheGiven
	if !c.resumed.Load() {
		close(c.batches)
	}
}

// sendOutgoing passes on the connections that the Server lets go, until it is cancelled.
func (c *connectionHandover) sendOutgoing(ctx context.Context) {
	if c.outgoing == nil {
		return
	}
	for {
		batch, err := c.outgoing.Next(ctx)
		if err != nil {
			return
		}
		c.send(toConns(batch))
		c.outgoing.Took(len(batch))
	}
}

// stopOutgoing stops the Server from giving connections away: the others stay. It returns those that sendOutgoing will
// not send any more. It may be called again.
func (c *connectionHandover) stopOutgoing() []handover.Conn {
	if c.outgoing == nil {
		return nil
	}
	return toConns(c.outgoing.End())
}

// awaitConfirmations waits until no connection is unconfirmed, or batches has no receiver any more.
func (c *connectionHandover) awaitConfirmations() {
	for c.unconfirmed.Load() > 0 {
		select {
		case <-c.fewerUnconfirmed:
		case <-c.noReceiver:
			return
		}
	}
}

// noteSettled notes that n connections are not unconfirmed any more.
func (c *connectionHandover) noteSettled(n int) {
	c.unconfirmed.Add(int64(-n))
	select {
	case c.fewerUnconfirmed <- struct{}{}:
	default:
	}
}

// awaitPredecessor waits for the end of the process before. That one would take sockets back if this one ended first,
// and the new process can ask it to end over this one alone. It reports whether it waited: the process before may have
// given connections meanwhile.
func (c *connectionHandover) awaitPredecessor() (waited bool) {
	pred := c.attempt.upgrades.predecessor
	if pred.draining() == 0 {
		return false
	}
	slog.Info("drained, and waiting for the process before")
	select {
	case <-pred.side.Done():
	case <-c.resumeBegun:
	}
	return true
}

// send passes a batch on. Where it has no receiver any more, the connections drain here.
func (c *connectionHandover) send(batch []handover.Conn) {
	c.unconfirmed.Add(int64(len(batch))) // first: they may be confirmed at once
	select {
	case c.batches <- batch:
	case <-c.noReceiver:
		c.unconfirmed.Add(int64(-len(batch)))
		takeConnectionsBack(c.inheritance.server.Handover(), batch)
		c.tookBack.Store(true)
	}
}

// lastBatchesTime is how long a new process may take for the last batches after grace_period.
const lastBatchesTime = 10 * time.Second

func (c *connectionHandover) Batches() <-chan []handover.Conn { return c.batches }

func (c *connectionHandover) Left() upgrade.DrainBody {
	return upgrade.DrainBody{
		Left:   map[string]int{"connections": c.inheritance.server.Conns()},
		Before: c.attempt.upgrades.predecessor.draining(),
	}
}

func (c *connectionHandover) Owned(n int) { c.noteSettled(n) }

func (c *connectionHandover) Keep(conns []handover.Conn, why error) {
	if !c.tookBack.Load() {
		slog.Warn("connections drain here", "connections", len(conns), "reason", why)
	}
	h := c.inheritance.server.Handover()
	takeConnectionsBack(h, c.stopOutgoing())
	takeConnectionsBack(h, conns)
	c.tookBack.Store(true) // run looks after unconfirmed fell
	c.noteSettled(len(conns))
}

func (c *connectionHandover) CloseSocket(socket int) {
	c.inheritance.server.Handover().Abandon([]int{socket})
}

func (c *connectionHandover) EndDraining(before int) {
	u := c.attempt.upgrades
	switch {
	case before == 0:
		slog.Warn("the new process asks this one to end, for a further upgrade")
		u.endProcess()
	case u.predecessor.draining() >= before:
		u.predecessor.side.Tell(upgrade.Cut, upgrade.CutBody{Before: before - 1})
	}
}

func (c *connectionHandover) Kill() { c.attempt.kill() }

func (c *connectionHandover) Resume(conns []handover.Conn, why error) {
	h := c.inheritance.server.Handover()
	c.resumed.Store(true)
	close(c.resumeBegun)
	conns = append(conns, c.stopOutgoing()...)
	c.stopReceiving()
	if err := h.Resume(); err != nil {
		slog.Error("sockets that cannot be taken back", "error", err)
	}
	takeConnectionsBack(h, conns)
	if c.pid == 0 {
		c.inheritance.holdNames(true) // it may have taken them before it said that it serves
		return
	}
	c.attempt.upgrades.predecessor.tellPassed(false)
	<-c.drained
	c.inheritance.holdNames(true)
	c.attempt.upgrades.announce(servingChange{pid: os.Getpid(), err: why})
}

// finish is called after the hand-over, which failed with err, or did not.
func (c *connectionHandover) finish(err error) {
	c.stopReceiving()
	if c.drained == nil {
		return
	}
	<-c.drained
	switch {
	case err != nil:
	case c.nothingCut:
		slog.Info("drained", "took", time.Since(c.begun).Round(time.Millisecond).String())
	default:
		slog.Warn("grace period over", "connections_cut", c.inheritance.server.Conns())
	}
}

func toGiven(conns []handover.Conn) []server.Given {
	given := make([]server.Given, len(conns))
	for i, c := range conns {
		given[i] = server.Given{FD: c.FD, Socket: c.Socket, Requests: c.Requests, Idle: c.Age}
	}
	return given
}

func toConns(given []server.Given) []handover.Conn {
	conns := make([]handover.Conn, len(given))
	for i, g := range given {
		conns[i] = handover.Conn{FD: g.FD, Socket: g.Socket, Requests: g.Requests, Age: g.Idle}
	}
	return conns
}

// takeConnectionsBack makes the Server serve connections that it gave away.
func takeConnectionsBack(h *server.Handover, conns []handover.Conn) {
	if lost := len(conns) - h.TakeBack(toGiven(conns)); lost > 0 {
		slog.Warn("connections closed, since their address is served no more", "connections", lost)
	}
}
