package server

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/poller"
	"github.com/edge-proxy/edge/proxy/cache"
)

var (
	errSuspended = errors.New("listening sockets are being handed over to another process, or by it")
	errApplying  = errors.New("a reload is under way, and waits until others have heard of a registration that it " +
		"takes away: upgrade again when it has ended")
	errReplaced = errors.New("a reload has opened or closed addresses since the new process was started: upgrade again")
)

// Handover is how a Server gives its sockets and connections to another process, or takes them over. Both run this
// package, each with its own Handover; how they talk is not its business.
// Safe for any goroutine. Its fields are guarded by Server.mu.
//
//	old: Sockets ─► Suspend ─► Give, Next, Took … ─► Abandon        Resume takes all back, at any time before Abandon
//	new: Options.Adopt, Suspended ─► Start, SelfCheck, Claims ─► Resume ─► Receive … ─► Join
type Handover struct {
	server    *Server
	offered   []*listener // by their index in the last result of Sockets; nil: no listener accepts by that socket
	listeners []*listener // of the configuration that Sockets has seen last
	next      int         // the reactor that is given a connection next

	ports map[int]*listener // of UDP sockets, by the index in the last result of Sockets
}

// Handover returns the one of s.
func (s *Server) Handover() *Handover { return &s.handover }

// Claims returns which of Options.Adopt the Server listens on, after Listen. The descriptors of the others are the
// caller's from then on, unless they are Held: a later configuration adopts none of them.
func (h *Handover) Claims() []bool {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	claims := make([]bool, len(s.listeners.adoption.claims))
	for i, l := range s.listeners.adoption.claims {
		claims[i] = l != nil && !s.listeners.adoption.isFree(i)
		if l == nil && !s.listeners.adoption.sockets[i].Held {
			s.listeners.adoption.sockets[i].FD = -1
		}
	}
	return claims
}

// OnDrop sets tell, which the Server calls when it closes an address that it has adopted, once for each socket, with
// its index in Options.Adopt. While another process has a copy of a socket, the kernel still puts connections into its
// queue, and no process accepts them. tell must neither wait nor call the Server.
func (h *Handover) OnDrop(tell func(socket int)) {
	h.server.mu.Lock()
	defer h.server.mu.Unlock()
	h.server.listeners.adoption.dropped = tell
}

// Sockets returns the sockets that the Server listens on, and the Held ones that no listener has, for Options.Adopt of
// another process, with second descriptors, which the caller closes. Other methods name a socket by its index here. It
// fails while a configuration is being applied.
func (h *Handover) Sockets() ([]Socket, error) {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state != serving {
		return nil, errNotServing
	}
	if s.registrations.withdrawing {
		return nil, errApplying
	}
	open := opened(s.listeners.now)
	groups, err := s.engine.Duplicate(open...)
	if err != nil {
		return nil, err
	}
	var all []Socket
	h.offered, h.listeners = nil, s.listeners.now
	for i, l := range s.listeners.now {
		name := l.name
		if l.isHeld {
			name = l.heldName
		}
		dev, ino := l.file.ID()
		purpose := PurposeHTTP
		if l.other != nil {
			purpose = PurposeService
		}
		for n, fd := range groups[i] {
			all = append(all, Socket{
				Address: open[i].Addr().String(), V6Only: poller.V6Only(fd), Index: n, Purpose: purpose,
				Listener: name, AnyPort: l.anyPort, Held: l.isHeld, File: FileID{dev, ino}, FD: int(fd),
			})
			h.offered = append(h.offered, l)
		}
	}
	datagrams, err := h.datagrams()
	all = append(all, datagrams...)
	var spare []Socket
	if err == nil {
		spare, err = s.listeners.adoption.unclaimedSockets()
	}
	if err != nil {
		closeSockets(all)
		return nil, err
	}
	h.offered = append(h.offered, make([]*listener, len(spare))...)
	return append(all, spare...), nil
}

func opened(all []*listener) (open []*engine.Listener) {
	for _, l := range all {
		open = append(open, l.open)
	}
	return open
}

// Unclaimed returns held sockets that no listener has: clients connect to them, and wait.
func (h *Handover) Unclaimed() (all []Unclaimed) {
	s, a := h.server, &h.server.listeners.adoption
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range a.sockets {
		if one := &a.sockets[i]; one.Held && a.isFree(i) {
			all = append(all, Unclaimed{one.Listener, one.title(), one.wayIn(s.present)})
		}
	}
	return all
}

