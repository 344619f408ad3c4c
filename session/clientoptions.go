package session

import (
	"cmp"
	"time"

	"github.com/edge-proxy/edge/h1"
	"github.com/edge-proxy/edge/h2"
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
		StreamWindowMax: o.StreamWindow, Budget: o.Budget, StallTimeout: orDefault(o.BetweenBytes),
	}
}

func (o *MuxOptions) pingAfter() time.Duration {
	if o.PingAfter == 0 {
		return pingAfterDefault
	}
	return o.PingAfter
}

func orDefault(d time.Duration) time.Duration {
	if d == 0 {
		return time.Minute
	}
	return d
}

func orTunnelIdle(d time.Duration) time.Duration {
	if d == 0 {
		return time.Hour
	}
	return d
}

// Patient is a Stream to an origin whose exchange can have times of its own.
type Patient interface {
	// SetPatience sets what ClientOptions or MuxOptions say of FirstByte and BetweenBytes, for this exchange. 0: as
	// they say. Before SendHead.
	SetPatience(firstByte, between time.Duration)
}

// patience makes a stream a Patient. Owned by its stream.
type patience struct{ firstByte, between time.Duration }

// SetPatience is the method of Patient.
func (p *patience) SetPatience(firstByte, between time.Duration) { *p = patience{firstByte, between} }

// toFirstByte returns the time to the first byte of the answer, where the options say d.
func (p *patience) toFirstByte(d time.Duration) time.Duration {
	if p.firstByte > 0 { // not cmp.Or, whose loop costs ten times as much
		return p.firstByte
	}
	return orDefault(d)
}

// betweenBytes returns the time between two reads, where the options say d.
func (p *patience) betweenBytes(d time.Duration) time.Duration {
	if p.between > 0 {
		return p.between
	}
	return orDefault(d)
}
