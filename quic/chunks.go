package quic

// chunks are the bytes of a stream from base to size, in pages. The zero value has none. Owned by a stream.
//
//	        base                                   size
//	acknowledged │▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│
//	      │ first │ a full page │ seen       │ last        │
type chunks struct {
	base, size  int64
	first, last *page // each but the last is full
	seen        *page // where the last bytes were read: more are read there, or after it
}

// held returns how many bytes are kept.
func (c *chunks) held() int { return int(c.size - c.base) }

// write appends b.
func (c *chunks) write(a *Arena, b []byte) {
	for len(b) > 0 {
		if c.last == nil || c.size == c.last.at+pageData {
			p := a.takePage(c.size)
			if c.last == nil {
				c.first = p
			} else {
				c.last.next = p
			}
			c.last = p
		}
		n := copy(c.last.data[c.size-c.last.at:], b)
		c.size, b = c.size+int64(n), b[n:]
	}
}

// appendTo appends n bytes that begin at the offset from, all of which are kept.
func (c *chunks) appendTo(dst []byte, from int64, n int) []byte {
	p := c.seen
	if p == nil || p.at > from {
		p = c.first
	}
	for n > 0 {
		for from >= p.at+pageData {
			p = p.next
		}
		k := min(int64(n), p.at+pageData-from)
		dst = append(dst, p.data[from-p.at:][:k]...)
		from, n = from+k, n-int(k)
	}
	c.seen = p
	return dst
}

// forget drops the bytes below to.
func (c *chunks) forget(a *Arena, to int64) {
	c.base = to
	for c.first != nil && (c.base == c.size || c.first.at+pageData <= to) {
		if c.first == c.seen {
			c.seen = nil
		}
		c.first = a.putPage(c.first)
	}
	if c.first == nil {
		c.last = nil
	}
}
