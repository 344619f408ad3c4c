package bytelog

import "syscall"

// wantHugePages asks for pages of 2 MB where the kernel gives them on request only. Look-ups go everywhere in the logs:
// with pages of 4 KB most of those in a large cache wait for the page tables, too. All of the memory is used in the
// end, so that nothing is wasted. A kernel that knows no such pages says so, and nothing is lost.
func wantHugePages(m []byte) {
	const madvHugePage = 14 // MADV_HUGEPAGE; package syscall has no name for it on all architectures
	_ = syscall.Madvise(m, madvHugePage)
}
