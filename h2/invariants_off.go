//go:build !invariants

package h2

// check does something with -tags invariants only.
func (c *Conn) check() {}
