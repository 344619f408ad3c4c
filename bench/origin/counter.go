package origin

import (
	"fmt"
	"os"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/unix"
)

const counterBytes = 8

// Counter counts requests in memory that several processes see. Safe for any goroutine.
type Counter struct {
	word   *atomic.Uint64
	mapped []byte
}

// NewCounter makes a Counter that only this process sees.
func NewCounter() *Counter { return &Counter{word: new(atomic.Uint64)} }

// OpenCounter maps the file at path, made when it does not exist. Without a path it is NewCounter.
func OpenCounter(path string) (*Counter, error) {
	if path == "" {
		return NewCounter(), nil
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	defer func() { _ = f.Close() }()
	if err := f.Truncate(counterBytes); err != nil {
		return nil, fmt.Errorf("counter: %w", err)
	}
	mem, err := unix.Mmap(int(f.Fd()), 0, counterBytes, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("map counter %s: %w", path, err)
	}
	// SAFETY: a mapping is page-aligned and at least a page long; it is unmapped by Close alone.
	return &Counter{word: (*atomic.Uint64)(unsafe.Pointer(&mem[0])), mapped: mem}, nil
}

// Add counts n more.
func (c *Counter) Add(n uint64) { c.word.Add(n) }

// Load returns the count.
func (c *Counter) Load() uint64 { return c.word.Load() }

// Close unmaps the memory; c is not used after.
func (c *Counter) Close() error {
	if c.mapped == nil {
		return nil
	}
	return unix.Munmap(c.mapped)
}
