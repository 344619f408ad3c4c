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

// Error is a fault of the peer. The values are the Err variables of this package, and errors of malformed sections:
// compare with errors.Is or ==. Immutable.
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
	ErrPreface        = fault(ProtocolError, "the connection does not begin with the preface")
	ErrFirstFrame     = fault(ProtocolError, "the first frame is not SETTINGS")
	ErrFrameSize      = fault(FrameSizeError, "frame larger than allowed")
	ErrPayloadSize    = fault(FrameSizeError, "frame with a payload of the wrong size")
	ErrStreamZero     = fault(ProtocolError, "frame of a stream on stream 0")
	ErrNotStreamZero  = fault(ProtocolError, "frame of the connection on a stream")
	ErrPadding        = fault(ProtocolError, "padding longer than the payload")
	ErrIdleStream     = fault(ProtocolError, "frame on an idle stream")
	ErrStreamID       = fault(ProtocolError, "stream number of the wrong side or not above the last")
	ErrAfterEnd       = fault(StreamClosed, "frame on a stream that the peer has ended")
	ErrContinuation   = fault(ProtocolError, "CONTINUATION expected, or not")
	ErrPush           = fault(ProtocolError, "PUSH_PROMISE although push is off")
	ErrSettingValue   = fault(ProtocolError, "setting out of range")
	ErrWindowSetting  = fault(FlowControlError, "SETTINGS_INITIAL_WINDOW_SIZE above 2^31-1")
	ErrSettingsLength = fault(FrameSizeError, "SETTINGS whose length is no multiple of 6, or ACK with a payload")
	ErrStrayAck       = fault(ProtocolError, "SETTINGS ACK that acknowledges nothing")
	ErrWindow         = fault(FlowControlError, "more data than the window allows")
	ErrWindowOverflow = fault(FlowControlError, "window above 2^31-1")
	ErrWindowZero     = fault(ProtocolError, "WINDOW_UPDATE by 0")
	ErrCompression    = fault(CompressionError, "header block cannot be decoded")
	ErrGoAwayGrew     = fault(ProtocolError, "GOAWAY with a higher last stream than before")
	ErrNoAck          = fault(SettingsTimeout, "SETTINGS were not acknowledged")
	ErrStalledConn    = fault(EnhanceYourCalm, "the peer opened no window of the connection for too long")
	ErrNoPong         = fault(NoError, "PING was not answered")
	ErrHeadTimeout    = fault(ProtocolError, "header block did not come to its end in time")
)

var errClosed = fault(NoError, "closed by our own side")

// Abuse: GOAWAY with ENHANCE_YOUR_CALM, and it is over. Each has a counter in Stats.
var (
	ErrRapidReset        = fault(EnhanceYourCalm, "too many streams reset by the peer")
	ErrMadeYouReset      = fault(EnhanceYourCalm, "too many streams that had to be reset")
	ErrContinuationFlood = fault(EnhanceYourCalm, "too many or too large CONTINUATION frames")
	ErrHeaderBomb        = fault(EnhanceYourCalm, "header list far above the limit")
	ErrSettingsFlood     = fault(EnhanceYourCalm, "too many SETTINGS")
	ErrPingFlood         = fault(EnhanceYourCalm, "too many PING")
	ErrPriorityFlood     = fault(EnhanceYourCalm, "too many PRIORITY or PRIORITY_UPDATE")
	ErrEmptyFrameFlood   = fault(EnhanceYourCalm, "too many frames without content")
	ErrWindowUpdateFlood = fault(EnhanceYourCalm, "too many WINDOW_UPDATE")
	ErrTinyWindow        = fault(EnhanceYourCalm, "window opened byte by byte")
	ErrStrayFlood        = fault(EnhanceYourCalm, "too many frames on closed streams")
)

// Faults of one stream: RST_STREAM, the others go on. Faults of sections that are answered have names here.
var (
	ErrLengthMismatch   = faults[section.FaultLengthMismatch]
	ErrExpectation      = faults[section.FaultExpectation]
	ErrTunnelHeaders    = fault(ProtocolError, "HEADERS on the stream of a tunnel")
	ErrTrailersNoEnd    = fault(ProtocolError, "trailers that do not end the stream")
	ErrManyInterim      = fault(EnhanceYourCalm, "too many interim answers")
	ErrDataFirst        = fault(ProtocolError, "data before the head")
	ErrTargetTooLong    = faults[section.FaultTargetTooLong]
	ErrHeadTooLarge     = faults[section.FaultHeadTooLarge]
	ErrTooManyFields    = faults[section.FaultTooManyFields]
	ErrHalfClosed       = fault(StreamClosed, "frame on a stream that the peer has ended")
	ErrClosed           = fault(StreamClosed, "frame on a closed stream")
	ErrStreamWindow     = fault(FlowControlError, "more data than the window of the stream allows")
	ErrStreamOverflow   = fault(FlowControlError, "window of the stream above 2^31-1")
	ErrStreamWindowZero = fault(ProtocolError, "WINDOW_UPDATE of a stream by 0")
	ErrSelfDependency   = fault(ProtocolError, "stream depends on itself")
	ErrPrioritySize     = fault(FrameSizeError, "PRIORITY that is not 5 bytes long")
	ErrTooManyStreams   = fault(RefusedStream, "more streams than allowed")
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
	ErrDead              = sendError("stream is over")
	ErrOrder             = sendError("head, data and end are out of order")
	ErrNoRoom            = sendError("no room for another stream")
	ErrGoingAway         = sendError("connection takes no new streams")
	ErrNoExtendedConnect = sendError("the peer takes no extended CONNECT")
	ErrNotSwitched       = sendError("2xx without a tunnel as the answer to an extended CONNECT")
	ErrFaulted           = sendError("connection is over")
	ErrListSize          = sendError("larger than SETTINGS_MAX_HEADER_LIST_SIZE of the peer")
	ErrUnsettled         = sendError("too large to be sent before the settings of the peer are known")
)
