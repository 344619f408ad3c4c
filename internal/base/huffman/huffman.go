package huffman

import (
	"encoding/binary"
	"unsafe"
)

// The code of RFC 7541 appendix B is canonical: codes of one length follow each other in the order of their symbols,
// and longer ones follow shorter ones. So the lengths define the code. The last code is EOS.
var codeLens = [257]uint8{
	13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28,
	28, 28, 28, 28, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28,
	6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6,
	5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10,
	13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
	7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6,
	15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5,
	6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28,
	20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23, 23, 23, 24, 23,
	24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
	22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23,
	21, 21, 22, 21, 23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23,
	26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25,
	19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27,
	20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
	26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
	30,
}

// CodeMax is the length of the longest code, in bits.
const CodeMax = 30

const (
	eos       = 256
	stepBits  = 12
	stepBytes = 2 // at most so many symbols a step: the shortest code has five bits
)

// step is the decoding of stepBits bits of input, inverted. Zero when they begin with a longer code.
//
//	| symbol 1: 8 | symbol 0: 8 | symbols: 8 | bits: 8 |
//
// Bits are lowest, for a shift takes its count from there. Of a few steps the lower halves can be added up.
type step uint32

func (s step) text() uint16 { return uint16(s >> 16) }

func makeStep(text uint16, symbols, bits uint) step {
	return step(text)<<16 | step(symbols)<<8 | step(bits)
}

var (
	codes = canonical()
	steps = stepTable()

	longFirst [CodeMax + 1]uint32 // by length: the first code, left-aligned in 32 bits
	longIndex [CodeMax + 1]uint16 // by length: where its symbols begin in sorted
	sorted    [257]uint16         // the symbols in the order of their codes
)

// canonical makes the codes: for each symbol its code, left-aligned, and the length of that. The length is lowest, for
// a shift takes its count from there.
func canonical() (codes [256]uint64) {
	code, k := uint32(0), 0
	for size := uint8(1); size <= CodeMax; size++ {
		code <<= 1
		longFirst[size], longIndex[size] = code<<(32-size), uint16(k)
		for symbol, n := range codeLens {
			if n != size {
				continue
			}
			if symbol != eos {
				codes[symbol] = uint64(code)<<(64-size) | uint64(size)
			}
			sorted[k] = uint16(symbol)
			code, k = code+1, k+1
		}
	}
	return codes
}

func stepTable() (steps [1 << stepBits]step) {
	_ = codes // made first, with what prefix reads
	for x := range steps {
		first, n := prefix(uint32(x) << (32 - stepBits))
		if n > stepBits {
			continue
		}
		s := makeStep(first, 1, n)
		if second, m := prefix(uint32(x) << (32 - stepBits + n)); n+m <= stepBits {
			s = makeStep(second<<8|first, 2, n+m)
		}
		steps[1<<stepBits-1-x] = s
	}
	return steps
}

// prefix returns the symbol whose code x, left-aligned, begins with, and the length of that code.
func prefix(x uint32) (symbol uint16, size uint) {
	size = CodeMax
	for n := uint(5); n < CodeMax; n++ {
		// The codes of n bits end where the codes of n+1 bits begin.
		if x < longFirst[n+1] {
			size = n
			break
		}
	}
	return sorted[uint32(longIndex[size])+(x-longFirst[size])>>(32-size)], size
}

// Room is how many bytes Decode may write for n bytes of code: a symbol for five bits, and the bytes that a step stores
// beyond its symbols.
func Room(n int) int { return n*13>>3 + 8*stepBytes }

// Decode decodes the rest of r from block to dst, and returns where its symbols end. After r.At dst has Room for them.
// control says that a control character other than HTAB is among them. The error is ErrCode.
func Decode(dst, block []byte, r Run) (at int, control bool, err error) {
	if r.End < 8 { // no eight bytes to load
		var whole [8]byte
		copy(whole[8-r.End:], block[:r.End])
		block, r = whole[:], Run{r.At, r.Bit + (8-r.End)*8, 8}
	}
	for {
		left := r.End*8 - r.Bit
		if left < 8 { // at the end, or within the padding; DecodePair may have come so far
			if left < 0 {
				return 0, false, ErrCode // the padding is no prefix of EOS
			}
			if ^block[r.End-1]&(1<<left-1) == 0 {
				return r.At, control, nil // RFC 7541 §5.2: padding, the beginning of EOS
			}
		}
		if left >= longMin*8 {
			r = decodeLong(dst, block, r)
		}
		p := r.Bit
		if r = decodeRun(dst, block, r); r.Bit != p {
			continue
		}
		symbol, size := prefix(^uint32(load(block, r.Bit, r.End) >> 32))
		if symbol == eos {
			return 0, false, ErrCode // EOS itself, or padding of more than 7 bits
		}
		// All control characters have long codes.
		control = control || symbol < ' ' && symbol != '\t' || symbol == 0x7f
		dst[r.At] = byte(symbol)
		r.At, r.Bit = r.At+1, r.Bit+int(size)
	}
}

