package session

import (
	"cmp"
	"time"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
	"github.com/edge-proxy/edge/internal/stream"
)

// ClientOptions bound what an origin may do. The zero value is good. Immutable once used.
type ClientOptions struct {
	Limits       h1.Limits
	FirstByte    time.Duration // from the end of the request to the head of the answer; 0: 60 s
	BetweenBytes time.Duration // between two reads of an answer, or for the origin to take what congests it; 0: 60 s
	TunnelIdle   time.Duration // without a byte of a tunnel, in either direction; 0: 1 h
}

// MuxOptions bound what an origin may do on a connection that many exchanges share. The zero value is good. Immutable
// once used.
type MuxOptions struct {
	Limits       h1.Limits
	FirstByte    time.Duration // from the end of a request to the head of its answer; 0: 60 s
	BetweenBytes time.Duration // between two pieces of an answer, or for the origin to open a full window; 0: 60 s
	TunnelIdle   time.Duration // without a byte of a tunnel, or of an Unhurried answer, in either direction; 0: 1 h
	StreamsMax   int           // exchanges at one time, if the origin allows as many; 0: 100
	StreamWindow int           // bytes of one answer that may wait; 0: 64 KiB - 1, growing to 512 KiB
	Budget       int           // bytes of all answers that may wait; 0: 2 MiB, more while there is memory
	HeaderTable  int           // bytes of the table for the compression of heads; 0: 4096; below 0: none
	// PingAfter is the silence of the origin after which a PING is sent with the next request. A connection that
	// broke unseen is noticed in 10 s then, and not by FirstByte. 0: 30 s; below 0: never.
	PingAfter time.Duration
}

// streamsMaxDefault is the default of MuxOptions.StreamsMax: what RFC 9113 §6.5.2 wants origins to allow at least.
const streamsMaxDefault = 100

// pingAfterDefault is the default of MuxOptions.PingAfter. Servers of gRPC close a connection on which PINGs come
// more often than data.
const pingAfterDefault = 30 * time.Second

func (o *MuxOptions) codec(a *h2.Arena) h2.Options {
	streams := cmp.Or(o.StreamsMax, streamsMaxDefault)
	return h2.Options{
		Arena: a, MaxStreams: streams, HeaderTable: o.HeaderTable, StreamWindow: o.StreamWindow,
		HeadBytes: o.Limits.HeadBytes, FieldCount: o.Limits.FieldCount, FieldBytes: o.Limits.FieldBytes,
		StreamWindowMax: o.StreamWindow, Budget: o.Budget, StallTimeout: stream.OrDefault(o.BetweenBytes),
	}
}

func (o *MuxOptions) pingAfter() time.Duration { return cmp.Or(o.PingAfter, pingAfterDefault) }
