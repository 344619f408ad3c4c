//go:build invariants

package ketama

import (
	"cmp"
	"fmt"
	"slices"
)

// check panics when the invariants of circle do not hold.
func (c *circle[H]) check() {
	if len(c.hashes) == 0 {
		if len(c.owners)+len(c.index)+len(c.hidden) > 0 {
			c.fail("an empty circle has %d owners", len(c.owners))
		}
		return
	}
	n := len(c.hashes) - 1
	if len(c.owners) != n+1 || c.hashes[n] != ^H(0) || c.owners[n] != c.owners[0] {
		c.fail("%d owners, closed by %x of %d", len(c.owners), c.hashes[n], c.owners[n])
	}
	for i := range n {
		if i+1 < n && c.hashes[i] >= c.hashes[i+1] {
			c.fail("point %d: %x before %x", i, c.hashes[i], c.hashes[i+1])
		}
	}
	at := 0
	for b, got := range c.index {
		for at < n && int(c.hashes[at]>>c.shift) < b {
			at++
		}
		if int(got) != at {
			c.fail("index %d is %d, not %d", b, got, at)
		}
	}
	for i, p := range c.hidden {
		if i > 0 && c.hidden[i-1].hash > p.hash {
			c.fail("hidden point %d: %x before %x", i, c.hidden[i-1].hash, p.hash)
		}
		if _, found := slices.BinarySearchFunc(c.hashes[:n], p.hash, cmp.Compare[H]); !found {
			c.fail("hidden point %x hides nowhere", p.hash)
		}
	}
}

func (c *circle[H]) fail(format string, args ...any) {
	panic(fmt.Sprintf("ketama: %d points: ", len(c.hashes)) + fmt.Sprintf(format, args...))
}
