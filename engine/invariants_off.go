//go:build !invariants

package engine

// check does something with -tags invariants only.
func (r *Reactor) check() {}

func (e *Engine) checkBudget() {}
