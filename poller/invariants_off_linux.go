//go:build !invariants

package poller

// check does something with -tags invariants only.
func (k *epoll) check()     {}
func (k *epoll) checkWake() {}
