//go:build invariants

package poller

import (
	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// check panics when the invariants of epoll do not hold: it asks the timerfd when it fires.
func (k *epoll) check() {
	var left unix.ItimerSpec
	before, err1 := monotonic()
	err2 := unix.TimerfdGettime(int(k.timer), &left)
	after, err3 := monotonic()
	if err1 != nil || err2 != nil || err3 != nil {
		return
	}
	d := left.Value.Nano()
	switch {
	case k.armed == 0 || d > 0:
		// The kernel read its clock between our two.
		if (k.armed != 0) != (d > 0) || d > 0 && (before+d > k.armed || after+d < k.armed) {
			invariant.That(false, "armed for %d, fires in %d, now %d to %d", k.armed, d, before, after)
		}
	case after < k.armed:
		invariant.That(false, "armed for %d, has fired, now %d", k.armed, after)
	}
}

// checkWake panics when Wake is about to write to a descriptor that Shut has closed: an invariant of epoll. Safe for
// any goroutine.
func (k *epoll) checkWake() { invariant.That(k.wakeFD != NoFD, "Wake after Shut") }
