//go:build unix

package bytelog

import "syscall"

// Memory is a mapping.
type Memory []byte

// mapMemory gets memory from the kernel: the garbage collector neither sees it nor counts it when it paces itself.
func mapMemory(size int) (Memory, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// Unmap gives the memory back. It can only fail for what mapMemory has not got.
func (m Memory) Unmap() { _ = syscall.Munmap(m) }
