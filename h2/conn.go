package h2

import (
	"math"

	"github.com/edge-proxy/edge/h2/hpack"
	"github.com/edge-proxy/edge/internal/base/budget"
	"github.com/edge-proxy/edge/internal/stream/section"
	"github.com/edge-proxy/edge/message"
)

// Conn is one HTTP/2 connection: the state machine of RFC 9113, without I/O and without a clock. Init it before use.
// Owned by its reactor.
//
//	state == inData or inSkip => rest > 0, or a frame of length 0 was just begun
//	blockID != 0 => only CONTINUATION of that stream may come
//	recvWindow + owed <= budget, as soon as the peer has used what it began with
//	open == streams that are neither dead nor free
type Conn struct {
	o     *Options
	arena *Arena
	now   int64

	limits   section.Limits
	role     Role
	state    recvState
	flag     connFlags
	blockNum uint8 // CONTINUATION frames of the block
	acks     uint8 // our SETTINGS that the peer has not acknowledged

	rest int     // of the payload that is being read
	pad  int     // padding at the end of rest
	data *Stream // the stream whose DATA is being read; nil when the DATA is discarded
	end  bool    // the DATA that is being read has END_STREAM

	block   []byte // a header block of several frames, as far as it has come
	blockID uint32
	headEnd bool // the HEADERS of block had END_STREAM
	selfDep bool // the HEADERS of block depends on its own stream

	lastPeer  uint32 // the highest stream the peer has opened
	lastOwn   uint32 // the highest stream we have opened
	sentLast  uint32 // the last stream that our GOAWAY names
	peerLast  uint32 // the last stream that the peer's GOAWAY names
	peerTable uint32
	peerList  uint32 // SETTINGS_MAX_HEADER_LIST_SIZE: what the peer takes of a head or of trailers, see fits

	streams table
	past    history
	open    int

	sendWindow int64
	sendMost   int64 // the largest value that sendWindow had
	recvWindow int64
	owed       int64 // bytes of all streams that were delivered and not released
	budget     int64 // how large owed may be; Widen raises it
	grown      int64 // by how much the windows of the open streams have grown, together
	localStart int64 // receive window of a new stream, as the peer must assume
	peerStart  int64 // send window of a new stream, as the peer's SETTINGS say
	peerFrame  int
	peerMax    int

	ctl   []byte // control frames that are not yet written
	dying *Stream
	fault *Error

	order     *order
	starved   streamList // streams that wait for their own window, or for a share of the connection's; longest first
	readers   streamList // streams that owe bytes; the one longest without a release first
	lingering streamList // answered streams whose remaining request is discarded

	ackBy    int64 // deadline of the peer's acknowledgement of our SETTINGS; 0: none, as for those below
	headBy   int64
	goAwayBy int64
	pongBy   int64
	dryAt    int64 // when the connection window was used up while a stream waits for it; 0: it is not
	heardAt  int64

	buckets [abuseCount]budget.Bucket
	dec     hpack.Decoder
	enc     hpack.Encoder
}

type recvState uint8

const (
	atPreface recvState = iota
	atFrame
	inData
	inSkip
)

type connFlags uint16

const (
	gotSettings  connFlags = 1 << iota // the first SETTINGS came
	sentGoAway                         // the first GOAWAY of a graceful end, or the only one
	sentLastCall                       // the last GOAWAY was sent
	gotGoAway                          // the peer's GOAWAY came
	sweeping                           // streams above peerLast are being reset
	woke                               // streams became sendable and Next has not reported it
	peerExtended                       // the peer takes extended CONNECT
	faultTold                          // the Fault event was returned
	closedByUs                         // Close was called
)

// Init sets c to the start of a connection. o may be nil; it must not change while c is in use. The preface of a
// client and the SETTINGS of both are pending output.
func (c *Conn) Init(role Role, o *Options, now int64) {
	if o == nil {
		o = &defaultOptions
	}
	arena := o.Arena
	if arena == nil {
		arena = new(Arena)
	}
	*c = Conn{
		o: o, arena: arena, limits: o.limits(), now: now, role: role, state: atFrame,
		sendWindow: defaultWindow, sendMost: defaultWindow, recvWindow: defaultWindow,
		localStart: defaultWindow, peerStart: defaultWindow,
		peerFrame: maxFrame, peerMax: 100, peerTable: 4096, peerList: math.MaxUint32, peerLast: idMax, sentLast: idMax,
		heardAt: now,
		readers: streamList{kind: byReading}, lingering: streamList{kind: byReading}, budget: int64(o.budget()),
	}
	c.localStart = max(int64(o.streamWindow()), defaultWindow)
	c.dec.Init(hpack.DecoderOptions{ListMax: c.listMax(), Scratch: &arena.literal})
	c.enc.Init(hpack.EncoderOptions{TableMax: c.o.HeaderTable})
	if role == Server {
		c.state = atPreface
		c.headBy = now + o.headTimeout()
	} else {
		c.control()
		c.ctl = append(c.ctl, preface...)
	}
	c.sendSettings()
}

