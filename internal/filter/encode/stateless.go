package compress

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/klauspost/compress/flate"

	"github.com/edge-proxy/edge/proxy"
)

// stateless is gzip that remembers the last bytes it has read, and keeps none of them back. It is for bodies that come
// in small pieces over a long time, and for bodies for which there is no stream.
type stateless struct {
	to      *sink
	account func(n int) // counts memory
	history []byte      // that the next piece may refer to
	most    int         // bytes of it
	sum     uint32
	size    uint32
	begun   bool
}

// How much a body remembers. An event has most in common with the last ones, and each costs the time to look through
// its history again: 2 KiB take half of the time of 8 KiB, which is as far as flate.StatelessDeflate looks back, for
// 0 to 7 % more bytes, and thousands of streams may be open.
const (
	historyOfPieces = 8 << 10
	historyOfEvents = 2 << 10
)

// gzipHead is RFC 1952 §2.3 without a name, a time and an operating system.
var gzipHead = [10]byte{0x1f, 0x8b, 8, 9: 255}

// append encodes p, and flushes. The library puts history and piece together in memory that it allocates.
func (e *stateless) append(dst, p []byte, how proxy.Encode) []byte {
	to := e.to
	if to.out = dst; !e.begun {
		e.begun = true
		to.out = append(to.out, gzipHead[:]...)
	}
	if end := how == proxy.EncodeEnd; len(p) > 0 || end {
		_ = flate.StatelessDeflate(to, p, end, e.history) // a sink takes all
	}
	e.sum, e.size = crc32.Update(e.sum, crc32.IEEETable, p), e.size+uint32(len(p))
	e.remember(p)
	if how == proxy.EncodeEnd {
		to.out = binary.LittleEndian.AppendUint32(to.out, e.sum)
		to.out = binary.LittleEndian.AppendUint32(to.out, e.size)
	}
	dst, to.out = to.out, nil
	return dst
}

// remember keeps the last bytes of history and p.
func (e *stateless) remember(p []byte) {
	if e.history == nil {
		e.history = make([]byte, 0, e.most)
		e.account(e.most)
	}
	if more := len(e.history) + len(p) - e.most; more > 0 {
		n := copy(e.history, e.history[min(more, len(e.history)):])
		e.history, p = e.history[:n], p[max(len(p)-e.most, 0):]
	}
	e.history = append(e.history, p...)
}

// close ends the account.
func (e *stateless) close() { e.account(-cap(e.history)) }
