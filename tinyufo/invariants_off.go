//go:build !invariants

package tinyufo

// check does something with -tags invariants only.
func (s *shard[K, V]) check() {}
func (s *bytesShard) check()  {}
