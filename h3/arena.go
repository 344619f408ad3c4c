package h3

import (
	"github.com/edge-proxy/edge/h3/qpack"
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/base/tally"
)

// Arena is the memory that the connections of one reactor share: free streams, the buffers that heads are rendered and
// encoded in, buffers for frames that come in parts, and counters. Owned by its reactor.
//
// An idle connection holds none of this memory but its control streams.
type Arena struct {
	Stats Stats

	streams list.Spare[Stream]
	bufs    list.Buffers // for frames in parts, and heads that wait for a window
	render  []byte       // Head.Base of the head that Next returned last
	dec     qpack.Decoder
	out     []byte // where frames are encoded
}

// Bounds of the memory that an Arena keeps.
const (
	spareStreams = 1024
	spareBufs    = 16
	spareBytes   = 64 << 10
	bufLeast     = 4 << 10
	streamSize   = 240 // what a Stream costs: its size class
)

// Stats counts what happened on the connections of an Arena. The abuse counters stand for connections that were ended.
type Stats struct {
	Streams      uint64 // requests, opened by either side
	ResetsIn     uint64 // streams that peers gave up
	ResetsOut    uint64 // streams that we gave up
	Malformed    uint64 // heads that broke RFC 9114 §4 and never reached the caller
	Refused      uint64 // streams above our GOAWAY
	HeadTooLarge uint64 // heads above HeadBytes, RequestLine, FieldCount or FieldBytes, or too many in parts
	HeadTimeout  uint64 // heads that did not come to their end in time
	PeerListSize uint64 // heads and trailers of ours above what the peer takes: not sent
	Faults       uint64 // connections ended for a fault, abuse among them

	RapidReset    uint64 // CVE-2023-44487
	MadeYouReset  uint64 // CVE-2025-8671
	HeaderBomb    uint64 // CVE-2025-64702
	UnknownFlood  uint64
	PriorityFlood uint64
	EmptyFlood    uint64
}

// Add adds what o has counted.
func (s *Stats) Add(o *Stats) { tally.Add(s, o) }
