package bytelog

import (
	"syscall"
	"unsafe"
)

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

// releaseMemory gives the whole pages in m back to the kernel: they are empty when they are used again. It returns how
// many bytes at the end of m are of a page that goes on.
func releaseMemory(m []byte) (rest int) {
	page := uintptr(syscall.Getpagesize())
	// SAFETY: only the address is looked at.
	start := uintptr(unsafe.Pointer(unsafe.SliceData(m)))
	end := start + uintptr(len(m))
	from, to := (start+page-1)&^(page-1), end&^(page-1)
	if from >= to {
		return len(m)
	}
	_ = syscall.Madvise(m[from-start:to-start], syscall.MADV_DONTNEED) // it can only fail for what is not mapped
	return int(end - to)
}
