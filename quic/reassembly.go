package quic

// assembly puts the data of a stream in order. Data that comes in order is passed on where it lies; other data is
// copied into pages. The zero value is a new stream. Owned by its Conn.
//
//	     next              gaps[0]         gaps[1]            high      size
//	delivered │             │▒▒▒▒▒▒▒│       │▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│         │
//	 page at 0 … not kept       │ page at 4080      │ page at 8160     │
//
// A page is charged whole, and so is the table of spans: the memory that a peer makes us keep by tiny pieces is never
// more than what is charged (RUSTSEC-2026-0185). Nor is it much more than what came: see kept.
type assembly struct {
	next int64 // all below was delivered
	high int64 // where the highest data that came ends
	size int64 // final size, when sized

	gaps        spans // what is kept; backed by a table of the Arena
	first, last *page // in order; each begins at a multiple of pageData
	pages       int32
	sized       bool
}

// gapLimit bounds how many pieces of data are kept, and says what happens beyond.
type gapLimit struct {
	most  int
	fault *Error
}

// kept is what the assemblies of a connection keep together. Data that is late comes in pieces of datagrams, which lie
// side by side. A peer that leaves gaps on purpose makes us keep a page for each byte that it sends: where pages are
// mostly empty, a piece that needs another one counts as lost.
type kept struct {
	pages int64 // tables of spans aside: no assembly has one without a page
	bytes int64
}

// memory is where the assemblies of a connection keep data.
type memory struct {
	arena *Arena
	kept  *kept
}

// sparse reports whether the pages are mostly empty.
func (k *kept) sparse() bool { return k.pages*pageData > sparseTimes*k.bytes+sparseRoom }

const (
	sparseTimes = 4
	sparseRoom  = 64 << 10
)

var (
	streamGaps = gapLimit{256, errGaps}
	cryptoGaps = gapLimit{32, errCryptoGaps}
)

// take takes data that came, the last of the stream with end, and returns what can be passed on now, borrowed from b.
// more has what follows it. A fault of gaps leaves s as it was, but for high and size: the packet may count as lost.
func (s *assembly) take(m memory, offset uint64, b []byte, end bool, limit gapLimit) (now []byte, err *Error) {
	from, to := int64(offset), int64(offset)+int64(len(b))
	if err := s.reach(to, end); err != nil {
		return nil, err
	}
	switch {
	case to <= s.next || len(b) == 0:
		return nil, nil
	case from > s.next:
		err = s.keep(m, from, b, limit)
	default:
		now = b[s.next-from:]
		s.next = to
		m.kept.bytes -= s.gaps.remove(0, to)
		s.release(m)
	}
	s.check()
	return now, err
}

// reach says that the data of the stream reaches to, and ends there with end: by a frame, or by RESET_STREAM. RFC 9000
// §4.5: what was final stays so.
func (s *assembly) reach(to int64, end bool) *Error {
	if s.sized && (to > s.size || end && to != s.size) || end && to < s.high {
		return errFinalSize
	}
	s.high = max(s.high, to)
	if end {
		s.sized, s.size = true, to
	}
	return nil
}

// more returns data that was kept and is in order now, nil when there is none. Borrowed until the next call.
func (s *assembly) more(m memory) []byte {
	s.release(m)
	if len(s.gaps) == 0 || s.gaps[0].from > s.next {
		return nil
	}
	p := s.first // release has left no page before it
	to := min(s.gaps[0].to, p.at+pageData)
	b := p.data[s.next-p.at : to-p.at]
	s.next = to
	m.kept.bytes -= s.gaps.remove(0, to)
	return b
}

// ended reports whether all data was delivered.
func (s *assembly) ended() bool { return s.sized && s.next == s.size }

// charged returns how many bytes of memory s holds.
func (s *assembly) charged() int {
	if s.gaps == nil {
		return 0
	}
	return (int(s.pages) + 1) * pageSize
}

// drop gives up what is kept: the stream is reset, or its data is unwanted.
func (s *assembly) drop(m memory) {
	m.kept.bytes -= s.gaps.remove(0, s.high)
	s.release(m)
}

// keep copies b, which begins at from, beyond a gap. Bytes that are kept already are overwritten. RFC 9000 §2.2: a peer
// never sends others at the same offset; where it does it harms its own stream alone.
func (s *assembly) keep(m memory, from int64, b []byte, limit gapLimit) *Error {
	to := from + int64(len(b))
	if len(s.gaps) >= limit.most {
		if i := s.gaps.endingAt(from); i == len(s.gaps) || s.gaps[i].from > to {
			return limit.fault
		}
	}
	if m.kept.sparse() && !(s.hasPage(from) && s.hasPage(to-1)) {
		return errGaps
	}
	if s.gaps == nil {
		s.gaps = m.arena.takeTable()[:0]
	}
	m.kept.bytes += s.gaps.add(from, to)
	for len(b) > 0 {
		p := s.pageAt(m, from-from%pageData)
		n := copy(p.data[from-p.at:], b)
		from, b = from+int64(n), b[n:]
	}
	return nil
}

// hasPage reports whether there is a page for an offset.
func (s *assembly) hasPage(offset int64) bool {
	p := s.first
	for p != nil && p.at+pageData <= offset {
		p = p.next
	}
	return p != nil && p.at <= offset
}

// pageAt returns the page that begins at the offset at.
func (s *assembly) pageAt(m memory, at int64) *page {
	before := s.last
	if before != nil && before.at > at {
		before = nil
		for p := s.first; p != nil && p.at <= at; p = p.next {
			before = p
		}
	}
	if before != nil && before.at == at {
		return before
	}
	p := m.arena.takePage(at)
	s.pages++
	m.kept.pages++
	if before == nil {
		p.next, s.first = s.first, p
	} else {
		p.next, before.next = before.next, p
	}
	if p.next == nil {
		s.last = p
	}
	return p
}

// release gives back the pages whose data was delivered, and all with the table when nothing is kept.
func (s *assembly) release(m memory) {
	if s.gaps == nil {
		return
	}
	for s.first != nil && (len(s.gaps) == 0 || s.first.at+pageData <= s.next) {
		s.first = m.arena.putPage(s.first)
		s.pages--
		m.kept.pages--
	}
	if len(s.gaps) == 0 {
		m.arena.putTable((*table)(s.gaps[:cap(s.gaps)]))
		s.gaps, s.last = nil, nil
	}
}
