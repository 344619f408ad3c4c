package engine

import "github.com/edge-proxy/edge/poller"

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