// Suspend stops accepting, before it returns, by the sockets that another process claims: see Sockets. They
// stay open. Until Resume no configuration is applied. It fails while a configuration is applied, and where the one
// applied since Sockets listens on other addresses; then nothing has changed.
func (h *Handover) Suspend(claimed []int) error {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.state != serving && s.state != draining:
		return errNotServing
	case s.registrations.withdrawing:
		return errApplying
	case !slices.Equal(s.listeners.now, h.listeners):
		return errReplaced
	}
	ports, err := h.suspendable(claimed)
	if err != nil {
		return err
	}
	s.enter(s.state, true)
	s.engine.Suspend(append(opened(h.of(claimed)), ports...)...)
	for _, l := range s.listeners.now {
		if !slices.Contains(ports, l.http3.open.Load()) {
			s.listeners.closeDatagrams(&l.http3) // clients of HTTP/3 use TCP meanwhile
		}
	}
	go s.caches.yieldDisk()
	return nil
}

// of returns the listeners of sockets by their indexes in what Sockets returned.
func (h *Handover) of(sockets []int) (all []*listener) {
	for _, i := range sockets {
		if i >= 0 && i < len(h.offered) && h.offered[i] != nil && !slices.Contains(all, h.offered[i]) {
			all = append(all, h.offered[i])
		}
	}
	return all
}

// Drain is Server.Drain after Suspend: another process serves, so no registry has to hear that registrations are
// withdrawn. Resume ends it, and Drain reports false; where Resume came first it does nothing.
func (h *Handover) Drain(grace time.Duration) bool {
	s := h.server
	s.mu.Lock()
	if !s.suspended {
		s.mu.Unlock()
		return false
	}
	if s.state == serving {
		s.enter(draining, true)
	}
	registrations := s.registrations.take()
	stop := s.issuing.take() // the proofs are asked of that process by now
	s.mu.Unlock()
	stop()
	withdraw(registrations, atOnce())
	return s.engine.DrainSuspended(grace)
}

// CloseOthers closes the addresses that are not suspended, as a reload does: no other process serves them. After Resume
// it does nothing.
func (h *Handover) CloseOthers() {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.suspended {
		return
	}
	for _, l := range s.listeners.now {
		if !l.open.Suspended() {
			s.listeners.close(l)
		}
	}
}

// Abandon closes sockets of another process, by their indexes in what Sockets returned: that process has closed them
// too, or they are not to be taken back any more. The sockets of one address go together.
func (h *Handover) Abandon(sockets []int) {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	all := h.of(sockets)
	for _, l := range all {
		l.removeFile()               // which it does not where l is suspended
		s.listeners.adoption.drop(l) // the process before this one may have a copy, too
		s.listeners.closeDatagrams(&l.http3)
		if !l.http3.isClosed() && !slices.Contains(s.listeners.closing, l) { // see listeners.open
			s.listeners.closing = append(s.listeners.closing, l)
		}
	}
	s.engine.Abandon(opened(all)...)
}

// Resume accepts: for the first time after Options.Suspended, else again after Suspend, whatever was begun meanwhile.
// What was abandoned is opened again. The error names addresses that could not be taken back; the others are served,
// and the next configuration that names a lost one opens it.
func (h *Handover) Resume() error {
	s := h.server
	defer s.lock()()
	if s.state != serving && (s.state != draining || !s.suspended) {
		return errNotServing
	}
	s.enter(serving, false)
	go s.caches.takeDisk()
	go s.caches.takeOver()
	for _, l := range s.listeners.closing {
		if s.listeners.has(l) {
			l.open.Reopen()
		}
	}
	open := opened(s.listeners.now)
	for _, l := range s.listeners.now {
		if l.http3.isOpen() {
			open = append(open, l.http3.open.Load())
		}
	}
	err := s.engine.Resume(open...)
	defer s.listeners.takeDatagrams()
	if s.registrations.now == nil || slices.ContainsFunc(s.listeners.now, (*listener).isClosed) {
		return errors.Join(err, h.regain()) // Drain has withdrawn registrations, or an address was abandoned
	}
	s.registrations.announce()
	return err
}

// regain opens what the present configuration names and no listener has any more. The error names what it cannot
// open, and is not served. s.applying and s.mu are held.
func (h *Handover) regain() error {
	s := h.server
	r := &reload{config: s.present, listen: true, partly: true}
	if err := s.replace(r); err != nil {
		return errors.Join(append([]error{err}, s.listeners.forgetClosed()...)...)
	}
	return errors.Join(r.lost...)
}

