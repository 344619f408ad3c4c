package quic

// frameKind is the type of a frame (RFC 9000 §19). Types that differ in flags alone have the first of them.
type frameKind uint8

const (
	framePadding           frameKind = 0x00
	framePing              frameKind = 0x01
	frameAck               frameKind = 0x02 // 0x03 with counts of ECN
	frameResetStream       frameKind = 0x04
	frameStopSending       frameKind = 0x05
	frameCrypto            frameKind = 0x06
	frameNewToken          frameKind = 0x07
	frameStream            frameKind = 0x08 // to 0x0f, with offset, length and end
	frameMaxData           frameKind = 0x10
	frameMaxStreamData     frameKind = 0x11
	frameMaxStreams        frameKind = 0x12 // 0x13 for one-way streams
	frameDataBlocked       frameKind = 0x14
	frameStreamDataBlocked frameKind = 0x15
	frameStreamsBlocked    frameKind = 0x16 // 0x17 for one-way streams
	frameNewID             frameKind = 0x18
	frameRetireID          frameKind = 0x19
	framePathChallenge     frameKind = 0x1a
	framePathResponse      frameKind = 0x1b
	frameClose             frameKind = 0x1c
	frameCloseApp          frameKind = 0x1d // CONNECTION_CLOSE with a code of the application
	frameHandshakeDone     frameKind = 0x1e

	frameKinds = 0x1f
)

// The flags of STREAM.
const (
	streamEnd    = 0x01
	streamLength = 0x02
	streamOffset = 0x04
)

const (
	streamsMax   = 1 << 60 // RFC 9000 §4.6
	ackRangesMax = 256     // ranges that are read of an ACK: CVE-2025-4820 and kin
)

// The rules of frames (RFC 9000 §12.4, table 3).
const (
	inInitial uint8 = 1 << iota
	inZeroRTT
	inHandshake
	inOneRTT
	notEliciting // it asks for no acknowledgement
	probing      // it does not make its path the one in use (§9.1)
	fromServer   // a client must not send it
)

const inBoth, inAll = inZeroRTT | inOneRTT, inInitial | inZeroRTT | inHandshake | inOneRTT

var frameRules = [frameKinds]uint8{
	framePadding:           inAll | notEliciting | probing,
	framePing:              inAll,
	frameAck:               inInitial | inHandshake | inOneRTT | notEliciting,
	frameResetStream:       inBoth,
	frameStopSending:       inBoth,
	frameCrypto:            inInitial | inHandshake | inOneRTT,
	frameNewToken:          inOneRTT | fromServer,
	frameStream:            inBoth,
	frameMaxData:           inBoth,
	frameMaxStreamData:     inBoth,
	frameMaxStreams:        inBoth,
	frameDataBlocked:       inBoth,
	frameStreamDataBlocked: inBoth,
	frameStreamsBlocked:    inBoth,
	frameNewID:             inBoth | probing,
	frameRetireID:          inBoth,
	framePathChallenge:     inBoth | probing,
	framePathResponse:      inOneRTT | probing,
	frameClose:             inAll | notEliciting,
	frameCloseApp:          inBoth | notEliciting,
	frameHandshakeDone:     inOneRTT | fromServer,
}

var packetRules = [...]uint8{
	InitialPacket: inInitial, ZeroRTTPacket: inZeroRTT, HandshakePacket: inHandshake, OneRTTPacket: inOneRTT,
}

// allowed reports whether k may stand in a packet, which comes from a client or not.
func (k frameKind) allowed(in PacketKind, fromClient bool) bool {
	return frameRules[k]&packetRules[in] != 0 && !(fromClient && frameRules[k]&fromServer != 0)
}

// eliciting reports whether a packet with k has to be acknowledged (RFC 9000 §13.2.1).
func (k frameKind) eliciting() bool { return frameRules[k]&notEliciting == 0 }

// probing reports whether k may be sent on a path that is not in use.
func (k frameKind) probing() bool { return frameRules[k]&probing != 0 }

// frame is one frame of any type. Fields that its type does not have are zero. Slices are borrowed from the packet.
type frame struct {
	kind   frameKind
	end    bool   // STREAM: the last data of the stream
	oneWay bool   // MAX_STREAMS, STREAMS_BLOCKED
	stream uint64 // of the frames of one stream
	offset uint64 // STREAM, CRYPTO
	code   uint64 // RESET_STREAM, STOP_SENDING, CONNECTION_CLOSE
	value  uint64 // limits of MAX_… and …_BLOCKED, final size of RESET_STREAM, sequence number of an id, highest of ACK
	before uint64 // NEW_CONNECTION_ID: ids below this are retired
	delay  uint64 // ACK: not scaled
	first  uint64 // ACK: how many numbers before the highest are acknowledged with it
	count  uint64 // ACK: how many ranges there are in body
	body   []byte // data, token, connection id, 8 octets of a path, reason; ranges of ACK
	token  []byte // NEW_CONNECTION_ID: 16 octets
}

