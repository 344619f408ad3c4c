package recent

import (
	"math"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Rings are the records of one reactor.
// Owned by its reactor.
type Rings struct {
	slow     Span   // from which time on a request is slow
	slowFrom uint64 // that in ns
	all, bad ring
}

// ring has the last records that were put into it.
//
//	at == written % len(records)
type ring struct {
	records []Record
	at      int    // of records: where the next one is written; the last one is before it, or at the end
	written uint64 // so far
}

// New makes Rings of n records each, 1 or more. Requests are slow whose answers begin after slow, or later.
func New(n int, slow time.Duration) *Rings {
	of := func() ring { return ring{records: make([]Record, n)} }
	from := Bounded(int64(slow))
	return &Rings{slow: from, slowFrom: uint64(from.Duration()), all: of(), bad: of()}
}

// Take takes over the last records of other.
func (k *Rings) Take(other *Rings) {
	other.all.copyTo(&k.all)
	other.bad.copyTo(&k.bad)
}

// Len returns how many records each ring has room for.
func (k *Rings) Len() int { return len(k.all.records) }

// Slow reports whether the answer to the request of r, which has its times, began late or, where there was none, was
// given up late. A stored answer of a cache begins at once: an end that is late has a slow client.
func (k *Rings) Slow(r *Record) bool {
	if r.FirstByte == 0 {
		return r.End >= k.slow && !r.Flags.stored()
	}
	return r.FirstByte >= k.slow
}

// Soon reports whether a request whose answer began first after it, and ended took after it, both in ns, is not slow,
// and has times that SpanOf takes. With no answer, first is below 0.
func (k *Rings) Soon(first, took int64) bool {
	return uint64(first) < k.slowFrom && uint64(took) <= SpanMax
}

// Next returns the record that the next Put, or Add, adds. It still has an older request, so the caller writes every
// field.
func (k *Rings) Next() *Record { return &k.all.records[k.all.at] }

// Add adds the record of Next to the last requests.
func (k *Rings) Add() { k.all.advance() }

// Put adds the record of Next to the last requests and, with bad, a copy of it to the bad ones.
func (k *Rings) Put(bad bool) {
	at := k.all.at
	k.all.advance()
	if bad {
		k.bad.records[k.bad.at] = k.all.records[at]
		k.bad.advance()
	}
}

func (r *ring) advance() {
	r.written++
	if r.at++; r.at == len(r.records) {
		r.at = 0
	}
	if invariant.On {
		r.check()
	}
}

// check panics when an invariant of r does not hold.
func (r *ring) check() {
	invariant.That(r.at == int(r.written%uint64(len(r.records))), "record %d is written at %d", r.written, r.at)
}

func (r *ring) copyTo(other *ring) {
	n := min(r.written, uint64(len(r.records)), uint64(len(other.records)))
	for i := n; i > 0; i-- {
		other.records[other.at] = *r.record(r.written - i)
		other.advance()
	}
}

// record returns the record that was written after i others, which the ring still has.
func (r *ring) record(i uint64) *Record {
	back := int(r.written - i) // 1: the last one
	at := r.at - back
	if at < 0 {
		at += len(r.records)
	}
	return &r.records[at]
}

// Newest is where AppendTo begins with the last record.
const Newest = math.MaxUint64

// AppendTo appends up to n records to into, the last one first; with bad, records of the bad requests. before is
// Newest, or next of the call before. next is 0 where there are no more.
func (k *Rings) AppendTo(into []Record, bad bool, before uint64, n int) (all []Record, next uint64) {
	r := &k.all
	if bad {
		r = &k.bad
	}
	oldest := r.written - min(r.written, uint64(len(r.records)))
	i := min(before, r.written)
	for ; i > oldest && n > 0; n-- {
		i--
		into = append(into, *r.record(i))
	}
	if i <= oldest {
		i = 0
	}
	return into, i
}

// Page is a part of the records of a reactor.
type Page struct {
	Prefix  uint64 // the first half of the numbers of its requests
	Wall    int64  // Unix time less reactor time, ns
	Records []Record
	Next    uint64 // for the next Page; 0: there are no more
	Room    int    // how many requests of a kind are remembered at the most
}
