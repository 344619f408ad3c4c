package process

import (
	"context"
	"log/slog"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/server"
	"github.com/edge-proxy/edge/server/process/handover"
	"github.com/edge-proxy/edge/server/process/upgrade"
)

// offer is what this process has to hand over. Owned by its attempt.
type offer struct {
	terms    upgrade.OfferBody
	manifest *os.File
	secrets  *os.File
	pid      *os.File // the pid file, which stays with this process; nil: there is none
	sockets  []int    // copies
	timeout  time.Duration
	grace    time.Duration
	server   *server.Server
	names    func(mine bool) // takes the names back, or gives them up
}

// files returns what o.terms.Files names.
func (o *offer) files() []int {
	fds := []int{int(o.manifest.Fd()), int(o.secrets.Fd())}
	if o.pid != nil {
		fds = append(fds, int(o.pid.Fd()))
	}
	return fds
}

func (o *offer) close() {
	_ = o.manifest.Close()
	_ = o.secrets.Close()
	o.closeCopies()
}

// closeCopies closes the copies of sockets, which the new process has.
func (o *offer) closeCopies() {
	handover.CloseAll(o.sockets)
	o.sockets = nil
}

// gift gives sockets and connections to the new process: a handover.Giver. Its methods are called by the goroutine of
// the attempt; a goroutine of its own gives after Yield.
//
//	server.Giving ─► feed ─► batches ─► OldSide ─► Owned
//	                  │ over               └─────► Keep ─┐
//	                  └──────────────────────────────────┴─► they drain here
type gift struct {
	attempt *attempt
	offer   *offer
	batches chan []handover.Conn
	over    chan struct{} // closed when nobody takes from batches any more, after the end of giving
	stop    func()        // closes over

	giving  *server.Giving // nil: connections are not handed over, or before Yield
	flying  atomic.Int64   // connections in batches that the new process has neither confirmed nor refused
	landed  chan struct{}  // has an element after flying became fewer
	kept    atomic.Bool    // connections were taken back since give looked last
	resumed atomic.Bool
	taken   chan struct{} // closed by Resume
	pid     int           // of the new process; 0 before Yield
	drained chan struct{} // closed when the goroutine has ended; nil: there is none
	whole   bool          // nothing had to be cut, after drained
	begun   time.Time
}

// giveCredit is how many connections are on their way at once.
const giveCredit = 4 * upgrade.FilesMax

func newGift(a *attempt, o *offer) *gift {
	g := &gift{
		attempt: a, offer: o, batches: make(chan []handover.Conn), over: make(chan struct{}),
		landed: make(chan struct{}, 1),
		taken:  make(chan struct{}),
	}
	g.stop = sync.OnceFunc(func() { close(g.over) })
	return g
}

// Suspend is for handover.Giver.
func (g *gift) Suspend(claims []int) error {
	g.offer.closeCopies() // a copy would keep a socket open that the new process drops
	return g.offer.server.Handover().Suspend(claims)
}

// Yield is for handover.Giver.
func (g *gift) Yield(pid int, give bool) {
	g.pid, g.begun, g.drained = pid, time.Now(), make(chan struct{})
	// The answer comes first: names ends the admin surface, which waits until its answers are written.
	g.attempt.answer(upgrade.Frame{Type: upgrade.Serving, Body: upgrade.ServingBody{PID: pid}})
	g.offer.names(false)
	slog.Info("upgraded: the new process serves, this one drains", "pid", pid, "connections", g.offer.server.Conns(),
		"took", time.Since(g.attempt.begun).Round(time.Millisecond).String())
	g.attempt.of.add(turn{pid: pid})
	if give {
		g.giving = g.offer.server.Handover().Give(giveCredit)
	} else {
		slog.Warn("upgraded: the new process may open too few files for the connections, which drain", "pid", pid)
	}
	g.attempt.of.before.passed(true)
	go g.give()
}

// give gives until nothing is left, or until Resume. What comes back from the new process drains here.
func (g *gift) give() {
	defer close(g.drained)
	h := g.offer.server.Handover()
	h.CloseOthers()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	fed := make(chan struct{})
	go func() {
		defer close(fed)
		g.feed(ctx)
	}()
	end := g.begun.Add(g.offer.grace)
	for again := true; again; {
		g.whole = h.Drain(time.Until(end))
		last := g.endGiving()
		cancel()
		patience := time.AfterFunc(feedTime, g.stop)
		<-fed
		for batch := range slices.Chunk(last, upgrade.FilesMax) {
			g.put(batch)
		}
		g.settle()
		patience.Stop()
		again = g.kept.Swap(false) || g.awaitBefore()
		again = again && g.whole && !g.resumed.Load()
	}
	g.awaitBefore()
	if !g.resumed.Load() {
		close(g.batches)
	}
}

