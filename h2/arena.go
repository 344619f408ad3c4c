package h2

import (
	"github.com/edge-proxy/edge/internal/base/list"
	"github.com/edge-proxy/edge/internal/base/tally"
	"github.com/edge-proxy/edge/message"
)

// Arena is the memory that the connections of one reactor share: free streams, the buffer that heads are rendered in,
// buffers for header blocks of several frames, and counters. Owned by its reactor.
//
// An idle connection holds none of this memory.
type Arena struct {
	Stats Stats

	streams list.Spare[Stream]
	blocks  list.Buffers // for header blocks in parts
	render  []byte       // Head.Base of the head that Next returned last
	literal []byte       // where literals are decoded
	ctl     list.Buffers // for pending output
}

// Bounds of the memory that an Arena keeps.
const (
	spareStreams = 1024
	spareBlocks  = 4
	spareCtl     = 64
)

// Stats counts what happened on the connections of an Arena. The abuse counters stand for connections that were ended.
type Stats struct {
	Streams      uint64 // opened, by either side
	ResetsIn     uint64 // RST_STREAM of peers
	ResetsOut    uint64 // RST_STREAM of ours
	Malformed    uint64 // heads that broke RFC 9113 §8 and never reached the caller
	Refused      uint64 // streams above MaxStreams or our GOAWAY
	HeadTooLarge uint64 // heads above HeadBytes, RequestLine, FieldCount or FieldBytes
	PeerListSize uint64 // heads and trailers of ours above what the peer takes: not sent
	Pings        uint64 // answered
	Faults       uint64 // connections ended for a fault, abuse among them

	RapidReset        uint64 // CVE-2023-44487
	MadeYouReset      uint64 // CVE-2025-8671
	ContinuationFlood uint64 // CVE-2024-24549 and kin
	HeaderBomb        uint64
	SettingsFlood     uint64 // CVE-2019-9515
	PingFlood         uint64 // CVE-2019-9512
	PriorityFlood     uint64 // CVE-2019-9513
	EmptyFrameFlood   uint64 // CVE-2019-9518
	WindowUpdateFlood uint64
	TinyWindow        uint64 // CVE-2019-9511
	StrayFlood        uint64 // frames on closed streams
	SettingsTimeout   uint64
	PingTimeout       uint64
	HeadTimeout       uint64
	StalledPeer       uint64 // streams reset because the peer opened no window
	StalledReader     uint64 // streams reset because their data was not read while memory was short
}

// Add adds what o has counted.
func (s *Stats) Add(o *Stats) { tally.Add(s, o) }

// borrow points h at the render buffer with nothing in it.
func (a *Arena) borrow(h *message.Head) {
	h.Reset()
	h.Base = a.render[:0]
}
