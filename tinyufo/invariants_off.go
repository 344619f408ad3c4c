//go:build !invariants

package tinyufo

import (
	"sync"
	"sync/atomic"
)

// What several goroutines write. With -tags invariants these are types that a test can stop before each operation, so
// that it chooses the order.
type (
	sharedWord           = atomic.Uint64
	sharedHalf           = atomic.Uint32
	sharedCount          = atomic.Int64
	sharedPointer[T any] = atomic.Pointer[T]
	mutex                = sync.Mutex
)

// check does something with -tags invariants only.
func (s *shard[K, V]) check()     {}
func (s *flatShard[K, V]) check() {}
