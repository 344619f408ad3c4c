//go:build invariants

package tlsconn

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/base/list"
)

// walkedMax bounds the lists that are walked: it is done at each step.
const walkedMax = 128

// check panics when the invariants of turns do not hold. mu is held.
func (t *turns) check() {
	waiting := 0
	for i := range t.lines {
		l := &t.lines[i]
		if waiting += l.Len(); l.Len() > walkedMax {
			continue
		}
		err := l.Check()
		invariant.That(err == nil, "line %d: %v", i, err)
		for h := l.First(); h != nil; h = h.turn.Next() {
			invariant.That((h.server == nil) == (i != clientsBegun), "in line %d", i)
		}
	}
	waiting += t.new
	invariant.That(t.ring.Len() == len(t.crowds), "%d networks take turns, %d have lines", t.ring.Len(), len(t.crowds))
	if len(t.crowds) <= walkedMax {
		inLines := 0
		for of, n := range t.crowds {
			inLines += n.line.Len()
			invariant.That(n.line.Len() > 0 && n.line.First().network == of, "the line of %v", of)
		}
		invariant.That(inLines == t.new, "%d are in the lines of networks, %d count", inLines, t.new)
	}
	invariant.That(t.free >= 0 && (t.free == 0 || waiting == 0), "%d turns are free, %d wait", t.free, waiting)
}

// check panics when the lists of crowd are linked wrongly.
func (c *crowd) check() {
	for _, l := range []*list.List[seat]{&c.silent, &c.awaited} {
		if l.Len() <= walkedMax {
			err := l.Check()
			invariant.That(err == nil, "a list of the crowd: %v", err)
		}
	}
}

// check panics when the invariants of handshake do not hold after an event on its reactor.
func (h *handshake) check() {
	h.mu.Lock()
	defer h.mu.Unlock()
	invariant.That((h.layer != nil) == (h.phase >= begun), "phase %d, layer %v", h.phase, h.layer != nil)
	invariant.That(h.phase >= begun || h.worker == hasNoTurn && !h.done, "phase %d, worker %d", h.phase, h.worker)
	invariant.That(h.phase >= awaitingTurn || h.accounted == 0, "phase %d, %d accounted", h.phase, h.accounted)
	invariant.That(h.worker < awaitsBytes || !h.done, "it is done and waits: %d", h.worker)
	invariant.That((h.giveUp != nil) == (h.worker == awaitsOther), "worker %d, giveUp %v", h.worker, h.giveUp != nil)
	invariant.That(!h.granted || h.phase == awaitingTurn && h.posted, "the first turn came in phase %d", h.phase)
	invariant.That(h.phase < succeeded || h.done && h.accounted == 0, "succeeded, %d accounted", h.accounted)
	over := h.failure != nil || h.phase == succeeded
	invariant.That(!over || !h.listed, "phase %d, failure %v, and it is listed", h.phase, h.failure)
	waits := h.phase == awaitingTurn || h.worker == awaitsTurn
	h.checkPlaces(h.worker == awaitsBytes, waits && !over)
}

// check panics when the invariants of QUIC do not hold after an event on its reactor.
func (s *QUIC) check() {
	s.mu.Lock()
	defer s.mu.Unlock()
	over := s.failure != nil || s.phase == succeeded
	invariant.That((s.layer != nil) == (s.phase >= begun), "phase %d, layer %v", s.phase, s.layer != nil)
	invariant.That(s.tls != nil || s.phase != begun || s.closed, "it is begun, without a handshake")
	invariant.That(!s.busy || s.phase >= begun, "phase %d, and it computes", s.phase)
	invariant.That(s.busy || s.worker == hasNoTurn, "no goroutine, worker %d", s.worker)
	invariant.That((s.giveUp != nil) == (s.worker == awaitsOther), "worker %d, giveUp %v", s.worker, s.giveUp != nil)
	invariant.That(!s.due || !over && !s.busy && !s.granted && s.flight == nil, "due in phase %d", s.phase)
	invariant.That(s.phase < succeeded || s.accounted == 0, "succeeded, %d accounted", s.accounted)
	invariant.That(!over || !s.listed, "phase %d, failure %v, and it is listed", s.phase, s.failure)
	if s.conn != nil {
		s.checkPlaces(s.due && s.phase == begun, !over && !s.due)
	}
}

// checkPlaces is check for the two lists that a handshake may be in. owes says whether its client owes us an answer,
// waits whether it may wait for a turn. mu is held.
func (s *seat) checkPlaces(owes, waits bool) {
	if s.crowd.Listed() {
		c := s.owner.crowdOf(s)
		silent := s.crowd.In(&c.silent)
		invariant.That(s.listed && s.server != nil, "not listed, and it stands in the crowd")
		invariant.That(silent && s.phase < awaitingTurn || s.crowd.In(&c.awaited) && owes,
			"phase %d, worker %d, silent %v", s.phase, s.worker, silent)
		c.check()
	}
	t := &s.owner.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	invariant.That(!s.turn.Listed() || waits, "phase %d, worker %d: it waits for a turn", s.phase, s.worker)
}
