package quic

import (
	"crypto/rand"
	"encoding/binary"
	"net/netip"
	"time"
)

// Role says which end of the connection a Conn is.
type Role uint8

// The roles.
const (
	Server Role = iota
	Client
)

// Level is the encryption level of packets and of bytes of the handshake (RFC 9001 §4).
type Level uint8

// The levels. There is none of 0-RTT, which is not used.
const (
	Initial Level = iota
	Handshake
	OneRTT

	levels = 3
)

var levelPackets = [levels]PacketKind{InitialPacket, HandshakePacket, OneRTTPacket}

// Path is the two addresses between which datagrams travel.
type Path struct {
	Local netip.Addr
	Peer  netip.AddrPort
}

// Options of a Conn. NewID is needed; the zero value of all else is good. Immutable while a Conn uses it.
type Options struct {
	Arena *Arena // of the reactor; nil: one of its own
	// NewID makes a connection id of IDLen octets by which the peer reaches this Conn, and the token of its stateless
	// reset. Each call gives another id.
	NewID func() (id ID, token [16]byte)
	// Random returns a number that no peer can predict from those before, as rand.ChaCha8 does: the peer sees it, in
	// PATH_CHALLENGE (RFC 9000 §8.2.1) and by the packet numbers that are left out (§21.4). Nil: crypto/rand.
	Random func() uint64
	// Retried is for a server whose client has brought back the token of a Retry: the id for the server in the Initial
	// that the Retry answered. Zero: there was no Retry.
	Retried ID

	Streams         int // two-way streams that the peer may have open; default 128, < 0: none
	OneWayStreams   int // default 8, < 0: none
	StreamWindow    int // bytes that a stream may send before it is read; default 64 KiB
	StreamWindowMax int // it grows up to this while what it brings is drained fast; default 512 KiB
	Budget          int // bytes of all streams that may be owed at once; default 2 MiB
	SendMax         int // bytes that are kept until they are acknowledged; default 4 MiB

	IdleTimeout      time.Duration // without a packet of the peer; default 60 s
	HandshakeTimeout time.Duration // until the handshake is confirmed; default 10 s
}

// DatagramSize is the length of a full datagram that every path takes (RFC 9000 §14), and DatagramMax the
// length of the longest datagram that is ever sent.
const (
	DatagramSize = payloadLeast
	DatagramMax  = mostIPv4
)

// Bounds that are not options.
const (
	ackDelay     = int64(ackDelayDefault * 1e6)  // RFC 9000 §13.2.1: how late an acknowledgement may be, ns
	answerWait   = int64(10 * time.Millisecond)  // a server computes its flight so long, and acknowledges in it
	growWithin   = int64(250 * time.Millisecond) // a window drained faster than this doubles
	heldLeast    = 128 << 10                     // bytes that are kept for the peer, however small the window
	helloMax     = 16 << 10                      // bytes of the handshake on a level
	tokenMax     = DatagramSize / 2              // of a Retry: an Initial needs room for CRYPTO beside it
	earlyMax     = 10                            // packets that wait for keys, each DatagramMax at most: CVE-2025-59530
	idsKept      = 4                             // connection ids of each end
	retiredMax   = 12                            // RETIRE_CONNECTION_ID that are not acknowledged: CVE-2024-22189
	packetLost   = 3                             // RFC 9002 §6.1.1: kPacketThreshold
	ackEvery     = 2                             // packets that ask for it
	probesOfPTO  = 2                             // RFC 9002 §6.2.4
	ptoBackoff   = 16                            // doublings at most: more than an hour
	skipMean     = 256                           // a number in so many is left out, against optimistic ACKs
	closingPTOs  = 3                             // RFC 9000 §10.2
	idleLeastPTO = 3                             // RFC 9000 §10.1
	idleLeastMax = int64(30 * time.Second)       // bounds 3 PTO: late acknowledgements stretch them without end
	closingMax   = int64(10 * time.Second)       // the same of a connection that is over
	streamTypes  = 4                             // by initiator and direction
)

var defaultOptions Options

func (o *Options) streams() int         { return max(or(o.Streams, 128), 0) }
func (o *Options) oneWayStreams() int   { return max(or(o.OneWayStreams, 8), 0) }
func (o *Options) streamWindow() int    { return or(o.StreamWindow, 64<<10) }
func (o *Options) streamWindowMax() int { return max(or(o.StreamWindowMax, 512<<10), o.streamWindow()) }
func (o *Options) budget() int          { return or(o.Budget, 2<<20) }
func (o *Options) sendMax() int         { return or(o.SendMax, 4<<20) }
func (o *Options) idle() int64          { return orTime(o.IdleTimeout, time.Minute) }
func (o *Options) handshake() int64     { return orTime(o.HandshakeTimeout, 10*time.Second) }

// random returns 64 bits for one use.
func (o *Options) random() uint64 {
	if o.Random != nil {
		return o.Random()
	}
	var b [8]byte
	rand.Read(b[:]) //nolint:errcheck // never fails
	return binary.LittleEndian.Uint64(b[:])
}

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

// heldMax is how many bytes are kept at most until they are acknowledged, with a window of congestion.
func (o *Options) heldMax(window int) int64 {
	return min(max(heldLeast, 2*int64(window)), int64(o.sendMax()))
}
