//go:build invariants

package hpack

import "github.com/edge-proxy/edge/internal/base/invariant"

// The walkers compare before they call That, since arguments that are printed are allocated.

// check panics when the invariants of Decoder do not hold.
func (d *Decoder) check() {
	if d.shrink != (d.table.max > d.limit) {
		invariant.That(false, "the table has %d, limit %d, shrink %v", d.table.max, d.limit, d.shrink)
	}
	if d.ready != (d.err == nil && !d.shrink) || d.err == ErrListSize {
		invariant.That(false, "ready %v, shrink %v, error %v", d.ready, d.shrink, d.err)
	}
	d.table.check()
}

// check panics when the invariants of Encoder do not hold.
func (e *Encoder) check() {
	e.table.check()
	e.directory.check(&e.table)
}

// check panics when the invariants of table do not hold.
func (t *table) check() {
	if t.len() > len(t.entries) || len(t.entries)&(len(t.entries)-1) != 0 {
		invariant.That(false, "%d entries in a ring of %d", t.len(), len(t.entries))
	}
	used, at, laps := 0, 0, 0
	for n := t.oldest; n != t.next; n++ {
		e := t.entry(n)
		used += e.cost()
		if int(e.at) < at { // at is where the line before it ends
			laps++
		}
		at = int(e.at + e.size)
		if at > len(t.lines) || laps > 1 || laps == 1 && at > int(t.entry(t.oldest).at) {
			invariant.That(false, "entry %d ends at %d of %d, over another", n, at, len(t.lines))
		}
	}
	if used != t.used || used > t.max || at != t.head {
		invariant.That(false, "the entries have %d, counted %d of %d; the last one ends at %d, head %d",
			used, t.used, t.max, at, t.head)
	}
}

// check panics when the invariants of directory do not hold: when an entry of t cannot be found.
func (d *directory) check(t *table) {
	size := len(d.links)
	if size != len(t.entries) || size != len(d.fields) || size != len(d.names) {
		invariant.That(false, "%d links, %d buckets, %d entries", size, len(d.fields), len(t.entries))
	}
	mask := uint32(size - 1)
	for n := t.oldest; n != t.next; n++ {
		k := &d.links[n&mask]
		byField := d.holds(t, n, d.fields[k.field&mask], func(k *link) uint32 { return k.nextField })
		byName := d.holds(t, n, d.names[k.name&mask], func(k *link) uint32 { return k.nextName })
		if !byField || !byName {
			invariant.That(false, "entry %d: in a chain of fields %v, of names %v", n, byField, byName)
		}
	}
}

// holds reports whether the chain that begins with at leads to entry n of t, by numbers that are alive and fall.
func (d *directory) holds(t *table, n, at uint32, next func(*link) uint32) bool {
	for last := t.next; at != n; {
		if at-t.oldest >= last-t.oldest { // it is not alive, or no older than the one before
			return false
		}
		last, at = at, next(&d.links[at&uint32(len(d.links)-1)])
	}
	return true
}