// feed passes on what the Server gives, until it is cancelled.
func (g *gift) feed(ctx context.Context) {
	if g.giving == nil {
		return
	}
	for {
		batch, err := g.giving.Next(ctx)
		if err != nil {
			return
		}
		g.put(connsOf(batch))
		g.giving.Took(len(batch))
	}
}

// endGiving has the Server give no more connections: the others stay. It returns those that feed will not pass on any
// more. It may be called again.
func (g *gift) endGiving() []handover.Conn {
	if g.giving == nil {
		return nil
	}
	return connsOf(g.giving.End())
}

// settle waits until no connection is under way, or nothing more is to be given.
func (g *gift) settle() {
	for g.flying.Load() > 0 {
		select {
		case <-g.landed:
		case <-g.over:
			return
		}
	}
}

// land says that n connections are not under way any more.
func (g *gift) land(n int) {
	g.flying.Add(int64(-n))
	select {
	case g.landed <- struct{}{}:
	default:
	}
}

// awaitBefore waits for the end of the process before. That one would take sockets back if this one ended first, and
// the new process can ask it to end over this one alone. It reports whether it waited: the process before may have
// given connections meanwhile.
func (g *gift) awaitBefore() (waited bool) {
	before := g.attempt.of.before
	if before.draining() == 0 {
		return false
	}
	slog.Info("drained, and waiting for the process before")
	select {
	case <-before.side.Done():
	case <-g.taken:
	}
	return true
}

// put passes a batch on. Where nobody takes it any more the connections drain here.
func (g *gift) put(batch []handover.Conn) {
	g.flying.Add(int64(len(batch))) // first: they may land at once
	select {
	case g.batches <- batch:
	case <-g.over:
		g.flying.Add(int64(-len(batch)))
		takeBack(g.offer.server.Handover(), batch)
		g.kept.Store(true)
	}
}

// feedTime is how long a new process may take for the last batches after grace_period.
const feedTime = 10 * time.Second

// Batches is for handover.Giver.
func (g *gift) Batches() <-chan []handover.Conn { return g.batches }

// Left is for handover.Giver.
func (g *gift) Left() upgrade.DrainBody {
	return upgrade.DrainBody{
		Left: map[string]int{"connections": g.offer.server.Conns()}, Before: g.attempt.of.before.draining(),
	}
}

// Owned is for handover.Giver.
func (g *gift) Owned(n int) { g.land(n) }

// Keep is for handover.Giver.
func (g *gift) Keep(conns []handover.Conn, why error) {
	if !g.kept.Load() {
		slog.Warn("connections drain here", "connections", len(conns), "reason", why)
	}
	h := g.offer.server.Handover()
	takeBack(h, g.endGiving())
	takeBack(h, conns)
	g.kept.Store(true) // give looks after they have landed
	g.land(len(conns))
}

// CloseSocket is for handover.Giver.
func (g *gift) CloseSocket(socket int) { g.offer.server.Handover().Abandon([]int{socket}) }

// EndDraining is for handover.Giver.
func (g *gift) EndDraining(before int) {
	u := g.attempt.of
	switch {
	case before == 0:
		slog.Warn("the new process asks this one to end, for a further upgrade")
		u.end()
	case u.before.draining() >= before:
		u.before.side.Cut(before - 1)
	}
}

// Kill is for handover.Giver.
func (g *gift) Kill() { g.attempt.kill() }

// Resume is for handover.Giver.
func (g *gift) Resume(conns []handover.Conn, why error) {
	h := g.offer.server.Handover()
	g.resumed.Store(true)
	close(g.taken)
	conns = append(conns, g.endGiving()...)
	g.stop()
	if err := h.Resume(); err != nil {
		slog.Error("sockets that cannot be taken back", "error", err)
	}
	takeBack(h, conns)
	if g.pid == 0 {
		g.offer.names(true) // it may have taken them before it said that it serves
		return
	}
	g.attempt.of.before.passed(false)
	<-g.drained
	g.offer.names(true)
	g.attempt.of.add(turn{pid: os.Getpid(), err: why})
}

// ended is called after the hand-over, which failed with err, or did not.
func (g *gift) ended(err error) {
	g.stop()
	if g.drained == nil {
		return
	}
	<-g.drained
	switch {
	case err != nil:
	case g.whole:
		slog.Info("drained", "took", time.Since(g.begun).Round(time.Millisecond).String())
	default:
		slog.Warn("grace period over", "connections_cut", g.offer.server.Conns())
	}
}