// load returns the bits of block from p on, inverted, the first one on top. After end follow zeros: ones of the code,
// as in EOS, so that a symbol decoded there goes beyond the end unless it is padding. 8 <= end, p < 8*end.
func load(block []byte, p, end int) uint64 {
	if left := end*8 - p; left < 64 {
		return ^binary.BigEndian.Uint64(block[end-8:]) << uint(64-left)
	}
	return ^binary.BigEndian.Uint64(block[p>>3:]) << (p & 7)
}

// RunMin is the length in bytes from which DecodePair pays.
const RunMin = 8

// longMin is that length for decodeLong.
const longMin = 24

// Run is the progress of decoding one string.
type Run struct {
	At  int // where its next symbol goes
	Bit int // its next bit, counted from the start of the block
	End int // where it ends in the block
}

// decodeStep decodes the next bits of y to what follows the symbols of sum, the steps since at. It is inlined.
func decodeStep(y uint64, sum step, out unsafe.Pointer, at uintptr) (uint64, step, step) {
	s := steps[y>>(64-stepBits)]
	// SAFETY: the callers have room there: see decodeRun.
	binary.LittleEndian.PutUint16((*[2]byte)(unsafe.Add(out, at+uintptr(sum>>8)))[:], s.text())
	return y << (s & 63), s, sum + s&0xffff
}

