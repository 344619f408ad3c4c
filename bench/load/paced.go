package load

import "github.com/edge-proxy/edge/poller"

// pacedKernel wakes a reactor at the time of its worker's next request. The wheel of a reactor keeps times in granules
// of a millisecond, which would make bursts of a steady rate. Owned by its reactor.
type pacedKernel struct {
	poller.Kernel
	worker *worker
}

// Wait waits as the Kernel does, but not beyond the next request.
func (k *pacedKernel) Wait(dst []poller.Event, until int64) int {
	w := k.worker
	if w.wake != 0 && until != 0 && (until < 0 || w.wake < until) {
		until = w.wake
	}
	n := k.Kernel.Wait(dst, until)
	if w.wake != 0 && k.Now() >= w.wake {
		w.postSend()
	}
	return n
}
