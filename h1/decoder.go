package h1

import (
	"bytes"

	"github.com/edge-proxy/edge/message"
)

// Event says what a call of Decoder.Next found. It is a set of bits: the last Data carries End too.
type Event uint8

// The events.
const (
	HeadDone Event = 1 << iota // the head is filled
	Data                       // a piece of the body
	Trailers                   // the head is filled with the trailer fields; End is set too
	End                        // the message is whole

	NeedMore Event = 0 // nothing yet; bytes may have been consumed all the same
)

type state uint8

const (
	atHead state = iota
	inBody
	inBodyUntilClose
	atChunk    // before a size
	inChunk    // in the data of a chunk
	atChunkEnd // before the line end after the data
	inTrailers
)

// Decoder walks the messages of one direction of a connection. Init it before use. Owned by its session.
//
//	bytes below scanned hold lines, none of them empty, and the start of one at lineAt; a line ends with CRLF, in the
//	head of an answer with LF alone as well
//	scanned > 0 => state is atHead or inTrailers
//	state == inBody or inChunk => left > 0
//	once err != nil, every call returns err
type Decoder struct {
	limits  *Limits
	err     *Error
	left    int64
	scanned uint32
	lineAt  uint32
	excess  int32 // bytes of chunk lines beyond what the data allows
	state   state
	verb    message.Verb // method of the request that the next answer is for
	answers bool         // responses, not requests
	tunnel  bool         // the request that the next answer is for asked for a tunnel
	blank   bool         // an empty line before the request was skipped
	interim uint8        // 1xx answers since the last final one
}

// InitRequests sets d to the start of a connection that brings requests. l may be nil; it must not change while d is
// in use.
func (d *Decoder) InitRequests(l *Limits) {
	if l == nil {
		l = &defaultLimits
	}
	*d = Decoder{limits: l}
}

// InitResponses is InitRequests for a connection that brings responses. Say with Expect what each of them answers.
func (d *Decoder) InitResponses(l *Limits) {
	d.InitRequests(l)
	d.answers = true
}

// Expect says which method the next final answer is for: those to HEAD have no body.
func (d *Decoder) Expect(v message.Verb) { d.verb = v }

// ExpectTunnel says that the request asked for another protocol, or was CONNECT: 101 in the one case, 2xx in the other
// make a tunnel of the connection. The head has Tunnel set, and what follows is Data until the connection ends.
func (d *Decoder) ExpectTunnel() { d.tunnel = true }

// Next consumes bytes from the front of in, up to the first event, and reports how many. What was not consumed has to
// be there again in the next call, with more after it when the event was NeedMore.
//
//	HeadDone   h is filled, its spans index in[:n]; with End when there is no body; without, for 1xx, when the next
//	           head follows
//	Data       body aliases in; with End for the last piece of a body of known length
//	Trailers   h is filled with the trailer fields, those that must not be there are dropped; always with End
//	End        alone: a chunked body without trailers is whole
//
// in is borrowed for as long as the caller uses h or body. h is scratch: on NeedMore its content is of no meaning.
func (d *Decoder) Next(in []byte, h *message.Head) (n int, ev Event, body []byte, err error) {
	if d.err != nil {
		return 0, NeedMore, nil, d.err
	}
	if len(in) == 0 {
		return 0, NeedMore, nil, nil
	}
	var e *Error
	switch d.state {
	case atHead:
		n, ev, e = d.head(in, h)
	case inBody:
		n = int(min(d.left, int64(len(in))))
		body, ev = in[:n:n], Data
		if d.left -= int64(n); d.left == 0 {
			d.finish()
			ev = Data | End
		}
	case inBodyUntilClose:
		return len(in), Data, in, nil
	default:
		n, ev, body, e = d.chunk(in, h)
	}
	if e != nil {
		return 0, NeedMore, nil, d.fail(e)
	}
	return n, ev, body, nil
}

// EOF tells d that the peer sent its last byte: End when that ends a body, an error within a message, 0 between two.
func (d *Decoder) EOF() (Event, error) {
	switch {
	case d.err != nil:
		return NeedMore, d.err
	case d.state == inBodyUntilClose:
		d.finish()
		return End, nil
	case d.Idle():
		return NeedMore, nil
	}
	return NeedMore, d.fail(errUnexpectedEOF)
}

// Idle reports whether d stands before a message of which it has seen nothing. After a 1xx answer it does not.
func (d *Decoder) Idle() bool {
	return d.state == atHead && d.scanned == 0 && d.interim == 0 && d.err == nil
}

// Remaining returns how many bytes of a body of known length, or of the current chunk, are still to come.
func (d *Decoder) Remaining() int64 { return d.left }

// Counted returns how many bytes of a body of known length are still to come, 0 anywhere else.
func (d *Decoder) Counted() int64 {
	if d.state != inBody {
		return 0
	}
	return d.left
}

// Skip tells d that n bytes of those that Counted says, not all of them, have come by another way.
func (d *Decoder) Skip(n int) { d.left -= int64(n) }