// parse reads the first frame of b, which is not empty, and returns its length. PADDING is as long as there is some.
func (f *frame) parse(b []byte) (n int, err *Error) {
	kind := b[0]
	r := reader{b: b[1:]}
	if kind >= frameKinds {
		return 0, unknownFrame(b)
	}
	*f = frame{kind: frameKind(kind)}
	switch f.kind {
	case framePadding:
		r.skipZeros()
	case frameAck, frameAck | 1:
		err = f.parseAck(&r, kind&1 != 0)
	case frameResetStream:
		f.stream, f.code, f.value = r.integer(), r.integer(), r.integer()
	case frameStopSending:
		f.stream, f.code = r.integer(), r.integer()
	case frameCrypto:
		f.offset = r.integer()
		f.body = r.bytes(r.integer())
	case frameNewToken:
		f.body = r.bytes(r.integer())
		if len(f.body) == 0 {
			err = errNewToken
		}
	case frameMaxStreamData, frameStreamDataBlocked:
		f.stream, f.value = r.integer(), r.integer()
	case frameMaxStreams, frameMaxStreams | 1, frameStreamsBlocked, frameStreamsBlocked | 1:
		f.kind, f.oneWay = f.kind&^1, kind&1 != 0
		if f.value = r.integer(); f.value > streamsMax {
			err = errStreamCount
		}
	case frameMaxData, frameDataBlocked, frameRetireID:
		f.value = r.integer()
	case frameNewID:
		f.value, f.before, f.body, f.token = r.integer(), r.integer(), r.counted(), r.bytes(16)
		if len(f.body) < 1 || len(f.body) > idMax || f.before > f.value {
			err = errNewID
		}
	case framePathChallenge, framePathResponse:
		f.body = r.bytes(8)
	case frameClose, frameCloseApp:
		if f.code = r.integer(); f.kind == frameClose {
			f.value = r.integer() // the type of the frame that was wrong
		}
		f.body = r.bytes(r.integer())
	case framePing, frameHandshakeDone:
	default:
		f.parseStream(&r, kind)
	}
	if r.cut {
		return 0, errFrameCut
	}
	if err == nil && f.offset+uint64(len(f.body)) > integerMax {
		err = errOffset
	}
	return len(b) - len(r.b), err
}

// unknownFrame returns the fault of a frame whose first octet is no type. RFC 9000 §12.4: a type has its shortest form.
func unknownFrame(b []byte) *Error {
	r := reader{b: b}
	kind := r.integer()
	switch {
	case r.cut:
		return errFrameCut
	case integerLen(kind) != len(b)-len(r.b):
		return errFrameTypeLong
	}
	return errFrameUnknown
}

func (f *frame) parseStream(r *reader, flags byte) {
	f.kind, f.end = frameStream, flags&streamEnd != 0
	f.stream = r.integer()
	if flags&streamOffset != 0 {
		f.offset = r.integer()
	}
	n := uint64(len(r.b))
	if flags&streamLength != 0 {
		n = r.integer()
	}
	f.body = r.bytes(n)
}

func (f *frame) parseAck(r *reader, counts bool) *Error {
	f.kind = frameAck
	f.value, f.delay, f.count, f.first = r.integer(), r.integer(), r.integer(), r.integer()
	if f.first > f.value {
		return errAckRange
	}
	low, ranges := f.value-f.first, r.b
	for i := uint64(0); i < f.count && !r.cut; i++ {
		distance := r.integer() + 2 + r.integer() // of integers below 2^62: no overflow
		if distance > low {
			return errAckRange
		}
		low -= distance
	}
	if r.cut {
		return nil
	}
	f.body = ranges[:len(ranges)-len(r.b)]
	if counts {
		_, _, _ = r.integer(), r.integer(), r.integer() // ECN is not used
	}
	return nil
}

// ackRanges walks over the ranges of an ACK, the highest first. Borrowed as the frame is.
type ackRanges struct {
	r           reader
	left        uint64
	first, last int64
}

// ranges begins the walk. Of a peer that sends more than ackRangesMax the rest is ignored: they are the oldest.
func (f *frame) ranges() ackRanges {
	first := int64(f.value - f.first)
	return ackRanges{reader{b: f.body}, min(f.count, ackRangesMax-1) + 1, first, int64(f.value)}
}

// next returns the numbers from first to last.
func (a *ackRanges) next() (first, last int64, ok bool) {
	if a.left == 0 {
		return 0, 0, false
	}
	first, last = a.first, a.last
	if a.left--; a.left > 0 {
		a.last = a.first - int64(a.r.integer()) - 2
		a.first = a.last - int64(a.r.integer())
	}
	return first, last, true
}
