package session

import "github.com/edge-proxy/edge/internal/stream"

// The contract of all versions of HTTP, of package stream.
type (
	Stream        = stream.Stream        // the sending half of an exchange
	NopStream     = stream.NopStream     // takes everything, to be embedded
	Receiver      = stream.Receiver      // receives the peer's message
	Service       = stream.Service       // makes receivers for requests
	TunnelDrainer = stream.TunnelDrainer // sends something when its tunnel ends
	Unhurried     = stream.Unhurried     // without a least rate
	Patient       = stream.Patient       // with times of its own
	Discarder     = stream.Discarder     // whose answer can be given up
	Code          = stream.Code          // why an exchange was reset
)

// The codes of a reset.
const (
	Cancelled      = stream.Cancelled
	Refused        = stream.Refused
	ConnectFailed  = stream.ConnectFailed
	ConnectTimeout = stream.ConnectTimeout
	Timeout        = stream.Timeout
	Malformed      = stream.Malformed
	Truncated      = stream.Truncated
	ConnectionLost = stream.ConnectionLost
	Aborted        = stream.Aborted
	NoUpgrade      = stream.NoUpgrade
	HeadSize       = stream.HeadSize
	WentAway       = stream.WentAway
)

// The errors of a Stream.
var (
	ErrDead     = stream.ErrDead
	ErrOrder    = stream.ErrOrder
	ErrHeadSize = stream.ErrHeadSize
	ErrSlowBody = stream.ErrSlowBody
)

// eventsPerBatch is how many events of a connection are worked on before other connections have a turn. Bytes are
// no measure for it: 256 KiB may be 16 pieces of a body or 20 000 requests that are answered here.
const eventsPerBatch = 128
