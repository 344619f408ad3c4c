//go:build !invariants

package pool

// check does something with -tags invariants only.
func (s *Shard[K, C]) check() {}
