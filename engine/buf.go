package engine

import (
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/poller"
)

// Buf is a chunk of bytes of one size class: a link of a send queue, or the place of unread bytes.
// Owned by its reactor.
//
//	0 <= r <= w <= len(data)     data[r:w] is what it holds
type Buf struct {
	next  *Buf
	data  []byte
	r, w  int
	class uint8
}

// Size classes. A Conn that is idle holds none.
const (
	bufSmall  = 4 << 10
	bufMedium = 16 << 10
	bufLarge  = 64 << 10
)

var bufSizes = [...]int{bufSmall, bufMedium, bufLarge}

// classOwn marks a Buf larger than every class: it is not pooled.
const classOwn = uint8(len(bufSizes))

// bufFreeMax bounds the free bytes that a reactor keeps for each class: a sixteenth of an even share of the memory if
// that is less.
const bufFreeMax = 4 << 20

// bufPool is the free list of one reactor, and the account of its memory. A Buf that is taken from the list or put
// back leaves the total as it is.
// Owned by its reactor.
//
//	total == bytes of Bufs handed out + of free ones + accounted + kept
type bufPool struct {
	free      [len(bufSizes)]*Buf
	count     [len(bufSizes)]int // of free Bufs
	total     int64
	accounted int64 // bytes in no Buf that are in use: see Reactor.Account
	kept      int64 // bytes in no Buf that are kept for later: see Reactor.Keep
	ease      int64 // the total from which nothing is kept: PressureCache
	most      int64 // free bytes of one class
}

// spare is how many bytes are kept for later.
func (p *bufPool) spare() int64 {
	n := p.kept
	for class, size := range bufSizes {
		n += int64(p.count[class] * size)
	}
	return n
}

// inUse is how many bytes are handed out or accounted for.
func (p *bufPool) inUse() int64 { return p.total - p.spare() }

// get returns an empty Buf with room for at least n bytes.
func (p *bufPool) get(n int) *Buf {
	class := uint8(0)
	for class < classOwn && bufSizes[class] < n {
		class++
	}
	if class == classOwn {
		p.total += int64(n)
		return &Buf{data: make([]byte, n), class: classOwn}
	}
	if b := p.free[class]; b != nil {
		p.free[class], b.next = b.next, nil
		p.count[class]--
		return b
	}
	p.total += int64(bufSizes[class])
	return &Buf{data: make([]byte, bufSizes[class]), class: class}
}

// put takes b back. Its former owner must not touch it again.
func (p *bufPool) put(b *Buf) {
	b.r, b.w = 0, 0
	poison(b.data)
	if b.class == classOwn || int64(p.count[b.class]*len(b.data)) >= p.most || p.total >= p.ease {
		p.total -= int64(len(b.data))
		return
	}
	b.next, p.free[b.class] = p.free[b.class], b
	p.count[b.class]++
}

// shrink leaves one in part of the free Bufs of each class to the garbage collector; 0: all of them.
func (p *bufPool) shrink(part int) {
	for class, size := range bufSizes {
		n := p.count[class]
		if part > 0 {
			n = (n + part - 1) / part
		}
		for range n {
			p.free[class] = p.free[class].next
		}
		p.count[class] -= n
		p.total -= int64(n * size)
	}
}

func (b *Buf) bytes() []byte { return b.data[b.r:b.w] }
func (b *Buf) room() int     { return len(b.data) - b.w }

// bufChain is a queue of bytes in linked Bufs. Its owner counts the bytes.
// Owned by the reactor whose pool its Bufs are from.
//
//	head ─► Buf ─► Buf ─► Buf ◄─ tail      bytes leave at the head and are appended at the tail
//
//	head == nil <=> tail == nil; tail.next == nil
type bufChain struct {
	head, tail *Buf
}

// link appends b.
func (q *bufChain) link(b *Buf) {
	if q.tail == nil {
		q.head = b
	} else {
		q.tail.next = b
	}
	q.tail = b
}

// add appends a copy of p.
func (q *bufChain) add(p []byte, pool *bufPool) {
	for len(p) > 0 {
		t := q.tail
		if t == nil || t.room() == 0 {
			t = pool.get(min(len(p), bufLarge))
			q.link(t)
		}
		n := copy(t.data[t.w:], p)
		t.w += n
		p = p[n:]
	}
}

// appendTo appends the first pieces of q to iov, which keeps a place free, and returns how many bytes they are.
func (q *bufChain) appendTo(iov [][]byte) (out [][]byte, total int) {
	for b := q.head; b != nil && len(iov) < poller.IOVMax-1; b = b.next {
		if n := b.w - b.r; n > 0 {
			iov = append(iov, b.bytes())
			total += n
		}
	}
	return iov, total
}

// consume removes n bytes from the front and returns how many of them q did not have.
func (q *bufChain) consume(n int, pool *bufPool) (rest int) {
	for b := q.head; b != nil; b = q.head {
		k := b.w - b.r
		if n < k {
			b.r += n
			return 0
		}
		n -= k
		q.head, b.next = b.next, nil
		pool.put(b)
	}
	q.tail = nil
	return n
}

// release gives all Bufs back.
func (q *bufChain) release(pool *bufPool) {
	for b := q.head; b != nil; b = q.head {
		q.head, b.next = b.next, nil
		pool.put(b)
	}
	q.tail = nil
}

// poison overwrites p, which its owner takes back, in a checked build: code that kept a slice of it reads nonsense.
func poison(p []byte) {
	if invariant.On {
		for i := range p {
			p[i] = 0xDB
		}
	}
}
