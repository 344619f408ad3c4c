package h3

import (
	"strconv"

	"github.com/edge-proxy/edge/internal/stream/section"
)

// Code is an error code of streams and connections (RFC 9114 §8.1, RFC 9204 §6).
type Code uint64

// The error codes.
const (
	NoError              Code = 0x100
	GeneralProtocolError Code = 0x101
	InternalError        Code = 0x102
	StreamCreationError  Code = 0x103
	ClosedCriticalStream Code = 0x104
	FrameUnexpected      Code = 0x105
	FrameError           Code = 0x106
	ExcessiveLoad        Code = 0x107
	IDError              Code = 0x108
	SettingsError        Code = 0x109
	MissingSettings      Code = 0x10a
	RequestRejected      Code = 0x10b
	RequestCancelled     Code = 0x10c
	RequestIncomplete    Code = 0x10d
	MessageError         Code = 0x10e
	ConnectError         Code = 0x10f
	VersionFallback      Code = 0x110

	DecompressionFailed Code = 0x200
	EncoderStreamError  Code = 0x201
	DecoderStreamError  Code = 0x202
)

var codeText = [...]string{
	"H3_NO_ERROR", "H3_GENERAL_PROTOCOL_ERROR", "H3_INTERNAL_ERROR", "H3_STREAM_CREATION_ERROR",
	"H3_CLOSED_CRITICAL_STREAM", "H3_FRAME_UNEXPECTED", "H3_FRAME_ERROR", "H3_EXCESSIVE_LOAD", "H3_ID_ERROR",
	"H3_SETTINGS_ERROR", "H3_MISSING_SETTINGS", "H3_REQUEST_REJECTED", "H3_REQUEST_CANCELLED",
	"H3_REQUEST_INCOMPLETE", "H3_MESSAGE_ERROR", "H3_CONNECT_ERROR", "H3_VERSION_FALLBACK",
}

var qpackText = [...]string{
	"QPACK_DECOMPRESSION_FAILED", "QPACK_ENCODER_STREAM_ERROR", "QPACK_DECODER_STREAM_ERROR",
}

// String names c as RFC 9114 and RFC 9204 do.
func (c Code) String() string {
	switch {
	case c-NoError < Code(len(codeText)):
		return codeText[c-NoError]
	case c-DecompressionFailed < Code(len(qpackText)):
		return qpackText[c-DecompressionFailed]
	}
	return "code 0x" + strconv.FormatUint(uint64(c), 16)
}

// Error is a fault of the peer. Code and the text tell faults apart. The few that a caller treats in its own way are
// Err variables of this package: compare with errors.Is or ==. Immutable.
type Error struct {
	Code Code // what the peer is told
	text string
}

// Error says what was wrong.
func (e *Error) Error() string { return "h3: " + e.text }

func fault(code Code, text string) *Error { return &Error{Code: code, text: text} }

// faults are the errors of faults of sections.
var faults = func() (all [section.FaultCount]*Error) {
	for f := section.NoFault + 1; f < section.FaultCount; f++ {
		all[f] = fault(MessageError, f.String())
	}
	return all
}()

// Faults of the connection: CONNECTION_CLOSE, and it is over.
var (
	errStreamCreation  = fault(StreamCreationError, "stream of a type that exists once, or that this end must not open")
	errClosedCritical  = fault(ClosedCriticalStream, "end of a stream that must stay open")
	errMissingSettings = fault(MissingSettings, "the first frame of the control stream is not SETTINGS")
	errFrameUnexpected = fault(FrameUnexpected, "frame that must not come here")
	errFrameCut        = fault(FrameError, "stream that ends within a frame")
	errPayload         = fault(FrameError, "frame with a payload of the wrong size")
	errSetting         = fault(SettingsError, "setting that is reserved, out of range or there twice")
	errPush            = fault(IDError, "push that was not allowed")
	errGoAwayID        = fault(IDError, "GOAWAY with a wrong number, or a higher one than before")
	errPriorityID      = fault(IDError, "PRIORITY_UPDATE of something that can be no request")
	errDecompression   = fault(DecompressionFailed, "field section cannot be decoded")
	errEncoderStream   = fault(EncoderStreamError, "instruction for a dynamic table that has no room")
	errDecoderStream   = fault(DecoderStreamError, "instruction about a dynamic table that is not used")
)

// The reasons for which a connection is over that are no fault of HTTP.
var (
	ErrQUIC   = fault(NoError, "the connection of QUIC is over")
	errClosed = fault(NoError, "closed by our own side")
)

// Abuse: CONNECTION_CLOSE, and it is over. Each has a counter in Stats.
var (
	errRapidReset    = fault(ExcessiveLoad, "too many streams reset by the peer")
	errMadeYouReset  = fault(ExcessiveLoad, "too many streams that had to be reset")
	errHeaderBomb    = fault(ExcessiveLoad, "field section far above the limit")
	errUnknownFlood  = fault(ExcessiveLoad, "too many frames, streams or instructions without effect")
	errPriorityFlood = fault(ExcessiveLoad, "too many PRIORITY_UPDATE")
	errEmptyFlood    = fault(ExcessiveLoad, "too many DATA frames without content")
	errControlSize   = fault(ExcessiveLoad, "frame of the control stream that is too large")
)

// Faults of one stream: it is reset, the others go on. Faults of sections that are answered have names here.
var (
	ErrTargetTooLong  = faults[section.FaultTargetTooLong]
	ErrHeadTooLarge   = faults[section.FaultHeadTooLarge]
	ErrTooManyFields  = faults[section.FaultTooManyFields]
	ErrExpectation    = faults[section.FaultExpectation]
	errLengthMismatch = faults[section.FaultLengthMismatch]
	errManyInterim    = fault(MessageError, "too many interim answers")
	errHeadsInParts   = fault(ExcessiveLoad, "too much of heads that have come in part")
	errNoHead         = fault(MessageError, "stream that ends before the head of the answer")
	errIncomplete     = fault(RequestIncomplete, "stream that ends before the head of the request")
	ErrHeadTimeout    = fault(RequestIncomplete, "head that did not come to its end in time")
	errPeerGoAway     = fault(RequestRejected, "the peer's GOAWAY is below the stream")
	ErrPeerReset      = fault(RequestCancelled, "the peer reset the stream")
)

// sendError is a misuse of our own side, or a state in which it cannot send.
type sendError string

func (e sendError) Error() string { return "h3: " + string(e) }

// The errors of methods that send.
const (
	ErrDead              = sendError("stream is over")
	errOrder             = sendError("head, data and end are out of order")
	ErrNoRoom            = sendError("no room for another stream")
	ErrGoingAway         = sendError("connection takes no new streams")
	errNoExtendedConnect = sendError("the peer takes no extended CONNECT")
	errNotSwitched       = sendError("2xx without a tunnel as the answer to an extended CONNECT")
	errFaulted           = sendError("connection is over")
	ErrListSize          = sendError("larger than SETTINGS_MAX_FIELD_SECTION_SIZE of the peer")
	errUnsettled         = sendError("too large to be sent before the settings of the peer are known")
)