// decodeRun decodes r from block to dst until there comes a long code, the padding, or the end. After r.At dst has Room
// for the rest. 8 <= r.End.
//
// A step is a chain of a shift, a load and a shift, about seven cycles for less than two symbols, and everything else
// happens beside it. That leaves room for another chain: see DecodePair.
func decodeRun(dst, block []byte, r Run) Run {
	_, _ = block[:r.End], dst[r.At:]
	// SAFETY: the eight bytes that are loaded begin at r.End-8 or before. No step gives more symbols than it takes bits
	// divided by five, so that dst, which has Room, holds them and the one more that a step stores, also when
	// the last four go beyond the end.
	in, out := unsafe.Pointer(unsafe.SliceData(block)), unsafe.Pointer(unsafe.SliceData(dst))
	p, last, at := r.Bit, r.End-8, uintptr(r.At)
	var s, sum step
	for p < last*8+64 {
		from := min(p>>3, last)
		y := ^binary.BigEndian.Uint64((*[8]byte)(unsafe.Add(in, from))[:]) << ((p - from*8) & 63)
		y, s, sum = decodeStep(y, 0, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		at, p = at+uintptr(sum>>8), p+int(sum&63)
		if s == 0 {
			break
		}
	}
	return Run{int(at), p, r.End}
}

// decodeLong is decodeRun up to the last eight bytes. The next bits come into y while the chain goes on: the load does
// not wait for how far the steps before have come, only the place of its bits does.
//
//	y    | have bits, the next one on top | bits that are right too, or zero |
//	at least have bits are right, from the block before from
func decodeLong(dst, block []byte, r Run) Run {
	_, _ = block[:r.End], dst[r.At:]
	// SAFETY: as in decodeRun.
	in, out := unsafe.Pointer(unsafe.SliceData(block)), unsafe.Pointer(unsafe.SliceData(dst))
	from, last, at := r.Bit>>3, r.End-8, uintptr(r.At)
	if from > last {
		return r
	}
	y := ^binary.BigEndian.Uint64((*[8]byte)(unsafe.Add(in, from))[:]) << (r.Bit & 7)
	have := 56 - uint(r.Bit&7)
	from += 7
	var s, sum step
	for from <= last {
		y |= ^binary.BigEndian.Uint64((*[8]byte)(unsafe.Add(in, from))[:]) >> (have & 63)
		from += int((63 - have) >> 3)
		have |= 56
		y, s, sum = decodeStep(y, 0, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		at, have = at+uintptr(sum>>8), have-uint(sum&63)
		if s == 0 {
			break
		}
	}
	return Run{int(at), from*8 - int(have), r.End}
}

// DecodePair is decodeRun for two codes at a time, until one of them comes to its end, its padding or a long code.
func DecodePair(dst, block []byte, r, t Run) (Run, Run) {
	_, _, _, _ = block[:r.End], block[:t.End], dst[r.At:], dst[t.At:]
	// SAFETY: as in decodeRun, for r and for t.
	in, out := unsafe.Pointer(unsafe.SliceData(block)), unsafe.Pointer(unsafe.SliceData(dst))
	p, last, at := r.Bit, r.End-8, uintptr(r.At)
	p2, last2, at2 := t.Bit, t.End-8, uintptr(t.At)
	var s, sum step
	for p < last*8+64 && p2 < last2*8+64 {
		from := min(p>>3, last)
		y := ^binary.BigEndian.Uint64((*[8]byte)(unsafe.Add(in, from))[:]) << ((p - from*8) & 63)
		y, s, sum = decodeStep(y, 0, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		y, s, sum = decodeStep(y, sum, out, at)
		_, s, sum = decodeStep(y, sum, out, at)
		at, p = at+uintptr(sum>>8), p+int(sum&63)
		if s == 0 {
			break
		}

		from = min(p2>>3, last2)
		y = ^binary.BigEndian.Uint64((*[8]byte)(unsafe.Add(in, from))[:]) << ((p2 - from*8) & 63)
		y, s, sum = decodeStep(y, 0, out, at2)
		y, s, sum = decodeStep(y, sum, out, at2)
		y, s, sum = decodeStep(y, sum, out, at2)
		_, s, sum = decodeStep(y, sum, out, at2)
		at2, p2 = at2+uintptr(sum>>8), p2+int(sum&63)
		if s == 0 {
			break
		}
	}
	return Run{int(at), p, r.End}, Run{int(at2), p2, t.End}
}

// AppendString appends s with its length before it, as Huffman code where that is shorter (RFC 7541 §5.2). The length
// has a prefix of bits bits, and the bit above it says that it is a code; high are the bits above that one. In HPACK
// they are 0 and 7.
func AppendString(dst, s []byte, high byte, bits uint) []byte {
	if len(s) == 0 {
		return append(dst, high)
	}
	dst = reserve(dst, len(s)+2*encodeRoom)
	at := len(dst)
	// The length goes in front: its own length is guessed from s, and right but near 127 and 255 bytes.
	front := integerLen(len(s)*3/4, bits)
	n := encode(dst[at+front:cap(dst)], s)
	if n >= len(s) {
		return append(AppendInteger(dst, high, bits, len(s)), s...)
	}
	if exact := integerLen(n, bits); exact != front {
		copy(dst[at+exact:cap(dst)], dst[at+front:at+front+n])
		front = exact
	}
	AppendInteger(dst, high|1<<bits, bits, n)
	return dst[:at+front+n]
}

// encodeRoom is how many bytes more than its input encode may write.
const encodeRoom = 16

// encode writes the code of s to the front of dst, which has encodeRoom more bytes than s, and returns its length. It
// stops, and returns len(s) or more, when the code is not shorter than s.
//
//	acc  | have bits to be written | zero |      have < 8 between the steps
//
// Where a code goes follows from the lengths alone, so that the shifts of a step wait for sums and not for each other.
// The lengths that come with the codes stay in the lowest six bits, which a step leaves alone: 58 are its limit. One
// with codes of more goes symbol by symbol.
func encode(dst, s []byte) (n int) {
	_ = dst[:len(s)+encodeRoom]
	// SAFETY: eight bytes are stored at n < len(s), and four are loaded at i <= last.
	in, out := unsafe.Pointer(unsafe.SliceData(s)), unsafe.Pointer(unsafe.SliceData(dst))
	i, last := 0, len(s)-4
	var acc, have uint64
	for i < len(s) {
		for i <= last && n < len(s) {
			x := binary.LittleEndian.Uint32((*[4]byte)(unsafe.Add(in, i))[:])
			y, size := acc, have
			a := codes[byte(x)]
			y |= a >> (size & 63)
			size += a
			a = codes[byte(x>>8)]
			y |= a >> (size & 63)
			size += a
			a = codes[byte(x>>16)]
			y |= a >> (size & 63)
			size += a
			a = codes[x>>24]
			y |= a >> (size & 63)
			if size = (size + a) & 0xff; size > 58 {
				break
			}
			binary.BigEndian.PutUint64((*[8]byte)(unsafe.Add(out, n))[:], y)
			acc = y &^ 63 << (size & 56)
			n, i, have = n+int(size>>3), i+4, size&7
		}
		if i == len(s) {
			break
		}
		if n >= len(s) {
			return n
		}
		a := codes[s[i]]
		acc |= a >> (have & 63)
		have += a & 0xff
		binary.BigEndian.PutUint64((*[8]byte)(unsafe.Add(out, n))[:], acc)
		acc = acc &^ 63 << (have & 56)
		n, i, have = n+int(have>>3), i+1, have&7
	}
	if have > 0 {
		dst[n] = byte(acc>>56) | 0xff>>have // RFC 7541 §5.2: the padding is the beginning of EOS
		n++
	}
	return n
}

// roomMin is the least capacity that reserve makes.
const roomMin = 512

// reserve makes room for n bytes after dst.
func reserve(dst []byte, n int) []byte {
	if cap(dst)-len(dst) < n {
		dst = append(make([]byte, 0, max(roomMin, 2*cap(dst), len(dst)+n)), dst...)
	}
	return dst
}
