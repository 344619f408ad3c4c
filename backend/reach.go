package backend

import (
	"math/bits"
	"slices"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// reachMax is how many addresses of one member can be passed over. Those after them are always used.
const reachMax = 64

// PassOver notes that addr could not be reached: View.NextAddress passes over it while m has another address, and
// View.Pick passes over m while another member can serve, once m has none left. It reports whether that is news: then
// its caller has to find out when addr can be reached again, and to call Readmit.
func (m *Member) PassOver(addr poller.Addr) (news bool) { return m.setReach(addr, true) }

// Readmit lets addr be used as ever. It reports whether it was passed over.
func (m *Member) Readmit(addr poller.Addr) (news bool) { return m.setReach(addr, false) }

// PassesOver reports whether addr is an address of m that is passed over.
func (m *Member) PassesOver(addr poller.Addr) bool {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	i := slices.Index(*m.Addrs(), addr)
	return !m.gone && i >= 0 && i < reachMax && m.passedOver.Load()>>i&1 == 1
}

// PassedOver reports whether the address of index i is passed over. Another goroutine may change that at any moment.
func (m *Member) PassedOver(i int) bool { return i < reachMax && m.passedOver.Load()>>i&1 == 1 }

func (m *Member) setReach(addr poller.Addr, over bool) (news bool) {
	m.set.mu.Lock()
	defer m.set.mu.Unlock()
	i := slices.Index(*m.Addrs(), addr)
	if m.gone || i < 0 || i >= reachMax || m.passedOver.Load()>>i&1 == 1 == over {
		return false
	}
	m.passedOver.Store(m.passedOver.Load() ^ 1<<i)
	m.markReach()
	return true
}

// moveReach keeps addresses passed over that are among next too. set.mu is held.
func (m *Member) moveReach(next []poller.Addr) {
	var over uint64
	for i, addr := range *m.Addrs() {
		if at := slices.Index(next, addr); i < reachMax && m.passedOver.Load()>>i&1 == 1 && at >= 0 && at < reachMax {
			over |= 1 << at
		}
	}
	m.passedOver.Store(over)
}

// markReach makes m Unreachable if all of its addresses are passed over. set.mu is held.
func (m *Member) markReach() {
	reasons := m.Reasons() &^ Unreachable
	if n := len(*m.Addrs()); n > 0 && m.reachable() == 0 {
		reasons |= Unreachable
	}
	m.mark(reasons, Why{Word: "unreachable"})
	m.check()
}

// check panics when an invariant of m does not hold. set.mu is held.
func (m *Member) check() {
	if invariant.On {
		n, over := len(*m.Addrs()), m.passedOver.Load()
		invariant.That(bits.Len64(over) <= n, "addresses %b of %d are passed over", over, n)
		all := n > 0 && m.reachable() == 0
		invariant.That(m.gone || m.Reasons()&Unreachable != 0 == all, "reasons %b, passed over %b", m.Reasons(), over)
	}
}

// reachable returns how many addresses are not passed over.
func (m *Member) reachable() int { return len(*m.Addrs()) - bits.OnesCount64(m.passedOver.Load()) }

// Reachable returns how many addresses of m are worth an attempt: those that are not passed over, or all when there is
// none but these.
func (m *Member) Reachable() int {
	if n := m.reachable(); n > 0 {
		return n
	}
	return len(*m.Addrs())
}

// AddressAfter returns the index of the address to use after the address of index i: the next address that is not
// passed over, or the next one when all are.
func (m *Member) AddressAfter(i int) int {
	n := len(*m.Addrs())
	over := m.passedOver.Load()
	for k := 1; over != 0 && k <= n; k++ {
		if next := (i + k) % n; next >= reachMax || over>>next&1 == 0 {
			return next
		}
	}
	if i++; i >= n {
		return 0
	}
	return i
}
