package http2

import (
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"github.com/edge-proxy/edge/internal/reference/hpack"
)

// The least and the largest limit of a frame (RFC 9113 §4.2).
const (
	frameSizeLeast = 1 << 14
	frameSizeMost  = 1<<24 - 1
)

// Framer writes frames, whatever they mean, and reads those of a peer.
type Framer struct {
	// ReadMetaHeaders, where it is set, makes ReadFrame return a MetaHeadersFrame for HEADERS and what belongs to it.
	ReadMetaHeaders *hpack.Decoder

	w       io.Writer
	r       io.Reader
	readMax uint32
	block   uint32 // the stream whose header block goes on; 0: none
	detail  error
}

// NewFramer returns a Framer that writes to w and reads from r. Either may be nil.
func NewFramer(w io.Writer, r io.Reader) *Framer { return &Framer{w: w, r: r, readMax: frameSizeMost} }

// SetMaxReadFrameSize bounds the frames that ReadFrame takes.
func (f *Framer) SetMaxReadFrameSize(n uint32) { f.readMax = min(n, frameSizeMost) }

// ErrorDetail says more about the last ConnectionError of ReadFrame.
func (f *Framer) ErrorDetail() error { return f.detail }

// HeadersFrameParam are the parts of a HEADERS frame.
type HeadersFrameParam struct {
	StreamID      uint32
	BlockFragment []byte
	EndStream     bool
	EndHeaders    bool
	PadLength     uint8
	Priority      PriorityParam // written unless it is zero
}

// WriteRawFrame writes a frame of any type.
func (f *Framer) WriteRawFrame(t FrameType, flags Flags, id uint32, payload []byte) error {
	n := len(payload)
	p := append(make([]byte, 0, 9+n), byte(n>>16), byte(n>>8), byte(n), byte(t), byte(flags))
	_, err := f.w.Write(append(binary.BigEndian.AppendUint32(p, id), payload...))
	return err
}

func flag(set bool, f Flags) Flags {
	if set {
		return f
	}
	return 0
}

// WriteData writes DATA.
func (f *Framer) WriteData(id uint32, end bool, data []byte) error {
	return f.WriteRawFrame(FrameData, flag(end, FlagDataEndStream), id, data)
}

// WriteDataPadded writes DATA with padding.
func (f *Framer) WriteDataPadded(id uint32, end bool, data, pad []byte) error {
	p := append(append([]byte{byte(len(pad))}, data...), pad...)
	return f.WriteRawFrame(FrameData, flag(end, FlagDataEndStream)|FlagDataPadded, id, p)
}

// WriteHeaders writes HEADERS.
func (f *Framer) WriteHeaders(h HeadersFrameParam) error {
	flags := flag(h.EndStream, FlagHeadersEndStream) | flag(h.EndHeaders, FlagHeadersEndHeaders)
	var p []byte
	if h.PadLength > 0 {
		flags |= FlagHeadersPadded
		p = append(p, h.PadLength)
	}
	if h.Priority != (PriorityParam{}) {
		flags |= FlagHeadersPriority
		p = h.Priority.append(p)
	}
	p = append(append(p, h.BlockFragment...), make([]byte, h.PadLength)...)
	return f.WriteRawFrame(FrameHeaders, flags, h.StreamID, p)
}

func (p PriorityParam) append(dst []byte) []byte {
	dep := p.StreamDep
	if p.Exclusive {
		dep |= 1 << 31
	}
	return append(binary.BigEndian.AppendUint32(dst, dep), p.Weight)
}

// WriteContinuation writes CONTINUATION.
func (f *Framer) WriteContinuation(id uint32, end bool, block []byte) error {
	return f.WriteRawFrame(FrameContinuation, flag(end, FlagHeadersEndHeaders), id, block)
}

// WriteRSTStream writes RST_STREAM.
func (f *Framer) WriteRSTStream(id uint32, code ErrCode) error {
	return f.WriteRawFrame(FrameRSTStream, 0, id, binary.BigEndian.AppendUint32(nil, uint32(code)))
}

