//go:build !invariants

package upstream

// The checks do something with -tags invariants only.
func (l *local) check()  {}
func (w *Waiter) check() {}
func (c *Conn) check()   {}
