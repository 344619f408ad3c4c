package health

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// usesMax is how many checks go over one connection: that the member takes new ones has to be seen too.
const usesMax = 10

// probe checks one member.
// Owned by its reactor.
//
//	resting ──timer──► asking ──answer, failure, timer──► resting
//	             │        ▲
//	             └► queued┘  all slots to connect are taken
//
//	queued, ended  =>  link == nil
type probe struct {
	watch   *Watch
	member  *backend.Member
	local   *local
	plan    *plan
	link    link   // nil: there is no connection
	next    *probe // in the line of local
	timer   engine.Timer
	check   Check
	seed    uint64
	began   int64 // of the check
	until   int64 // for which timer is armed
	crowded int64 // when a failure was counted among failures of many members
	address int   // of member, an index that may be too large by now
	uses    uint16
	state   state
	retried bool // the check has tried a second connection

	// Of Agent.
	stance stance
	mute   bool // it did not answer last
}

// state says what a probe does.
type state uint8

const (
	resting state = iota
	queued
	asking
	ended
)

// link is a connection on which a member is checked.
// Owned by its reactor.
type link interface {
	// ask sends what the check asks. Its probe is told of the result.
	ask()
	// usable reports whether another check can be asked.
	usable() bool
	// to is the address that it is connected to.
	to() poller.Addr
	// close ends it. Its probe is told nothing any more.
	close()
	// phase says what a check waits for.
	phase() word
}

// start begins the first check.
func (p *probe) start(now int64) {
	if p.state != ended {
		p.arm(p.check.Begin(&p.plan.Rules, p.seed, now))
	}
}

func (p *probe) arm(at int64) {
	p.until = at
	p.local.reactor.Arm(&p.timer, at)
}

// change makes p ask what next says.
func (p *probe) change(next *plan) {
	if p.state == ended {
		return
	}
	p.rest()
	p.plan = next
	p.arm(p.check.Rule(&next.Rules, p.seed, p.local.reactor.Now()))
}

// end ends p.
func (p *probe) end() {
	p.rest()
	p.state = ended
	p.local.reactor.Disarm(&p.timer)
	p.checkState()
}

// rest gives up what is in progress.
func (p *probe) rest() {
	p.drop()
	if p.state == queued {
		p.local.stopWaiting(p)
	}
	p.state = resting
}

// checkState panics when an invariant of p does not hold.
func (p *probe) checkState() {
	if invariant.On {
		still := p.state == queued || p.state == ended
		invariant.That(!still || p.link == nil, "a probe has a connection in state %d", p.state)
	}
}

// drop closes the connection.
func (p *probe) drop() {
	if p.link != nil {
		p.link.close()
		p.link = nil
	}
}

// due is the task of the timer.
func (p *probe) due(r *engine.Reactor) {
	switch p.state {
	case resting:
		if now := r.Now(); p.isReplaced(now) {
			p.watch.stats.replaced.Add(1)
			p.settle(now, Result{Outcome: Passed, Began: now})
		} else {
			p.begin(now)
		}
	case asking:
		// A reactor that is late may have the answer in a socket that it has not come to read.
		late := r.Now()-p.until > int64(p.plan.Timeout)/4
		w := connectTimeout
		if p.link != nil {
			w = p.link.phase()
		}
		p.fail(finding{word: w, outcome: TimedOut, excused: late})
	}
}

// isReplaced reports whether requests have found out what the check would.
func (p *probe) isReplaced(now int64) bool {
	return p.plan.Passive && p.check.IsUp() && p.check.Contrary() == 0 &&
		p.member.ServedWithin(now, p.plan.Rules.Interval)
}

// begin begins a check: on the connection that there is, or on a new one.
func (p *probe) begin(now int64) {
	p.state, p.began, p.retried = asking, now, false
	if l := p.link; l != nil && l.usable() && p.uses < usesMax && p.knows(l.to()) {
		p.arm(now + int64(p.plan.Timeout))
		l.ask()
		return
	}
	p.drop()
	p.connect()
}

// knows reports whether to is still an address of the member.
func (p *probe) knows(to poller.Addr) bool {
	for i := range *p.member.Addrs() {
		if a, _ := p.addressAt(i); a == to {
			return true
		}
	}
	return false
}

// addressAt returns address i of the member, or one before it, with the port of the checks.
func (p *probe) addressAt(i int) (a poller.Addr, ok bool) {
	all := *p.member.Addrs()
	if len(all) == 0 {
		return a, false
	}
	if a = all[i%len(all)]; p.plan.Port != 0 && !a.IsUnix() {
		a.IP = netip.AddrPortFrom(a.IP.Addr(), uint16(p.plan.Port))
	}
	return a, true
}

// connect opens a connection, as soon as a slot is free.
func (p *probe) connect() {
	if !p.local.takePlace(p) {
		p.state = queued
		p.local.reactor.Disarm(&p.timer)
		p.watch.stats.delayed.Add(1)
		p.checkState()
		return
	}
	p.dial()
}

