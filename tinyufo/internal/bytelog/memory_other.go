//go:build !linux

package bytelog

// mapMemory gets memory from the heap. The garbage collector does not look into it.
func mapMemory(size int) ([]byte, error) { return make([]byte, size), nil }

// unmapMemory leaves the memory to the garbage collector.
func unmapMemory(m []byte) {}

// releaseMemory keeps the memory.
func releaseMemory(m []byte) (rest int) { return 0 }