// WriteSettings writes SETTINGS.
func (f *Framer) WriteSettings(settings ...Setting) error {
	var p []byte
	for _, s := range settings {
		p = binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint16(p, uint16(s.ID)), s.Val)
	}
	return f.WriteRawFrame(FrameSettings, 0, 0, p)
}

// WriteSettingsAck writes SETTINGS that acknowledge.
func (f *Framer) WriteSettingsAck() error {
	return f.WriteRawFrame(FrameSettings, FlagSettingsAck, 0, nil)
}

// WritePing writes PING.
func (f *Framer) WritePing(ack bool, data [8]byte) error {
	return f.WriteRawFrame(FramePing, flag(ack, FlagPingAck), 0, data[:])
}

// WriteGoAway writes GOAWAY.
func (f *Framer) WriteGoAway(last uint32, code ErrCode, debug []byte) error {
	p := binary.BigEndian.AppendUint32(binary.BigEndian.AppendUint32(nil, last), uint32(code))
	return f.WriteRawFrame(FrameGoAway, 0, 0, append(p, debug...))
}

// WriteWindowUpdate writes WINDOW_UPDATE.
func (f *Framer) WriteWindowUpdate(id, increment uint32) error {
	return f.WriteRawFrame(FrameWindowUpdate, 0, id, binary.BigEndian.AppendUint32(nil, increment))
}

// ReadFrame reads a frame. One that breaks the rules is a ConnectionError, and ErrorDetail says which.
func (f *Framer) ReadFrame() (Frame, error) {
	frame, err := f.read()
	h, begins := frame.(*HeadersFrame)
	if err != nil || !begins || f.ReadMetaHeaders == nil {
		return frame, err
	}
	block := h.block
	for ended := h.HeadersEnded(); !ended; {
		next, err := f.read() // a CONTINUATION: read refuses all else
		if err != nil {
			return nil, err
		}
		c := next.(*ContinuationFrame)
		block, ended = append(block, c.block...), c.HeadersEnded()
	}
	fields, err := f.ReadMetaHeaders.DecodeFull(block)
	if err != nil {
		return nil, f.wrong(ErrCodeCompression, "%w", err)
	}
	if err := wellFormed(fields); err != nil {
		return nil, f.wrong(ErrCodeProtocol, "%w", err)
	}
	return &MetaHeadersFrame{h, fields}, nil
}

// wellFormed looks at the order of fields and at their names.
func wellFormed(fields []hpack.HeaderField) error {
	regular := false
	for _, field := range fields {
		if field.IsPseudo() && regular || field.Name == "" || strings.ToLower(field.Name) != field.Name {
			return fmt.Errorf("field %q", field.Name)
		}
		regular = !field.IsPseudo()
	}
	return nil
}

func (f *Framer) wrong(code ErrCode, format string, args ...any) error {
	f.detail = fmt.Errorf(format, args...)
	return ConnectionError(code)
}

func (f *Framer) read() (Frame, error) {
	var b [9]byte
	if _, err := io.ReadFull(f.r, b[:]); err != nil {
		return nil, err
	}
	h := FrameHeader{
		Type: FrameType(b[3]), Flags: Flags(b[4]), Length: uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
		StreamID: binary.BigEndian.Uint32(b[5:]) &^ (1 << 31),
	}
	if h.Length > f.readMax {
		return nil, f.wrong(ErrCodeFrameSize, "%v of %d bytes", h.Type, h.Length)
	}
	p := make([]byte, h.Length)
	if _, err := io.ReadFull(f.r, p); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return nil, err
	}
	// RFC 9113 §4.3: nothing may come between the parts of a header block.
	if goesOn := h.Type == FrameContinuation; goesOn != (f.block != 0) || goesOn && h.StreamID != f.block {
		return nil, f.wrong(ErrCodeProtocol, "%v on stream %d within the block of %d", h.Type, h.StreamID, f.block)
	}
	f.block = 0
	if (h.Type == FrameHeaders || h.Type == FrameContinuation) && !h.Flags.Has(FlagHeadersEndHeaders) {
		f.block = h.StreamID
	}
	return f.parse(h, p)
}
