//go:build !invariants

package poller

// check does something with -tags invariants only.
func (k *Epoll) check()     {}
func (k *Epoll) checkWake() {}
