//go:build !invariants

package engine

// check does something with -tags invariants only.
func (r *Reactor) check() {}

func (e *Engine) checkBudget() {}
func (s *Splice) check()       {}

// MustOwn does something with -tags invariants only: then it panics unless it runs on r's goroutine.
func (r *Reactor) MustOwn() {}

func (c *Conn) mustOwn() {}

func poison([]byte)   {}
func scramble([]byte) {}
