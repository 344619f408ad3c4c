package h2

import (
	"time"

	"github.com/edge-proxy/edge/internal/stream/section"
)

// Role says which end of the connection a Conn is.
type Role uint8

// The roles.
const (
	Server Role = iota
	Client
)

// Options of a Conn. The zero value is good. Immutable while a Conn uses it.
type Options struct {
	Arena *Arena // what the connections of one reactor share; nil: one of its own

	MaxStreams  int // open at once: by the peer of a server, by a client; default 128
	HeadBytes   int // a head as lines of HTTP/1, and its compressed block; default 32 KiB
	RequestLine int // of a request, as HTTP/1 has it; default 8 KiB
	FieldCount  int // lines of fields; default 100
	FieldBytes  int // one line; default 16 KiB
	HeaderTable int // HPACK table, ours and what we use of the peer's; default 4096, < 0: none

	StreamWindow    int // receive window a stream begins with; default 64 KiB - 1
	StreamWindowMax int // it grows up to this while what it brings is drained fast; default 512 KiB
	// Budget is how many bytes of all streams may be owed at once: the connection window. Default 2 MiB, which Widen
	// doubles up to twice what all streams begin with, if need be.
	Budget int

	SettingsTimeout time.Duration // for the peer's ACK; default 10 s
	HeadTimeout     time.Duration // for the end of a header block that has begun; default 10 s
	StallTimeout    time.Duration // for a stream that waits for window; default 60 s
	ReadStall       time.Duration // a stream of which nothing was released for so long may be reset under pressure; 2 s
	PingInterval    time.Duration // silence after which the peer is asked whether it lives; 0: never
	PingTimeout     time.Duration // for its answer; default 10 s
	LingerTime      time.Duration // for the rest of a request that is answered; default 10 s

	Scheme            string // client: what requests say, "http" or "https"; "": what the head says
	NoExtendedConnect bool   // server: do not offer RFC 8441
}

// Bounds that are not options.
const (
	maxContinuations = 8        // CONTINUATION flood, CVE-2024-24549 and kin; more for large heads: see partsMax
	maxInterim       = 32       // 1xx answers before the real one
	maxSettings      = 64       // settings in one frame
	maxFrame         = 16 << 10 // what we let the peer send: the default, nothing is announced
	maxFrameSent     = 64 << 10 // however much more the peer takes
	windowMax        = 1<<31 - 1
	idMax            = 1<<31 - 1
	defaultWindow    = 65535   // RFC 9113 §6.9.2
	listUnsettled    = 8 << 10 // a head that is sent before the SETTINGS of a server came: the least that is common
	listLeast        = 1 << 10 // of an answer, whatever the client says
	goAwayWait       = int64(time.Second)
	growWithin       = int64(250 * time.Millisecond) // a window drained faster than this doubles
)

var defaultOptions Options

func (o *Options) maxStreams() int { return or(o.MaxStreams, 128) }
func (o *Options) headBytes() int  { return min(or(o.HeadBytes, 32<<10), 1<<24) }

// partsMax is how many CONTINUATION frames a block may have: twice as many as the largest head needs. Conn.blockNum
// counts them in 8 bits.
func (o *Options) partsMax() int { return min(max(maxContinuations, 2*o.headBytes()/maxFrame), 1<<8-2) }

func (o *Options) headerTable() int  { return max(or(o.HeaderTable, 4096), 0) }
func (o *Options) streamWindow() int { return min(or(o.StreamWindow, defaultWindow), windowMax) }
func (o *Options) streamWindowMax() int {
	return min(max(or(o.StreamWindowMax, 512<<10), o.streamWindow()), windowMax)
}
func (o *Options) limits() section.Limits {
	return section.Limits{
		HeadBytes: o.headBytes(), RequestLine: or(o.RequestLine, 8<<10),
		FieldCount: or(o.FieldCount, 100), FieldBytes: or(o.FieldBytes, 16<<10),
		NoExtendedConnect: o.NoExtendedConnect,
	}
}
func (o *Options) budget() int { return min(max(or(o.Budget, 2<<20), defaultWindow), windowMax) }

// budgetMax is how far Widen goes: more than the window and what all streams can bring together, see grownMax. A
// budget that is set is not widened.
func (o *Options) budgetMax() int {
	if o.Budget != 0 {
		return o.budget()
	}
	return min(max(2*o.maxStreams()*o.streamWindow(), o.budget()), windowMax)
}

// grownMax is by how much the windows of all streams may grow, together: half of what they begin with where Budget is
// not set.
func (o *Options) grownMax() int { return o.budgetMax() / 4 }

func (o *Options) settingsTimeout() int64 { return orTime(o.SettingsTimeout, 10*time.Second) }
func (o *Options) headTimeout() int64     { return orTime(o.HeadTimeout, 10*time.Second) }
func (o *Options) stallTimeout() int64    { return orTime(o.StallTimeout, 60*time.Second) }
func (o *Options) readStall() int64       { return orTime(o.ReadStall, 2*time.Second) }
func (o *Options) pingTimeout() int64     { return orTime(o.PingTimeout, 10*time.Second) }
func (o *Options) lingerTime() int64      { return orTime(o.LingerTime, 10*time.Second) }

func or(v, otherwise int) int {
	if v != 0 {
		return v
	}
	return otherwise
}

func orTime(v, otherwise time.Duration) int64 {
	if v > 0 {
		return int64(v)
	}
	return int64(otherwise)
}
