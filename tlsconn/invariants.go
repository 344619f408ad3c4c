//go:build invariants

package tlsconn

import (
	"github.com/edge-proxy/edge/internal/invariant"
	"github.com/edge-proxy/edge/internal/list"
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
	h.checkPlaces(over)
}

// checkPlaces is check for the two lists that a handshake may be in. mu is held.
func (h *handshake) checkPlaces(over bool) {
	if h.crowd.Listed() {
		c := h.owner.crowdOf(&h.seat)
		silent := h.crowd.In(&c.silent)
		invariant.That(h.listed && h.server != nil, "not listed, and it stands in the crowd")
		invariant.That(silent && h.phase < awaitingTurn || h.crowd.In(&c.awaited) && h.worker == awaitsBytes,
			"phase %d, worker %d, silent %v", h.phase, h.worker, silent)
		c.check()
	}
	t := &h.owner.turns
	t.mu.Lock()
	defer t.mu.Unlock()
	waits := h.phase == awaitingTurn || h.worker == awaitsTurn
	invariant.That(!h.turn.Listed() || waits && !over, "phase %d, worker %d: it waits for a turn", h.phase, h.worker)
}
