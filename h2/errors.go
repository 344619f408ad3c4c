package h2

import (
	"strconv"

	"github.com/edge-proxy/edge/internal/stream/section"
)

// Code is an error code of RST_STREAM and GOAWAY (RFC 9113 §7).
type Code uint32

// The error codes.
const (
	NoError            Code = 0x0
	ProtocolError      Code = 0x1
	InternalError      Code = 0x2
	FlowControlError   Code = 0x3
	SettingsTimeout    Code = 0x4
	StreamClosed       Code = 0x5
	FrameSizeError     Code = 0x6
	RefusedStream      Code = 0x7
	Cancel             Code = 0x8
	CompressionError   Code = 0x9
	ConnectError       Code = 0xa
	EnhanceYourCalm    Code = 0xb
	InadequateSecurity Code = 0xc
	HTTP11Required     Code = 0xd
)

var codeText = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String names c as RFC 9113 does.
func (c Code) String() string {
	if int(c) < len(codeText) {
		return codeText[c]
	}
	return "code " + strconv.Itoa(int(c))
}

// Error is a fault of the peer. Code and the text tell faults apart. The few that a caller treats in its own way are
// Err variables of this package: compare with errors.Is or ==. Immutable.
type Error struct {
	Code Code // what the peer is told
	text string
}

// Error says what was wrong.
func (e *Error) Error() string { return "h2: " + e.text }

func fault(code Code, text string) *Error { return &Error{Code: code, text: text} }

// faults are the errors of faults of sections.
var faults = func() (all [section.FaultCount]*Error) {
	for f := section.NoFault + 1; f < section.FaultCount; f++ {
		all[f] = fault(ProtocolError, f.String())
	}
	for f := section.FaultTargetTooLong; f <= section.FaultTooManyFields; f++ { // limits
		all[f].Code = EnhanceYourCalm
	}
	return all
}()

