package h2

import "encoding/binary"

// frameType is the type of a frame (RFC 9113 §6).
type frameType uint8

const (
	frameData           frameType = 0x0
	frameHeaders        frameType = 0x1
	framePriority       frameType = 0x2
	frameRST            frameType = 0x3
	frameSettings       frameType = 0x4
	framePush           frameType = 0x5
	framePing           frameType = 0x6
	frameGoAway         frameType = 0x7
	frameWindowUpdate   frameType = 0x8
	frameContinuation   frameType = 0x9
	framePriorityUpdate frameType = 0x10 // RFC 9218 §7.1
)

// The flags of frames.
const (
	flagEndStream  = 0x1
	flagAck        = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// The settings (RFC 9113 §6.5.2, RFC 8441 §3, RFC 9218 §2.1).
const (
	settingHeaderTable     = 0x1
	settingPush            = 0x2
	settingMaxStreams      = 0x3
	settingWindow          = 0x4
	settingMaxFrame        = 0x5
	settingListMax         = 0x6
	settingExtendedConnect = 0x8
	settingNoPriorities    = 0x9
)

const (
	frameHead   = 9
	settingSize = 6
	preface     = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
)

// frame is the head of a frame:
//
//	+-----------------------------------------------+
//	|                 length (24)                   |
//	+---------------+---------------+---------------+
//	|    type (8)   |   flags (8)   |
//	+-+-------------+---------------+-------------------------------+
//	|R|                    stream (31)                              |
//	+=+=============================================================+
//	|                        payload …                              |
type frame struct {
	length int
	id     uint32
	kind   frameType
	flags  uint8
}

// parseFrame reads the head of a frame from b, which holds one. RFC 9113 §4.1: the reserved bit is ignored.
func parseFrame(b []byte) frame {
	_ = b[8]
	return frame{
		length: int(b[0])<<16 | int(b[1])<<8 | int(b[2]),
		kind:   frameType(b[3]),
		flags:  b[4],
		id:     binary.BigEndian.Uint32(b[5:]) & idMax,
	}
}

func (f frame) has(flag uint8) bool { return f.flags&flag != 0 }

func appendFrame(dst []byte, length int, kind frameType, flags uint8, id uint32) []byte {
	return append(dst, byte(length>>16), byte(length>>8), byte(length), byte(kind), flags,
		byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// setLength writes the length and the flags of the frame that begins at b[0] and ends with b.
func setLength(b []byte, flags uint8) {
	n := len(b) - frameHead
	b[0], b[1], b[2], b[4] = byte(n>>16), byte(n>>8), byte(n), flags
}

func appendUint32(dst []byte, v uint32) []byte { return binary.BigEndian.AppendUint32(dst, v) }

func appendRST(dst []byte, id uint32, code Code) []byte {
	return appendUint32(appendFrame(dst, 4, frameRST, 0, id), uint32(code))
}

func appendWindowUpdate(dst []byte, id uint32, n int64) []byte {
	return appendUint32(appendFrame(dst, 4, frameWindowUpdate, 0, id), uint32(n))
}

func appendPing(dst []byte, flags uint8, opaque []byte) []byte {
	return append(appendFrame(dst, 8, framePing, flags, 0), opaque...)
}

func appendGoAway(dst []byte, last uint32, code Code) []byte {
	return appendUint32(appendUint32(appendFrame(dst, 8, frameGoAway, 0, 0), last), uint32(code))
}

func appendSetting(dst []byte, id uint16, v uint32) []byte {
	return appendUint32(append(dst, byte(id>>8), byte(id)), v)
}