var errAbandoned = errors.New("it was closed, since another process had dropped it: a reload opens it again")

// OfferCache prepares to hand over what the cache has; nil: no route has one. Give is called after Suspend, once the
// other process accepts.
func (h *Handover) OfferCache() (*cache.Offer, error) {
	zone := h.server.Cache()
	if zone == nil {
		return nil, nil
	}
	return zone.Offer()
}

// Join opens further sockets for reactors that have none of an adopted address: see engine.Engine.Join. It is called
// when no other process takes sockets back any more.
func (h *Handover) Join() {
	s := h.server
	if zone := s.Cache(); zone != nil {
		zone.Hear()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state == serving {
		s.engine.Join(opened(s.listeners.now)...)
	}
}

// Given is a connection of HTTP/1 without TLS on its way to another process, between two requests.
type Given struct {
	FD       int
	Socket   int           // one of its listener, by its index in what Sockets returned
	Requests uint32        // so far
	Idle     time.Duration // since its last answer
}

// Giving collects connections that leave for another process.
// Safe for any goroutine.
type Giving struct {
	engine *engine.Giving
	socket map[*engine.Listener]int
	ready  chan struct{} // holds one while there may be some

	mu    sync.Mutex
	queue []Given // guarded by mu
}

// Give begins to let connections go whose listeners are suspended: see engine.Engine.Give. At most credit go at once;
// each connection that Took counts lets another go.
func (h *Handover) Give(credit int) *Giving {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &Giving{socket: make(map[*engine.Listener]int), ready: make(chan struct{}, 1)}
	for i, l := range h.offered {
		if l == nil {
			continue
		}
		if _, ok := g.socket[l.open]; !ok {
			g.socket[l.open] = i
		}
	}
	g.engine = s.engine.Give(credit, g.put)
	return g
}

// put runs on reactors. mu is held for as long as it takes to copy some entries, and only while a process is replaced.
func (g *Giving) put(batch []engine.Given) {
	g.mu.Lock()
	for _, c := range batch {
		i, ok := g.socket[c.Listener]
		if !ok {
			i = -1
		}
		g.queue = append(g.queue, Given{int(c.FD), i, c.Progress.Requests, c.Progress.Idle})
	}
	g.mu.Unlock()
	select {
	case g.ready <- struct{}{}:
	default:
	}
}

// Next waits for connections and returns at most engine.GiveMax of them: the caller owns their descriptors. The error
// is the error of ctx.
func (g *Giving) Next(ctx context.Context) ([]Given, error) {
	for {
		g.mu.Lock()
		n := min(len(g.queue), engine.GiveMax)
		batch := slices.Clone(g.queue[:n])
		g.queue = slices.Delete(g.queue, 0, n)
		g.mu.Unlock()
		if n > 0 {
			return batch, nil
		}
		select {
		case <-g.ready:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Took says that the other process has n connections, so that n more may go.
func (g *Giving) Took(n int) { g.engine.More(n) }

// End lets the other connections stay. It returns those that Next has not.
func (g *Giving) End() []Given {
	g.engine.End()
	g.mu.Lock()
	defer g.mu.Unlock()
	left := g.queue
	g.queue = nil
	return left
}

// Receive serves connections that another process gave away; Given.Socket is an index in Options.Adopt. It returns how
// many those are whose address is served; the others are closed.
func (h *Handover) Receive(batch []Given) int {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.receive(batch, s.listeners.adoption.claims, receivesPerTick)
}

// TakeBack is Receive for what this Server has given itself: Given.Socket is an index in what Sockets returned.
func (h *Handover) TakeBack(batch []Given) int {
	s := h.server
	s.mu.Lock()
	defer s.mu.Unlock()
	return h.receive(batch, h.offered, len(batch))
}

// receivesPerTick bounds the connections of one batch that a reactor takes in one tick. Each costs some 5 µs, and four
// batches may be under way.
const receivesPerTick = 16

// arrivals are connections for one reactor. Owned by it once posted.
type arrivals struct {
	task    engine.Task
	each    []func(*engine.Reactor)
	perTick int
}

// run takes some, and the others in the next ticks.
func (a *arrivals) run(r *engine.Reactor) {
	n := min(len(a.each), a.perTick)
	for _, receive := range a.each[:n] {
		receive(r)
	}
	if a.each = a.each[n:]; len(a.each) > 0 {
		r.Post(&a.task)
	}
}

// receive passes connections to the reactors, which take perTick of them in a tick. Server.mu is held.
func (h *Handover) receive(batch []Given, listeners []*listener, perTick int) (n int) {
	reactors := h.server.engine.Reactors()
	shares := make([][]func(*engine.Reactor), len(reactors))
	for _, g := range batch {
		if g.Socket < 0 || g.Socket >= len(listeners) || listeners[g.Socket] == nil ||
			listeners[g.Socket].other != nil { // only connections of HTTP are given
			unix.Close(g.FD) //nolint:errcheck // nothing was written to it
			continue
		}
		l, p := listeners[g.Socket], engine.Progress{Requests: g.Requests, Idle: g.Idle}
		speak := l.sessions[len(l.sessions)-1].Receive
		clients := l.clients
		accept := func(c *engine.Conn) engine.Handler {
			if clients != nil {
				clients.enter(c, math.MaxInt64)
			}
			return speak(c, p)
		}
		i := h.next % len(reactors)
		h.next++
		shares[i] = append(shares[i], func(r *engine.Reactor) {
			l.open.Receive(r, poller.FD(g.FD), accept) //nolint:errcheck // its client has left
		})
		n++
	}
	for i, share := range shares {
		if len(share) > 0 {
			a := &arrivals{each: share, perTick: perTick}
			a.task.Run = a.run
			reactors[i].Post(&a.task)
		}
	}
	return n
}

// SelfCheck asks each listener over a socketpair whether it serves, see selfcheck.go, and wants that no handler
// has panicked. No connection filter is asked about that connection, and no header of the PROXY protocol is awaited:
// both judge addresses of clients. The Server must have been started. It shows in access logs as OPTIONS *, from a Unix
// socket.
func (h *Handover) SelfCheck(ctx context.Context) error {
	s := h.server
	s.mu.Lock()
	if s.state != serving {
		s.mu.Unlock()
		return errNotServing
	}
	type probe struct {
		title  string
		listen *engine.Listener
		accept func(*engine.Conn) engine.Handler
		ask    func(net.Conn) error
	}
	var probes []probe
	for i := range s.listeners.now {
		l := s.listeners.now[i]
		if l.other != nil || l.unasked {
			continue // only the service, or a backend, knows what clients say
		}
		probes = append(probes, probe{l.title, l.open, l.checked, l.probe()})
	}
	s.mu.Unlock()
	reactors := s.engine.Reactors()
	for i, p := range probes {
		feed := func(r *engine.Reactor, fd poller.FD) error { return p.listen.Feed(r, fd, p.accept) }
		if err := check(ctx, reactors[i%len(reactors)], feed, p.ask); err != nil {
			return fmt.Errorf("self-check: listener %s: %w", p.title, err)
		}
	}
	if n := s.engine.Stats().Panics; n > 0 {
		return fmt.Errorf("self-check: %d handlers panicked", n)
	}
	return nil
}

// probe returns what a self-check asks l. Server.mu is held.
func (l *listener) probe() func(net.Conn) error {
	var protocols []string
	if l.opts.H2C {
		protocols = append(protocols, "h2")
	}
	if !l.opts.NoH1 {
		protocols = append(protocols, "http/1.1")
	}
	switch {
	case l.secured:
		return func(c net.Conn) error { return askTLS(c, protocols) }
	case l.opts.NoH1:
		return askH2C
	}
	return askH1
}

// checkMax is for one listener.
const checkMax = 5 * time.Second

// check gives a connection to feed, on r, and asks.
func check(
	ctx context.Context, r *engine.Reactor, feed func(*engine.Reactor, poller.FD) error, ask func(net.Conn) error,
) error {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("socketpair: %w", err)
	}
	f := os.NewFile(uintptr(pair[0]), "self-check")
	c, err := net.FileConn(f)
	f.Close() //nolint:errcheck // c is another descriptor
	if err != nil {
		unix.Close(pair[1]) //nolint:errcheck // unused
		return err
	}
	defer c.Close() //nolint:errcheck // it was read
	until := time.Now().Add(checkMax)
	if at, ok := ctx.Deadline(); ok && at.Before(until) {
		until = at
	}
	c.SetDeadline(until) //nolint:errcheck // it is open
	r.Post(&engine.Task{Run: func(r *engine.Reactor) {
		feed(r, poller.FD(pair[1])) //nolint:errcheck // then there is no answer
	}})
	return ask(c)
}