// listMax is the limit of a header list as HPACK counts it: a line has four bytes more than name and value, there 32.
func (c *Conn) listMax() int { return c.o.headBytes() + 32*c.limits.FieldCount }

func (c *Conn) sendSettings() {
	c.control()
	at := len(c.ctl)
	b := appendFrame(c.ctl, 0, frameSettings, 0, 0)
	if c.role == Server {
		b = appendSetting(b, settingMaxStreams, uint32(c.o.maxStreams()))
		b = appendSetting(b, settingNoPriorities, 1)
		if !c.o.NoExtendedConnect {
			b = appendSetting(b, settingExtendedConnect, 1)
		}
	} else {
		b = appendSetting(b, settingPush, 0)
	}
	if n := c.o.headerTable(); n != 4096 {
		b = appendSetting(b, settingHeaderTable, uint32(n))
	}
	if n := c.o.streamWindow(); n != defaultWindow {
		b = appendSetting(b, settingWindow, uint32(n))
	}
	b = appendSetting(b, settingListMax, uint32(c.listMax()))
	setLength(b[at:], 0)
	c.ctl = b
	c.acks++
	c.ackBy = c.now + c.o.settingsTimeout()
	c.creditConn()
}

// control makes room for pending output.
func (c *Conn) control() {
	if c.ctl == nil {
		c.ctl = c.arena.ctl.Take(256)
	}
}

// AppendControl appends the pending control frames: SETTINGS, acknowledgements, WINDOW_UPDATE, RST_STREAM, PING,
// GOAWAY. The other Append methods do so before they write.
func (c *Conn) AppendControl(dst []byte) []byte {
	if c.ctl != nil {
		dst = append(dst, c.ctl...)
		c.arena.ctl.Put(c.ctl, spareCtl, 4<<10)
		c.ctl = nil
	}
	return dst
}

// Pending reports whether AppendControl has something to write.
func (c *Conn) Pending() bool { return c.ctl != nil }

// Tick tells c the time, for methods that are called without one. Next, Open, Shutdown and Expire do so too.
func (c *Conn) Tick(now int64) { c.now = now }

// Next consumes bytes from the front of in, up to the first event, and reports how many. What was not consumed has to
// be there again in the next call, with more after it when the event was NeedMore. h is scratch: its Base is the
// Arena's and is valid until Next is called on any Conn of that Arena. Call it until the event is NeedMore: there may
// be events without bytes.
func (c *Conn) Next(in []byte, h *message.Head, now int64) (n int, ev Event) {
	c.now = now
	c.reap()
	if c.fault != nil {
		return len(in), c.tellFault()
	}
	if len(in) > 0 {
		c.heardAt = now
	}
	for {
		if c.flag&(sweeping|woke) != 0 || c.Tight() {
			if c.overdue(&ev) {
				return n, ev
			}
		}
		used, err := c.step(in[n:], h, &ev)
		n += used
		if err != nil {
			c.fail(err)
			return len(in), c.tellFault()
		}
		if ev.Stream != nil && ev.Stream.flag&lingers != 0 {
			ev = Event{} // the caller has done with it
			continue
		}
		if ev.Kind != NeedMore {
			c.check()
			return n, ev
		}
		if used == 0 && c.flag&woke == 0 {
			return n, ev
		}
	}
}

// overdue finds an event that needs no bytes.
func (c *Conn) overdue(ev *Event) bool {
	if c.flag&sweeping != 0 {
		for _, s := range c.streams.slots {
			if s != nil && s.ID > c.peerLast {
				c.finish(s, peerReset)
				ev.Kind, ev.Code, ev.Stream, ev.Err = Reset, RefusedStream, s, ErrPeerGoAway
				return true
			}
		}
		c.flag &^= sweeping
	}
	if c.flag&woke != 0 {
		c.flag &^= woke
		ev.Kind = Sendable
		return true
	}
	return c.relieve(ev)
}

