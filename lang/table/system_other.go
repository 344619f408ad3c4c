//go:build !linux

package table

import "io/fs"

// mapMemory gets memory from the heap. The garbage collector does not look into it.
func mapMemory(size int) ([]byte, error) { return make([]byte, size), nil }

// dropPages leaves the pages to the garbage collector.
func dropPages([]byte) {}

// changedAt is not known.
func changedAt(fs.FileInfo) int64 { return 0 }

// unmapMemory leaves the memory to the garbage collector.
func unmapMemory([]byte) {}