// placeFree is connect for a probe that has waited. Its check begins only now.
func (p *probe) placeFree() {
	p.state, p.began = asking, p.local.reactor.Now()
	p.dial()
}

// dial opens a connection in a slot that p has.
func (p *probe) dial() {
	p.arm(p.began + int64(p.plan.Timeout))
	a, ok := p.addressAt(p.address)
	if !ok {
		p.local.leavePlace()
		p.fail(finding{word: dns, outcome: TimedOut, excused: true}) // its name is a reason already
		return
	}
	l, err := p.plan.dial(p, a)
	if err != nil {
		p.local.leavePlace()
		p.fail(findingOf(err))
		return
	}
	p.watch.stats.fresh.Add(1)
	p.link, p.uses = l, 0
	l.ask()
}

// lost tries once more, on a new connection, when the connection that was used before broke before an answer came: the
// member may have closed it while it was idle. It reports whether it does.
func (p *probe) lost() bool {
	if p.uses == 0 || p.retried || p.state != asking {
		return false
	}
	p.retried = true
	p.drop()
	p.connect()
	return true
}

// pass ends a check that has passed.
func (p *probe) pass() {
	if p.state != asking {
		return
	}
	p.watch.stats.passed.Add(1)
	p.member.PassedCheck()
	if p.uses++; p.uses == 1 && p.link != nil { // the address takes connections, whatever clients found before
		p.member.Readmit(p.link.to())
	}
	now := p.local.reactor.Now()
	took := now - p.began
	row := p.check.streakWith(true)
	if p.settle(now, Result{Outcome: Passed, Began: p.began}) == Up {
		p.member.Mark(backend.Health, false, backend.Why{Facts: []slog.Attr{
			slog.String("after", row.String()), since("took", took),
		}})
		p.watch.stats.ups.Add(1)
	}
}

// settle takes a result and arms the timer for the next check.
func (p *probe) settle(now int64, r Result) Verdict {
	p.state = resting
	next, v := p.check.Step(now, r)
	p.arm(together(next, now))
	return v
}

// togetherFor is how much sooner a check may begin so that others begin in the same tick: it costs half as much then.
// It is a power of two.
const togetherFor = int64(1 << 25) // 34 ms

// together returns the time at which a check begins that is due at a time after now.
func together(at, now int64) int64 {
	if at-now < 32*togetherFor {
		return at
	}
	return at &^ (togetherFor - 1)
}

// finding is why a check failed.
type finding struct {
	word          word
	outcome       Outcome
	excused       bool
	expected, got string // "": the word says all
}

// fail ends a check that has failed.
func (p *probe) fail(f finding) {
	if p.state != asking {
		return
	}
	s, now := &p.watch.stats, p.local.reactor.Now()
	took := now - p.began
	s.failed[f.word].Add(1)
	p.drop()
	p.address++
	if p.plan.Kind == Agent {
		p.notHeard(f)
		return
	}
	r := Result{Outcome: f.outcome, Began: p.began, Excused: f.excused}
	if p.check.IsUp() {
		// A member that answers clients is slow, not down; to close it would only move its load.
		r.Excused = f.excused || f.outcome == TimedOut && p.member.AnsweredWithin(now, p.plan.Rules.Interval)
		r.Doubted = p.isDoubted(now)
	}
	if r.Excused {
		s.excused.Add(1)
	}
	row := p.check.streakWith(false)
	v := p.settle(now, r)
	switch {
	case v == Down:
		why := backend.Why{Word: words[f.word], Facts: f.facts(row, took, p.until-now)}
		p.member.Mark(backend.Health, true, why)
		s.downs.Add(1)
	case r.Doubted && !r.Excused && row.n >= row.of && p.check.IsUp():
		s.doubted.Add(1)
	}
}

// isDoubted counts a failure of a member that serves among the failures of all, and reports whether many fail together.
func (p *probe) isDoubted(now int64) bool {
	m := p.local.monitor
	if p.crowded == 0 || now-p.crowded >= crowdWindow {
		p.crowded = now
		m.crowd.add(now)
	}
	return m.doubts(now)
}

// facts returns what the log says of f: after such a row of failures, and when the next check is.
func (f *finding) facts(row streak, took, next int64) []slog.Attr {
	attrs := make([]slog.Attr, 0, 5)
	if f.expected != "" {
		attrs = append(attrs, slog.String("expected", f.expected))
	}
	if f.got != "" {
		attrs = append(attrs, slog.String("got", f.got))
	}
	return append(attrs, slog.String("after", row.String()), since("took", took), since("next", next))
}

func since(key string, ns int64) slog.Attr {
	return slog.String(key, time.Duration(ns).Round(100*time.Microsecond).String())
}
