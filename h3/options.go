package h3

import (
	"math"
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

// Options of a Conn. The zero value is good. Immutable while a Conn uses it. The windows, and how many streams the peer
// may open, are options of QUIC.
type Options struct {
	Arena *Arena // what the connections of one reactor share; nil: one of its own

	MaxStreams  int // client: open at once; default 128
	HeadBytes   int // a head as lines of HTTP/1, and its compressed section; default 32 KiB
	RequestLine int // of a request, as HTTP/1 has it; default 8 KiB
	FieldCount  int // lines of fields; default 100
	FieldBytes  int // one line; default 16 KiB

	HeadTimeout time.Duration // server: for the head of a stream that has begun; default 10 s

	Scheme            string // client: what requests say, "http" or "https"; "": what the head says
	NoExtendedConnect bool   // server: do not offer RFC 9220
}

// Bounds that are not options.
const (
	headerBomb    = 10      // times FieldCount is how many fields a section may have before the connection ends
	joinedMax     = 16      // times HeadBytes is what the sections that have come in part may have together
	maxInterim    = 32      // 1xx answers before the real one
	controlMax    = 1 << 10 // a frame of the control stream
	listUnsettled = 8 << 10 // a head that is sent before the SETTINGS of a server came: the least that is common
	listLeast     = 1 << 10 // of an answer, whatever the client says
	idMax         = 1<<62 - 4
	noGoAway      = math.MaxUint64
	goAwayWait    = int64(time.Second)
	rapidWithin   = int64(250 * time.Millisecond) // a stream that is reset sooner spends budget
)

var defaultOptions Options

func (o *Options) maxStreams() int    { return or(o.MaxStreams, 128) }
func (o *Options) headTimeout() int64 { return int64(or(o.HeadTimeout, 10*time.Second)) }
func (o *Options) limits() section.Limits {
	return section.Limits{
		HeadBytes: min(or(o.HeadBytes, 32<<10), 1<<24), RequestLine: or(o.RequestLine, 8<<10),
		FieldCount: or(o.FieldCount, 100), FieldBytes: or(o.FieldBytes, 16<<10),
		NoExtendedConnect: o.NoExtendedConnect,
	}
}

// listMax is the limit of a section as RFC 9114 §4.2.2 counts it: a line has four bytes more than name and value, there
// 32.
func listMax(l *section.Limits) int { return l.HeadBytes + 32*l.FieldCount }

func or[T int | time.Duration](v, otherwise T) T {
	if v != 0 {
		return v
	}
	return otherwise
}
