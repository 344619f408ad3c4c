package health

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/message"
)

// connectingMax is how many checks of one reactor may be connecting at once.
const connectingMax = 256

// Monitor is what all checks of a process share: their reactors, the slots to connect, and what is known of all
// members together.
// Safe for any goroutine.
type Monitor struct {
	local   []*local // by Reactor.Index
	members atomic.Int64
	crowd   crowd
}

// local is what one reactor keeps.
// Owned by its reactor.
//
//	0 <= connecting <= connectingMax
//	first != nil  =>  connecting == connectingMax, or serving
type local struct {
	monitor     *Monitor
	reactor     *engine.Reactor
	request     message.Head // of the check that begins
	answer      message.Head // lent to the codecs
	connecting  int
	first, last *probe // those that wait for a slot to connect
	server      engine.Task
	serving     bool // server is on its way
}

// NewMonitor makes a Monitor for the reactors of e.
func NewMonitor(e *engine.Engine) *Monitor {
	m := &Monitor{}
	for _, r := range e.Reactors() {
		l := &local{monitor: m, reactor: r}
		l.server.Run = l.serve
		m.local = append(m.local, l)
	}
	return m
}

// takePlace takes a slot to connect, unless all are taken: then p is told when one is free.
func (l *local) takePlace(p *probe) bool {
	if l.connecting < connectingMax {
		l.connecting++
		return true
	}
	if l.first == nil {
		l.first = p
	} else {
		l.last.next = p
	}
	l.last = p
	return false
}

// leavePlace gives a slot back. It goes to the probe that has waited longest, later in the tick.
func (l *local) leavePlace() {
	if l.connecting--; l.first != nil && !l.serving {
		l.serving = true
		l.reactor.Defer(&l.server)
	}
}

// serve gives the slots that are free to those that wait.
func (l *local) serve(*engine.Reactor) {
	l.serving = false
	for l.first != nil && l.connecting < connectingMax {
		p := l.first
		if l.first, p.next = p.next, nil; l.first == nil {
			l.last = nil
		}
		l.connecting++
		p.placeFree()
	}
	l.check()
}

// check panics when an invariant of l does not hold.
func (l *local) check() {
	if invariant.On {
		invariant.That(l.connecting >= 0 && l.connecting <= connectingMax, "%d are connecting", l.connecting)
		invariant.That(l.first == nil || l.serving || l.connecting == connectingMax, "a probe waits for no reason")
	}
}

// stopWaiting takes p out of the line.
func (l *local) stopWaiting(p *probe) {
	var before *probe
	for q := l.first; q != nil; before, q = q, q.next {
		if q != p {
			continue
		}
		if before == nil {
			l.first = p.next
		} else {
			before.next = p.next
		}
		if l.last == p {
			l.last = before
		}
		p.next = nil
		return
	}
}

// The window in which failures of many members are taken to have one cause.
const (
	crowdWindow = int64(2 * time.Second)
	crowdStep   = crowdWindow / 8
	crowdMin    = 3 // members; two that fail together are not many
)

// crowd counts members that served and whose checks failed, in the last crowdWindow. A cell holds a step of the clock
// in its upper half and what was counted in that step in its lower one.
// Safe for any goroutine.
type crowd struct {
	cells [9]atomic.Uint64 // one more than the window has steps: the present one is not over
	told  atomic.Int64     // when the log was told last
}

// add counts one at a time of the reactors.
func (c *crowd) add(now int64) {
	step := uint64(now / crowdStep)
	cell := &c.cells[step%uint64(len(c.cells))]
	for {
		old := cell.Load()
		next := step<<32 | 1
		if old>>32 == step&(1<<32-1) {
			next = old + 1
		}
		if cell.CompareAndSwap(old, next) {
			return
		}
	}
}

// count returns how many were counted in the window that ends now.
func (c *crowd) count(now int64) (n int64) {
	step := uint64(now / crowdStep)
	for i := range c.cells {
		v := c.cells[i].Load()
		if age := (step - v>>32) & (1<<32 - 1); v != 0 && age < uint64(len(c.cells)) {
			n += int64(v & (1<<32 - 1))
		}
	}
	return n
}

// doubts reports whether so many members fail together that the cause may be this host, or its network. The log is told
// once in a minute.
func (m *Monitor) doubts(now int64) bool {
	failing, all := m.crowd.count(now), m.members.Load()
	if failing < crowdMin || 2*failing < all {
		return false
	}
	last := m.crowd.told.Load()
	if (last == 0 || now-last > int64(time.Minute)) && m.crowd.told.CompareAndSwap(last, now) {
		slog.LogAttrs(context.Background(), slog.LevelWarn,
			"the checks of many backends fail together: it may be this host, or its network",
			slog.Int64("failing", failing), slog.Int64("backends", all))
	}
	return true
}
