package upstream

import (
	"errors"
	"log/slog"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

// periods are how long an address is passed over before it is tried again: first, then twice as long each time that
// this fails, and where the last time is not long ago, up to last.
type periods struct{ first, last time.Duration }

var (
	ofSilent  = periods{10 * time.Second, 5 * time.Minute}        // each try takes as long as a connection may
	ofRefused = periods{500 * time.Millisecond, 10 * time.Second} // a try costs nothing, and a restart is over soon
)

// dialSlow is how long an exchange waits in vain for a connection, before it is given up, to be a sign that its address
// cannot be reached. A second is when TCP has asked twice.
const dialSlow = time.Second

// revisit finds out when an address that is passed over can be reached again: by connections of its own that carry
// nothing, so that no client waits for it.
// Owned by the reactor that could not reach the address. There is one at a time for a peer: where connections to it
// fail and stand in turn, it is passed over and used again many times before the next visit.
type revisit struct {
	engine.NopHandler
	local  *local
	member *backend.Member
	peer   *peer
	since  int64 // reactor time, ns
	again  periods
	opened bool // the visit that ends now has reached the address
	timer  engine.Timer
}

// passOver lets the member pass over the address p.
func (s *site) passOver(p *peer, again periods) {
	l := s.local
	if !s.member.PassOver(p.addr) {
		return
	}
	l.stats.PassedOver++
	v := &revisit{local: l, member: s.member, peer: p, since: l.reactor.Now(), again: again}
	if !v.peer.visited.CompareAndSwap(false, true) {
		return
	}
	period := v.peer.nextPeriod(v.since, again)
	if again == ofSilent { // that connections are refused, the exchange tells
		slog.Warn("an address of a backend is passed over: no connection in time", "upstream", l.upstream.Name(),
			"backend", v.member.Address(), "address", v.peer.addr.String(), "again_in", period.String())
	}
	v.timer.Run = v.dial
	v.arm()
}

// isRefused reports whether cause says that no process listens at an address.
func isRefused(cause error) bool {
	return errors.Is(cause, syscall.ECONNREFUSED) || errors.Is(cause, syscall.ENOENT)
}

// isUnreachable reports whether cause, after that time, says that there is no way to an address. Given up by its
// exchange, a connection says so when it took long.
func isUnreachable(cause error, took time.Duration) bool {
	switch {
	case cause == engine.ErrClosed:
		return took >= dialSlow
	case cause == engine.ErrConnectTimeout, errors.Is(cause, tlsconn.ErrTimeout):
		return true
	}
	return errors.Is(cause, syscall.ETIMEDOUT) || errors.Is(cause, syscall.EHOSTUNREACH)
}

// nextPeriod returns for how long p is to be passed over now.
func (p *peer) nextPeriod(now int64, again periods) time.Duration {
	period := again.first
	if last := time.Duration(p.period.Load()); last > 0 && now-p.readmitted.Load() < 2*int64(last) {
		period = min(max(2*last, again.first), again.last)
	}
	p.period.Store(int64(period))
	return period
}

func (v *revisit) arm() { v.local.reactor.Arm(&v.timer, v.local.reactor.Now()+v.peer.period.Load()) }

// dial tries the address, unless it is used again already, or is none of the member's any more. When the upstream is
// closed it would not be tried later.
func (v *revisit) dial(r *engine.Reactor) {
	switch {
	case !v.member.PassesOver(v.peer.addr):
		v.peer.readmitted.Store(r.Now())
		v.end()
	case v.local.upstream.isClosed():
		v.member.Readmit(v.peer.addr)
		v.end()
	default:
		if _, err := r.Dial(v.peer.addr, v, &v.local.options); err != nil {
			v.wait()
		}
	}
}

// wait waits for longer.
func (v *revisit) wait() {
	v.peer.period.Store(min(2*v.peer.period.Load(), int64(v.again.last)))
	v.arm()
}

// end ends v, unless the address was passed over once more meanwhile: v was there, so that no other one began.
func (v *revisit) end() {
	v.opened = false
	v.peer.visited.Store(false)
	if v.member.PassesOver(v.peer.addr) && v.peer.visited.CompareAndSwap(false, true) {
		v.arm()
	}
}

// OnOpen readmits the address.
func (v *revisit) OnOpen(c *engine.Conn) {
	now := v.local.reactor.Now()
	v.peer.readmitted.Store(now)
	if v.member.Readmit(v.peer.addr) && v.again == ofSilent {
		slog.Info("an address of a backend can be reached again", "upstream", v.local.upstream.Name(),
			"backend", v.member.Address(), "address", v.peer.addr.String(),
			"after", time.Duration(now-v.since).Round(time.Millisecond).String())
	}
	v.opened = true
	c.Close(nil)
}

// OnClose tries again later, unless the address could be reached.
func (v *revisit) OnClose(*engine.Conn, error) {
	if v.opened {
		v.end()
		return
	}
	v.wait()
}
