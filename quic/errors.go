package quic

import (
	"errors"
	"strconv"
)

// Code is an error code of CONNECTION_CLOSE of the transport (RFC 9000 §20.1).
type Code uint64

// The error codes.
const (
	NoError                 Code = 0x0
	InternalError           Code = 0x1
	ConnectionRefused       Code = 0x2
	FlowControlError        Code = 0x3
	StreamLimitError        Code = 0x4
	StreamStateError        Code = 0x5
	FinalSizeError          Code = 0x6
	FrameEncodingError      Code = 0x7
	TransportParameterError Code = 0x8
	ConnectionIDLimitError  Code = 0x9
	ProtocolViolation       Code = 0xa
	InvalidToken            Code = 0xb
	ApplicationError        Code = 0xc
	CryptoBufferExceeded    Code = 0xd
	KeyUpdateError          Code = 0xe
	AEADLimitReached        Code = 0xf
	NoViablePath            Code = 0x10

	cryptoError Code = 0x100 // and an alert of TLS
)

var codeText = [...]string{
	"NO_ERROR", "INTERNAL_ERROR", "CONNECTION_REFUSED", "FLOW_CONTROL_ERROR", "STREAM_LIMIT_ERROR",
	"STREAM_STATE_ERROR", "FINAL_SIZE_ERROR", "FRAME_ENCODING_ERROR", "TRANSPORT_PARAMETER_ERROR",
	"CONNECTION_ID_LIMIT_ERROR", "PROTOCOL_VIOLATION", "INVALID_TOKEN", "APPLICATION_ERROR",
	"CRYPTO_BUFFER_EXCEEDED", "KEY_UPDATE_ERROR", "AEAD_LIMIT_REACHED", "NO_VIABLE_PATH",
}

// CryptoError is the code of a handshake that failed with an alert of TLS.
func CryptoError(alert uint8) Code { return cryptoError + Code(alert) }

// String names c as RFC 9000 does.
func (c Code) String() string {
	switch {
	case c < Code(len(codeText)):
		return codeText[c]
	case c >= cryptoError && c <= cryptoError+0xff:
		return "CRYPTO_ERROR with alert " + strconv.Itoa(int(c-cryptoError))
	}
	return "code 0x" + strconv.FormatUint(uint64(c), 16)
}

// Error is a fault of the peer, for which the connection ends. The values are variables of this package. Immutable.
type Error struct {
	Code Code // what the peer is told
	text string
}

// Error says what was wrong.
func (e *Error) Error() string { return "quic: " + e.text }

func fault(code Code, text string) *Error { return &Error{Code: code, text: text} }

// Faults of frames.
var (
	errFrameCut       = fault(FrameEncodingError, "frame is cut off")
	errFrameUnknown   = fault(FrameEncodingError, "frame of an unknown type")
	errFrameTypeLong  = fault(ProtocolViolation, "frame type that is not in its shortest form")
	errFrameForbidden = fault(ProtocolViolation, "frame that packets of this kind, or of this end, must not have")
	errNoFrames       = fault(ProtocolViolation, "packet without frames")
	errReserved       = fault(ProtocolViolation, "packet with reserved bits")
	errAckRange       = fault(FrameEncodingError, "ACK with a range below number 0")
	errOffset         = fault(FrameEncodingError, "data beyond offset 2^62-1")
	errStreamCount    = fault(FrameEncodingError, "number of streams above 2^60")
	errNewToken       = fault(FrameEncodingError, "NEW_TOKEN without a token")
	errNewID          = fault(FrameEncodingError, "NEW_CONNECTION_ID with a wrong length or a wrong Retire Prior To")
)

// Faults of transport parameters.
var (
	errParameter          = fault(TransportParameterError, "malformed transport parameter")
	errParameterTwice     = fault(TransportParameterError, "transport parameter twice")
	errParameterForbidden = fault(TransportParameterError, "transport parameter that a client must not send")
	errParameterID        = fault(TransportParameterError, "connection ids of the handshake are not confirmed")
)

// Faults of what frames say.
var (
	errAckUnsent    = fault(ProtocolViolation, "ACK of a packet that was not sent")
	errData         = fault(FlowControlError, "more data than allowed")
	errStreamLimit  = fault(StreamLimitError, "more streams than allowed")
	errStreamState  = fault(StreamStateError, "frame of a stream that does not exist, or of the wrong direction")
	errHello        = fault(CryptoBufferExceeded, "more bytes of the handshake than are taken")
	errIDLimit      = fault(ConnectionIDLimitError, "more connection ids than allowed")
	errIDChanged    = fault(ProtocolViolation, "connection id that differs from the one of its number")
	errIDEmpty      = fault(ProtocolViolation, "connection id of a peer whose first one has no octets")
	errRetire       = fault(ProtocolViolation, "retirement of a connection id that does not exist, or is in use")
	errRetireFlood  = fault(ProtocolViolation, "too many retired connection ids")
	errSuite        = fault(InternalError, "unknown cipher suite")
	errKeyUpdate    = fault(KeyUpdateError, "key update before the handshake was complete")
	errSealLimit    = fault(AEADLimitReached, "keys were used too often")
	errEarlyDone    = fault(ProtocolViolation, "HANDSHAKE_DONE before the handshake is done")
	errNoParameters = fault(CryptoError(109), "handshake without transport parameters")
)

// Faults of data.
var (
	errFinalSize  = fault(FinalSizeError, "final size that changes, or data beyond it")
	errGaps       = fault(InternalError, "too many gaps in the data of a stream")
	errCryptoGaps = fault(CryptoBufferExceeded, "too many gaps in the data of the handshake")
)

// Abuse.
var (
	errIdleFrames = fault(ProtocolViolation, "too many frames without effect")
	errKeyUpdates = fault(KeyUpdateError, "too many key updates")
)

// The reasons for which a connection ends that are no fault of the peer.
var (
	ErrIdle             = errors.New("quic: nothing came for too long")
	ErrHandshakeTimeout = errors.New("quic: the handshake took too long")
	ErrReset            = errors.New("quic: stateless reset by the peer")
	ErrPeer             = errors.New("quic: closed by the peer")
	ErrVersion          = errors.New("quic: the peer does not speak version 1")
)

// The errors of methods.
var (
	ErrNoRoom = errors.New("quic: the peer allows no more streams")
	ErrOver   = errors.New("quic: the connection is over")
)
