package stream

import "errors"

// Code says why an exchange was reset.
type Code uint8

// The codes of a reset.
const (
	Cancelled      Code = iota // the peer, or the caller of Reset, no longer wants it
	Refused                    // the peer did not process any of it
	ConnectFailed              // there was no connection to send it on
	ConnectTimeout             // there was none, because connecting took too long
	Timeout                    // the peer was silent for too long
	Malformed                  // what the peer sent breaks the protocol
	Truncated                  // the peer ended before its message did
	ConnectionLost             // the connection broke
	Aborted                    // the peer reset it for a reason of its own; not HTTP/1
	NoUpgrade                  // the peer takes no upgrades, and was sent nothing; not HTTP/1
	HeadSize                   // the peer takes no head, or trailers, of that size, and was not sent it; not HTTP/1
	WentAway                   // the peer ended the connection by GOAWAY with an error, maybe about this exchange
)

var codeText = [...]string{
	"cancelled", "refused", "connection failed", "connection timed out", "timed out", "malformed", "truncated",
	"connection lost", "aborted", "no upgrade", "head too large for the peer", "gone away with an error",
}

// String names c.
func (c Code) String() string { return codeText[c] }

// The errors of a Stream.
var (
	ErrDead      = errors.New("stream is over")
	ErrOrder     = errors.New("head, data and end are out of order")
	ErrTooMuch   = errors.New("more body than the head announced")
	ErrTooLittle = errors.New("less body than the head announced")
	ErrHeadSize  = errors.New("head larger than the peer takes")
)