// Faults of the connection: GOAWAY, and it is over.
var (
	errPreface        = fault(ProtocolError, "the connection does not begin with the preface")
	errFirstFrame     = fault(ProtocolError, "the first frame is not SETTINGS")
	errFrameSize      = fault(FrameSizeError, "frame larger than allowed")
	errPayloadSize    = fault(FrameSizeError, "frame with a payload of the wrong size")
	errStreamZero     = fault(ProtocolError, "frame of a stream on stream 0")
	errNotStreamZero  = fault(ProtocolError, "frame of the connection on a stream")
	errPadding        = fault(ProtocolError, "padding longer than the payload")
	errIdleStream     = fault(ProtocolError, "frame on an idle stream")
	errStreamID       = fault(ProtocolError, "stream number of the wrong side or not above the last")
	errAfterEnd       = fault(StreamClosed, "frame on a stream that the peer has ended")
	errContinuation   = fault(ProtocolError, "CONTINUATION expected, or not")
	errPush           = fault(ProtocolError, "PUSH_PROMISE although push is off")
	errSettingValue   = fault(ProtocolError, "setting out of range")
	errWindowSetting  = fault(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
	errSettingsLength = fault(FrameSizeError, "SETTINGS whose length is no multiple of 6, or ACK with a payload")
	errStrayAck       = fault(ProtocolError, "SETTINGS ACK that acknowledges nothing")
	errWindow         = fault(FlowControlError, "more data than the window allows")
	errWindowOverflow = fault(FlowControlError, "window above 2^31-1")
	errWindowZero     = fault(ProtocolError, "WINDOW_UPDATE by 0")
	errCompression    = fault(CompressionError, "header block cannot be decoded")
	errGoAwayGrew     = fault(ProtocolError, "GOAWAY with a higher last stream than before")
	errNoAck          = fault(SettingsTimeout, "SETTINGS were not acknowledged")
	ErrStalledConn    = fault(EnhanceYourCalm, "the peer opened no window of the connection for too long")
	ErrNoPong         = fault(NoError, "PING was not answered")
	ErrHeadTimeout    = fault(ProtocolError, "header block did not come to its end in time")
)

var errClosed = fault(NoError, "closed by our own side")

// Abuse: GOAWAY with ENHANCE_YOUR_CALM, and it is over. Each has a counter in Stats.
var (
	errRapidReset        = fault(EnhanceYourCalm, "too many streams reset by the peer")
	errMadeYouReset      = fault(EnhanceYourCalm, "too many streams that had to be reset")
	errContinuationFlood = fault(EnhanceYourCalm, "too many or too large CONTINUATION frames")
	errHeaderBomb        = fault(EnhanceYourCalm, "header list far above the limit")
	errSettingsFlood     = fault(EnhanceYourCalm, "too many SETTINGS")
	errPingFlood         = fault(EnhanceYourCalm, "too many PING")
	errPriorityFlood     = fault(EnhanceYourCalm, "too many PRIORITY or PRIORITY_UPDATE")
	errEmptyFrameFlood   = fault(EnhanceYourCalm, "too many frames without content")
	errWindowUpdateFlood = fault(EnhanceYourCalm, "too many WINDOW_UPDATE")
	errTinyWindow        = fault(EnhanceYourCalm, "window opened byte by byte")
	errStrayFlood        = fault(EnhanceYourCalm, "too many frames on closed streams")
)

// Faults of one stream: RST_STREAM, the others go on. Faults of sections that are answered have names here.
var (
	errLengthMismatch   = faults[section.FaultLengthMismatch]
	ErrExpectation      = faults[section.FaultExpectation]
	errTunnelHeaders    = fault(ProtocolError, "HEADERS on the stream of a tunnel")
	errTrailersNoEnd    = fault(ProtocolError, "trailers that do not end the stream")
	errManyInterim      = fault(EnhanceYourCalm, "too many interim answers")
	errDataFirst        = fault(ProtocolError, "data before the head")
	ErrTargetTooLong    = faults[section.FaultTargetTooLong]
	ErrHeadTooLarge     = faults[section.FaultHeadTooLarge]
	ErrTooManyFields    = faults[section.FaultTooManyFields]
	errHalfClosed       = fault(StreamClosed, "frame on a stream that the peer has ended")
	errStreamClosed     = fault(StreamClosed, "frame on a closed stream")
	errStreamWindow     = fault(FlowControlError, "more data than the window of the stream allows")
	errStreamOverflow   = fault(FlowControlError, "window of the stream above 2^31-1")
	errStreamWindowZero = fault(ProtocolError, "WINDOW_UPDATE of a stream by 0")
	errSelfDependency   = fault(ProtocolError, "stream depends on itself")
	errPrioritySize     = fault(FrameSizeError, "PRIORITY that is not 5 bytes long")
	errTooManyStreams   = fault(RefusedStream, "more streams than allowed")
	ErrStalledPeer      = fault(Cancel, "the peer opened no window for too long")
	ErrStalledReader    = fault(Cancel, "nothing of the stream was read while others needed the room")
	ErrPeerGoAway       = fault(RefusedStream, "the peer's GOAWAY is below the stream")
	ErrPeerReset        = fault(Cancel, "the peer reset the stream")
)

// sendError is a misuse of our own side, or a state in which it cannot send.
type sendError string

func (e sendError) Error() string { return "h2: " + string(e) }

// The errors of methods that send.
const (
	errDead              = sendError("stream is over")
	errOrder             = sendError("head, data and end are out of order")
	ErrNoRoom            = sendError("no room for another stream")
	ErrGoingAway         = sendError("connection takes no new streams")
	ErrNoExtendedConnect = sendError("the peer takes no extended CONNECT")
	errNotSwitched       = sendError("2xx without a tunnel as the answer to an extended CONNECT")
	errFaulted           = sendError("connection is over")
	ErrListSize          = sendError("larger than SETTINGS_MAX_HEADER_LIST_SIZE of the peer")
	ErrUnsettled         = sendError("too large to be sent before the settings of the peer are known")
)
