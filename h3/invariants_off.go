//go:build !invariants

package h3

// check does something with -tags invariants only.
func (c *Conn) check() {}
