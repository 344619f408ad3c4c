package table

import (
	"io/fs"
	"syscall"
)

const (
	hugePage     = 2 << 20
	hugeLeast    = 2 * hugePage // from here on large pages are asked for: half of one is wasted on average
	madvHugePage = 14           // MADV_HUGEPAGE; package syscall has no name for it on all architectures
)

// mapMemory gets size bytes or a little more from the kernel: the garbage collector neither sees it nor counts it when
// it paces itself. Where look-ups go everywhere, most of them would wait for the page tables with pages of 4 KB; it
// is worth it that the kernel may take milliseconds to make a large one. A kernel that knows none says so, and nothing
// is lost.
func mapMemory(size int, everywhere bool) ([]byte, error) {
	large := everywhere && size >= hugeLeast
	if large {
		size = (size + hugePage - 1) &^ (hugePage - 1) // the kernel aligns only what is whole pages of that size
	}
	m, err := syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err == nil && large {
		_ = syscall.Madvise(m, madvHugePage)
	}
	return m, err
}

// fillPages asks the kernel for the pages now. A kernel before 5.14 says that it does not know how: then they come when
// they are written.
func fillPages(m []byte) {
	const madvPopulateWrite = 23 // MADV_POPULATE_WRITE
	_ = syscall.Madvise(m, madvPopulateWrite)
}

// dropPages gives pages back while their addresses stay mapped.
func dropPages(m []byte) { _ = syscall.Madvise(m, syscall.MADV_DONTNEED) }

// changedAt is when a file or what is known of it was changed: no program can set that time.
func changedAt(i fs.FileInfo) (ns int64) {
	if s, ok := i.Sys().(*syscall.Stat_t); ok {
		ns = s.Ctim.Nano()
	}
	return ns
}

// unmapMemory gives the memory back. It can only fail for what mapMemory has not got.
func unmapMemory(m []byte) { _ = syscall.Munmap(m) }