// step takes one step: a part of a body, or a frame. When it uses nothing and has no event, it needs more bytes. ev is
// empty before, and filled where it is: an Event has more parts than there are registers for results, and a result that
// is copied from function to function waits for its stores each time (10 ns).
func (c *Conn) step(in []byte, h *message.Head, ev *Event) (n int, err *Error) {
	switch c.state {
	case inData:
		return c.readData(in, ev)
	case inSkip:
		return c.skip(in), nil
	case atPreface:
		k := min(len(in), len(preface))
		if string(in[:k]) != preface[:k] {
			return 0, errPreface
		}
		if k < len(preface) {
			return 0, nil
		}
		c.state = atFrame
		return k, nil
	}
	if len(in) < frameHead {
		c.awaitRest(len(in))
		return 0, nil
	}
	f := parseFrame(in)
	// RFC 9113 §4.2: an endpoint MUST send FRAME_SIZE_ERROR if a frame exceeds SETTINGS_MAX_FRAME_SIZE. For all but
	// DATA that has to end the connection; a peer that does not know our limit will not keep to others.
	if f.length > maxFrame {
		return 0, errFrameSize
	}
	// §3.4: SETTINGS MUST be the first frame of both sides.
	if c.flag&gotSettings == 0 && (f.kind != frameSettings || f.has(flagAck)) {
		return 0, errFirstFrame
	}
	// §4.3: a header block MUST be transmitted as a contiguous sequence of frames, with no interleaved frames of any
	// other type or from any other stream.
	if (f.kind == frameContinuation) != (c.blockID != 0) || c.blockID != 0 && f.id != c.blockID {
		return 0, errContinuation
	}
	if f.kind == frameData {
		return c.beginData(in, f, ev)
	}
	return c.readFrame(in, f, h, ev)
}

// readFrame reads a frame that is not DATA. Such a frame is small enough to wait until it is whole.
func (c *Conn) readFrame(in []byte, f frame, h *message.Head, ev *Event) (n int, err *Error) {
	n = frameHead + f.length
	if f.kind > frameContinuation && f.kind != framePriorityUpdate {
		// §5.5: implementations MUST discard frames that have unknown or unsupported types.
		if err := c.spend(priorityFlood); err != nil {
			return 0, err
		}
		c.headBy = 0 // of the head of this frame, if that came in two parts
		if c.rest = f.length; c.rest > 0 {
			c.state = inSkip
		}
		return frameHead, nil
	}
	if len(in) < n {
		c.awaitRest(len(in))
		return 0, nil
	}
	if c.blockID == 0 {
		c.headBy = 0
	}
	p := in[frameHead:n]
	switch f.kind {
	case frameHeaders:
		err = c.onHeaders(f, p, h, ev)
	case frameContinuation:
		err = c.onContinuation(f, p, h, ev)
	case framePriority:
		err = c.onPriority(f, p, ev)
	case frameRST:
		err = c.onRST(f, p, ev)
	case frameSettings:
		err = c.onSettings(f, p, ev)
	case framePush:
		err = errPush // §8.4: we have said SETTINGS_ENABLE_PUSH 0; and a client cannot push
	case framePing:
		err = c.onPing(f, p)
	case frameGoAway:
		err = c.onGoAway(f, p, ev)
	case frameWindowUpdate:
		err = c.onWindowUpdate(f, p, ev)
	case framePriorityUpdate:
		err = c.onPriorityUpdate(f, p)
	}
	return n, err
}

// awaitRest sets a deadline for the rest of a frame that has begun.
func (c *Conn) awaitRest(n int) {
	if n > 0 && c.headBy == 0 {
		c.headBy = c.now + c.o.headTimeout()
	}
}

// spend takes one of the budget of k, and returns the fault when that is not allowed.
func (c *Conn) spend(k abuse) *Error { return budgets[k].Charge(&c.buckets[k], &c.arena.Stats, c.now) }

// fail ends the connection: GOAWAY is pending. Nothing else that is pending is of use, but the answers that others wait
// for have been appended before.
func (c *Conn) fail(e *Error) {
	if c.fault == nil {
		c.arena.Stats.Faults++
		c.over(e, e.Code)
	}
}

// over ends the connection for good.
func (c *Conn) over(e *Error, code Code) {
	c.fault = e
	c.control()
	c.ctl = appendGoAway(c.ctl, c.lastPeer, code)
	c.flag |= sentGoAway | sentLastCall
	c.arena.blocks.Put(c.block, spareBlocks, 64<<10)
	c.block, c.blockID, c.data = nil, 0, nil
}

func (c *Conn) tellFault() Event {
	if c.flag&(faultTold|closedByUs) != 0 {
		return Event{}
	}
	c.flag |= faultTold
	return Event{Kind: Fault, Code: c.fault.Code, Err: c.fault}
}

// Opened returns how many streams the peer of a server has opened so far.
func Opened(c *Conn) int { return int(c.lastPeer+1) / 2 }
