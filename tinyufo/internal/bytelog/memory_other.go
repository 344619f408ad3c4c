//go:build !unix

package bytelog

// Memory is a part of the heap.
type Memory []byte

// mapMemory gets memory from the heap, where there is no mmap. The garbage collector does not look into it.
func mapMemory(size int) (Memory, error) { return make([]byte, size), nil }

// Unmap leaves the memory to the garbage collector.
func (m Memory) Unmap() {}
