//go:build !linux

package table

import "io/fs"

// mapMemory gets memory from the heap. The garbage collector does not look into it.
func mapMemory(size int, _ bool) ([]byte, error) { return make([]byte, size), nil }

// fillPages leaves it to the first write.
func fillPages([]byte) {}

// dropPages leaves the pages to the garbage collector.
func dropPages([]byte) {}

// changedAt is not known.
func changedAt(fs.FileInfo) int64 { return 0 }

// unmapMemory leaves the memory to the garbage collector.
func unmapMemory([]byte) {}
