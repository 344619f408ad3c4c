package quic

import (
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/base/tally"
)

// Arena is the memory that the connections of one reactor share: pages that are unused, and counters. Owned by its
// reactor. The zero value is good.
//
// A connection that has nothing on its way holds none of this memory.
type Arena struct {
	Stats Stats

	free    *page // linked by next
	spare   int   // how many pages are in free
	tables  list.Spare[table]
	streams list.Spare[Stream]
	sent    rings[sentPacket]
	frames  rings[sentFrame]
	in      arriving

	lent int // bytes of streams, and of packets that wait for keys
}

// Lent returns how many bytes of memory connections hold for their peers: pages, streams, and packets that wait for
// keys. The caller accounts for it, since peers decide how much it is.
func (a *Arena) Lent() int { return int(a.Stats.Pages)*pageSize + a.lent }

// Bounds of the memory that an Arena keeps.
const (
	sparePages   = 1024
	spareTables  = 64
	spareStreams = 1024
)

const streamSize = 320 // what a Stream costs: its size class

// Stats counts what happened on the connections of an Arena. The abuse counters stand for connections that were ended.
type Stats struct {
	Pages uint64 // of 4 KiB, in use now
	Lost  uint64 // packets that were sent and did not arrive

	Moves       uint64 // peers whose new address was validated
	MovesFailed uint64 // new addresses that were given up
	Strays      uint64 // datagrams from addresses that a peer may not have then, and challenges that got no answer

	Unopened uint64 // packets that could not be opened: damaged, forged, or with old keys
	Foreign  uint64 // CVE-2025-54939: packets that shared a datagram with one of another id
	Early    uint64 // CVE-2025-59530: packets that were dropped, since too many waited for keys, or one was too long
	Gaps     uint64 // RUSTSEC-2026-0185: packets that were dropped, since too many pieces of data were kept
	Unread   uint64 // CVE-2025-4820 and kin: acknowledgements of which not all ranges were read
	Held     uint64 // datagrams after which an address that is not validated gets no more for now
	Faults   uint64 // connections that ended by a fault of their peer

	IdleFrames uint64 // CVE-2026-26081 and kin: frames without effect
	KeyUpdates uint64
}

// Add adds what o has counted.
func (s *Stats) Add(o *Stats) { tally.Add(s, o) }

// page is 4 KiB of the data of a stream, with its offset.
type page struct {
	next *page
	at   int64 // the offset of data[0]
	data [pageData]byte
}

const (
	pageSize = 4096
	pageData = pageSize - 16
)

// table is a page of spans.
type table [pageSize / 16]span

func (a *Arena) takePage(at int64) *page {
	a.Stats.Pages++
	p := a.free
	if p == nil {
		p = new(page)
	} else {
		a.free = p.next
		a.spare--
	}
	p.next, p.at = nil, at
	return p
}

// putPage takes p back and returns the page after it.
func (a *Arena) putPage(p *page) (next *page) {
	a.Stats.Pages--
	next = p.next
	p.poison()
	if a.spare < sparePages {
		p.next, a.free = a.free, p
		a.spare++
	}
	return next
}

func (a *Arena) takeTable() *table {
	a.Stats.Pages++
	return a.tables.Take()
}

func (a *Arena) putTable(t *table) {
	a.Stats.Pages--
	a.tables.Put(t, spareTables)
}

func (a *Arena) putStream(s *Stream) {
	lost, acked := s.out.lost[:0], s.out.acked[:0]
	*s = Stream{}
	s.out.lost, s.out.acked = lost, acked
	a.streams.Put(s, spareStreams)
}
