//go:build unix && !linux

package bytelog

// wantHugePages leaves the size of pages to the kernel.
func wantHugePages([]byte) {}
