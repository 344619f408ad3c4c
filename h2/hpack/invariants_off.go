//go:build !invariants

package hpack

// check does something with -tags invariants only.
func (d *Decoder) check() {}
func (e *Encoder) check() {}
func (t *table) check()   {}
