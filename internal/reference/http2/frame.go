package http2

import (
	"fmt"

	"github.com/edge-proxy/edge/internal/reference/hpack"
)

// ClientPreface is what a client sends first.
const ClientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// FrameType is the type of a frame (RFC 9113 §6).
type FrameType uint8

// The types of frames.
const (
	FrameData FrameType = iota
	FrameHeaders
	FramePriority
	FrameRSTStream
	FrameSettings
	FramePushPromise
	FramePing
	FrameGoAway
	FrameWindowUpdate
	FrameContinuation
)

var typeNames = [...]string{
	"DATA", "HEADERS", "PRIORITY", "RST_STREAM", "SETTINGS", "PUSH_PROMISE", "PING", "GOAWAY", "WINDOW_UPDATE",
	"CONTINUATION",
}

// String returns the name of RFC 9113.
func (t FrameType) String() string {
	if int(t) < len(typeNames) {
		return typeNames[t]
	}
	return fmt.Sprintf("UNKNOWN_FRAME_TYPE_%d", uint8(t))
}

// Flags are the flags of a frame.
type Flags uint8

// Has reports whether all of v are set.
func (f Flags) Has(v Flags) bool { return f&v == v }

// The flags of frames.
const (
	FlagDataEndStream     Flags = 0x1
	FlagDataPadded        Flags = 0x8
	FlagHeadersEndStream  Flags = 0x1
	FlagHeadersEndHeaders Flags = 0x4
	FlagHeadersPadded     Flags = 0x8
	FlagHeadersPriority   Flags = 0x20
	FlagSettingsAck       Flags = 0x1
	FlagPingAck           Flags = 0x1
)

// ErrCode is an error code (RFC 9113 §7).
type ErrCode uint32

// The error codes.
const (
	ErrCodeNo ErrCode = iota
	ErrCodeProtocol
	ErrCodeInternal
	ErrCodeFlowControl
	ErrCodeSettingsTimeout
	ErrCodeStreamClosed
	ErrCodeFrameSize
	ErrCodeRefusedStream
	ErrCodeCancel
	ErrCodeCompression
	ErrCodeConnect
	ErrCodeEnhanceYourCalm
	ErrCodeInadequateSecurity
	ErrCodeHTTP11Required
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the name of RFC 9113.
func (c ErrCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("unknown error code 0x%x", uint32(c))
}

// ConnectionError says that a frame must end its connection.
type ConnectionError ErrCode

// Error names the code.
func (e ConnectionError) Error() string { return "connection error: " + ErrCode(e).String() }

// SettingID is the number of a setting (RFC 9113 §6.5.2).
type SettingID uint16

// The settings.
const (
	SettingHeaderTableSize SettingID = iota + 1
	SettingEnablePush
	SettingMaxConcurrentStreams
	SettingInitialWindowSize
	SettingMaxFrameSize
	SettingMaxHeaderListSize
)

// Setting is a setting with its value.
type Setting struct {
	ID  SettingID
	Val uint32
}

// PriorityParam is what RFC 7540 called priority.
type PriorityParam struct {
	StreamDep uint32
	Exclusive bool
	Weight    uint8 // less one
}

// Frame is one that was read.
type Frame interface {
	// Header returns the head.
	Header() FrameHeader
}

// FrameHeader is the head of every frame.
type FrameHeader struct {
	Type     FrameType
	Flags    Flags
	Length   uint32
	StreamID uint32
}

// Header returns h.
func (h FrameHeader) Header() FrameHeader { return h }

// The frames that ReadFrame returns.
type (
	// DataFrame is DATA.
	DataFrame struct {
		FrameHeader
		data []byte
	}
	// HeadersFrame is HEADERS.
	HeadersFrame struct {
		FrameHeader
		Priority PriorityParam
		block    []byte
	}
	// MetaHeadersFrame is HEADERS with the CONTINUATION frames after it, decoded.
	MetaHeadersFrame struct {
		*HeadersFrame
		Fields []hpack.HeaderField
	}
	// PriorityFrame is PRIORITY.
	PriorityFrame struct {
		FrameHeader
		PriorityParam
	}
	// RSTStreamFrame is RST_STREAM.
	RSTStreamFrame struct {
		FrameHeader
		ErrCode ErrCode
	}
	// SettingsFrame is SETTINGS.
	SettingsFrame struct {
		FrameHeader
		settings []Setting
	}
	// PushPromiseFrame is PUSH_PROMISE.
	PushPromiseFrame struct{ FrameHeader }
	// PingFrame is PING.
	PingFrame struct {
		FrameHeader
		Data [8]byte
	}
	// GoAwayFrame is GOAWAY.
	GoAwayFrame struct {
		FrameHeader
		LastStreamID uint32
		ErrCode      ErrCode
		debug        []byte
	}
	// WindowUpdateFrame is WINDOW_UPDATE.
	WindowUpdateFrame struct {
		FrameHeader
		Increment uint32
	}
	// ContinuationFrame is CONTINUATION.
	ContinuationFrame struct {
		FrameHeader
		block []byte
	}
	// UnknownFrame is of another type.
	UnknownFrame struct{ FrameHeader }
)

// Data returns the bytes without the padding.
func (f *DataFrame) Data() []byte { return f.data }

// StreamEnded reports whether f ends its stream.
func (f *DataFrame) StreamEnded() bool { return f.Flags.Has(FlagDataEndStream) }

// HeaderBlockFragment returns the part of the header block.
func (f *HeadersFrame) HeaderBlockFragment() []byte { return f.block }

// HeadersEnded reports whether no CONTINUATION follows.
func (f *HeadersFrame) HeadersEnded() bool { return f.Flags.Has(FlagHeadersEndHeaders) }

// StreamEnded reports whether f ends its stream.
func (f *HeadersFrame) StreamEnded() bool { return f.Flags.Has(FlagHeadersEndStream) }

// PseudoValue returns the value of the pseudo-field with the name, which is without its colon, or "".
func (f *MetaHeadersFrame) PseudoValue(name string) string {
	for _, field := range f.Fields {
		if field.Name == ":"+name {
			return field.Value
		}
	}
	return ""
}

// RegularFields returns the fields after the pseudo-fields.
func (f *MetaHeadersFrame) RegularFields() []hpack.HeaderField {
	for i, field := range f.Fields {
		if !field.IsPseudo() {
			return f.Fields[i:]
		}
	}
	return nil
}

// IsAck reports whether f acknowledges settings.
func (f *SettingsFrame) IsAck() bool { return f.Flags.Has(FlagSettingsAck) }

// Value returns the first value of a setting, and whether there is one.
func (f *SettingsFrame) Value(id SettingID) (uint32, bool) {
	for _, s := range f.settings {
		if s.ID == id {
			return s.Val, true
		}
	}
	return 0, false
}

// IsAck reports whether f answers a PING.
func (f *PingFrame) IsAck() bool { return f.Flags.Has(FlagPingAck) }

// DebugData returns what the peer says beside the code.
func (f *GoAwayFrame) DebugData() []byte { return f.debug }

// HeaderBlockFragment returns the part of the header block.
func (f *ContinuationFrame) HeaderBlockFragment() []byte { return f.block }

// HeadersEnded reports whether no other CONTINUATION follows.
func (f *ContinuationFrame) HeadersEnded() bool { return f.Flags.Has(FlagHeadersEndHeaders) }
