//go:build unix

package bytelog

import "syscall"

// mapMemory gets memory from the kernel: the garbage collector neither sees it nor counts it when it paces itself.
func mapMemory(size int) ([]byte, error) {
	m, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil {
		wantHugePages(m)
	}
	return m, err
}

// unmapMemory gives the memory back. It can only fail for what mapMemory has not got.
func unmapMemory(m []byte) { _ = syscall.Munmap(m) }
