package observe

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// RecordWriter is an output that takes records in place of lines: see Options.Records.
type RecordWriter interface {
	// WriteRecords takes whole frames: four bytes with the length, least significant first, then the record, as
	// AppendRecord makes them and ReadRecord reads them. It is called by one goroutine, and may block: meanwhile rings
	// fill, and records that find no room are dropped and counted. It returns how many bytes of whole frames it took;
	// the other frames count as lost. p is borrowed until return.
	WriteRecords(p []byte) (n int, err error)
}

// frameHead is the length before a record.
const frameHead = 4

// ErrFrame says that bytes are no frame of a record.
var ErrFrame = errors.New("observe: the frame of a record is malformed")

// AppendRecord appends r to dst as a frame. Texts are cut to 256 bytes, Line.Text to LineMax, and lists to as many
// elements as Record and Span say. The form is for one process: another version of this package may not read it.
// Allocates only where dst has no room. r is only read.
func AppendRecord(dst []byte, r *Record) []byte {
	at := len(dst)
	c := coder{p: append(dst, 0, 0, 0, 0)}
	r.code(&c)
	binary.LittleEndian.PutUint32(c.p[at:], uint32(len(c.p)-at-frameHead))
	return c.p
}

// ReadRecord makes r the record of the first frame of p, and returns what comes after it. Texts are borrowed from p;
// Fields and Span of r are used again. The error is ErrFrame.
func ReadRecord(p []byte, r *Record) (rest []byte, err error) {
	n := FrameLen(p)
	if n == 0 {
		return nil, ErrFrame
	}
	c := coder{p: p[frameHead:n], reads: true}
	r.code(&c)
	if c.bad || len(c.p) > 0 {
		return nil, ErrFrame
	}
	return p[n:], nil
}

// FrameLen returns the length of the first frame of p, its head included; 0: there is no whole one.
func FrameLen(p []byte) int {
	if len(p) < frameHead {
		return 0
	}
	n := uint64(binary.LittleEndian.Uint32(p)) + frameHead
	if n > uint64(len(p)) {
		return 0
	}
	return int(n)
}

// code writes or reads all members of r: one list for both.
func (r *Record) code(c *coder) {
	c.numbers(&r.Time, &r.BytesIn, &r.BytesOut, &r.Dur, &r.T.Queue, &r.T.Connect, &r.T.FirstByte, &r.T.Body, &r.T.TLS,
		&r.Saved)
	c.ints(&r.Status, &r.Attempts, &r.Cache.Age, &r.GRPCStatus)
	c.raw(r.ID[:])
	c.addr(&r.ClientIP)
	c.uint16(&r.ClientPort)
	c.byte(&r.Proto)
	c.byte((*uint8)(&r.Line.Form))
	for _, t := range [...]*[]byte{&r.RequestID, &r.TraceID, &r.Method, &r.Host, &r.Path, &r.Query, &r.UserAgent,
		&r.Referer} {
		c.bytes(t, TextMax)
	}
	c.bytes(&r.Line.Text, LineMax)
	for _, t := range [...]*string{&r.Listener, &r.Route, &r.Upstream, &r.Backend, &r.Reason, &r.Cache.Status,
		&r.Cache.Reason, &r.Encoding, &r.TLSVersion, &r.TLSGroup, &r.SNI, &r.ClientCert, &r.SampleRate} {
		c.string(t)
	}
	c.bool(&r.Reused)
	c.bool(&r.GRPC)
	c.fields(&r.Fields, FieldsMax)
	c.members(&r.Members, MembersMax)
	spanned := r.Span != nil
	if c.bool(&spanned); !spanned {
		r.Span = nil
		return
	}
	if r.Span == nil {
		r.Span = new(Span)
	}
	r.Span.code(c)
}

// stateMax bounds Tracestate: W3C Trace Context §3.3.1.1 has 512 as the least that is passed on.
const stateMax = 512

// code writes or reads all members of s.
func (s *Span) code(c *coder) {
	c.raw(s.Trace[:])
	c.raw(s.ID[:])
	c.raw(s.Parent[:])
	c.byte(&s.Flags)
	s.State = wholeMembers(s.State)
	c.bytes(&s.State, stateMax)
	c.bytes(&s.Name, TextMax)
	c.string(&s.Pattern)
	c.bool(&s.Secured)
	c.addrPort(&s.Peer)
	c.string(&s.Error)
	c.bytes(&s.Target, TextMax)
	for _, m := range [...]*[]Member{&s.Attributes, &s.Request, &s.Answer} {
		c.members(m, AttributesMax)
	}
	n := c.list(len(s.Attempts), AttemptsMax)
	if c.reads {
		s.Attempts = append(s.Attempts[:0], make([]Attempt, n)...)
	}
	for i := len(s.Attempts) - n; i < len(s.Attempts); i++ {
		s.Attempts[i].code(c)
	}
}

// wholeMembers returns as many members of state, a Tracestate, as a record has room for: W3C Trace Context §3.3.1.5 has
// no part of one passed on.
func wholeMembers(state []byte) []byte {
	if len(state) <= stateMax {
		return state
	}
	return state[:max(bytes.LastIndexByte(state[:stateMax+1], ','), 0)]
}

func (a *Attempt) code(c *coder) {
	c.raw(a.ID[:])
	c.numbers(&a.Began, &a.Ended, &a.T.Queue, &a.T.Connect, &a.T.TLS, &a.T.FirstByte, &a.T.Body, &a.DNS)
	c.ints(&a.Number, &a.Status)
	c.string(&a.Backend)
	c.string(&a.Error)
	c.byte(&a.Proto)
	c.bool(&a.Secured)
	c.bool(&a.Reused)
	c.bool(&a.Hedge)
}