// head parses a head if it is whole.
func (d *Decoder) head(in []byte, h *message.Head) (int, Event, *Error) {
	skipped := 0
	if in[0] == '\r' && !d.answers {
		// RFC 9112 §2.2: a server SHOULD ignore at least one empty line (CRLF) received prior to the request-line.
		// Exactly one.
		if d.blank {
			return 0, NeedMore, errRequestLine
		}
		d.scanned = 1
		if len(in) == 1 {
			return 0, NeedMore, nil
		}
		if in[1] != '\n' {
			return 0, NeedMore, errBareCR
		}
		d.blank, d.scanned, skipped = true, 0, 2
		if in = in[2:]; len(in) == 0 {
			return skipped, NeedMore, nil
		}
		if in[0] == '\r' {
			return 0, NeedMore, errRequestLine
		}
	}
	b := prefix(in, d.limits.headBytes())
	if d.scanned > 0 {
		if whole, e := d.scan(b, d.limits.headBytes(), ErrHeadTooLarge); !whole || e != nil {
			return skipped, NeedMore, e
		}
	}
	n, e := d.parse(b, h)
	if e == errBareLF && d.answers {
		n, e = d.parseBareLF(b, h)
	}
	if n == 0 && e == nil { // a part of the head, valid so far
		_, e = d.scan(b, d.limits.headBytes(), ErrHeadTooLarge)
		return skipped, NeedMore, e
	}
	if e != nil {
		return 0, NeedMore, e
	}
	d.scanned, d.lineAt, d.blank = 0, 0, false
	return skipped + n, d.begin(h), nil
}

func (d *Decoder) parse(b []byte, h *message.Head) (int, *Error) {
	if d.answers {
		return parseResponse(b, h, d.limits, d.verb, d.tunnel)
	}
	return parseRequest(b, h, d.limits)
}

// parseBareLF is parse for the head of an answer in which lines end with LF alone: RFC 9112 §2.2, a recipient MAY
// recognize a single LF as a line terminator. No two parties read two messages by it, since edge writes each head
// anew. h is filled from a copy.
func (d *Decoder) parseBareLF(b []byte, h *message.Head) (int, *Error) {
	whole, e := d.scan(b, d.limits.headBytes(), ErrHeadTooLarge)
	if !whole || e != nil {
		return 0, e
	}
	strict, n := withCRLF(b, int(d.lineAt))
	_, e = d.parse(strict, h)
	return n, e
}

// begin enters the state that follows the head h.
func (d *Decoder) begin(h *message.Head) Event {
	switch {
	case h.Tunnel:
		d.state, d.interim = inBodyUntilClose, 0
	case d.answers && h.Status < 200:
		if d.interim++; d.interim > interimMax {
			d.fail(errManyInterim) // the next call reports the fault: this head is good
		}
	case h.Chunked:
		d.state, d.excess = atChunk, 0
	case h.Length > 0:
		d.state, d.left = inBody, h.Length
	case h.Length == 0:
		d.finish()
		return HeadDone | End
	default:
		d.state = inBodyUntilClose
	}
	return HeadDone
}

// finish puts d into the state before a message.
func (d *Decoder) finish() {
	d.state, d.left, d.scanned, d.lineAt, d.interim, d.verb = atHead, 0, 0, 0, 0, message.VerbOther
	d.tunnel = false
}

func (d *Decoder) fail(e *Error) error {
	if d.answers && e.answer != nil {
		e = e.answer
	}
	d.err = e
	return e
}

// scan looks for the empty line that ends a section of lines, from where the last scan stopped, and bounds the lines
// without parsing them. b is the input up to max, the limit of the section: if b is full, the section has no end in it.
func (d *Decoder) scan(b []byte, max int, tooLarge *Error) (whole bool, e *Error) {
	for {
		k := bytes.IndexByte(b[d.scanned:], '\n')
		end := len(b)
		if k >= 0 {
			end = int(d.scanned) + k + 1
		}
		if e := d.checkLine(end - int(d.lineAt)); e != nil {
			return false, e
		}
		if k < 0 {
			break
		}
		blank := end - 1
		if end >= 2 && b[end-2] == '\r' {
			blank--
		} else if !d.answers || d.state != atHead {
			return false, errBareLF
		}
		if blank == int(d.lineAt) {
			return true, nil
		}
		d.lineAt, d.scanned = uint32(end), uint32(end)
	}
	d.scanned = uint32(len(b))
	if len(b) >= max {
		return false, tooLarge
	}
	return false, nil
}

// checkLine bounds a line that is size bytes long so far.
func (d *Decoder) checkLine(size int) *Error {
	if d.lineAt == 0 && d.state == atHead && !d.answers {
		if size > d.limits.requestLine() {
			return ErrURITooLong
		}
	} else if size > d.limits.fieldBytes() {
		return ErrFieldTooLarge
	}
	return nil
}
