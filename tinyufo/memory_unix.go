//go:build unix

package tinyufo

import "syscall"

// mapMemory gets memory from the kernel: the garbage collector neither sees it nor counts it when it paces itself.
func mapMemory(size int) ([]byte, error) {
	return syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
}

// unmapMemory gives back what mapMemory has got. It can only fail for what that has not.
func unmapMemory(memory []byte) { _ = syscall.Munmap(memory) }
