package poller

import (
	"cmp"
	"iter"
	"net/netip"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// ReceiveWanted is how many bytes of unread datagrams a UDP socket asks the kernel to keep, see Kernel.ReceiveRoom.
const ReceiveWanted = 4 << 20

const (
	// BatchMax is the largest number of messages that one call reads or writes.
	BatchMax = 64
	// DatagramMax is how many bytes a message holds at most: a datagram of IPv4 without its headers.
	DatagramMax = 65507

	segmentsMax = 64 // datagrams of a run: UDP_MAX_SEGMENTS of kernels before 6.9
)

// Datagram is a message of a UDP socket: one datagram, or a run of them that have the same addresses and the same
// length. The kernel takes and gives a run in one piece.
type Datagram struct {
	Data    []byte
	Segment int            // 0: Data is one datagram; else the length of each in a run, but for the last: 1 to Segment
	Peer    netip.AddrPort // never IPv4 in IPv6
	Local   netip.Addr     // the address that it came to, or leaves by; when not valid, the kernel chooses
}

// Segments yields each datagram of d.
func (d *Datagram) Segments() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		left := d.Data
		for d.Segment > 0 && len(left) > d.Segment {
			if !yield(left[:d.Segment:d.Segment]) {
				return
			}
			left = left[d.Segment:]
		}
		yield(left)
	}
}

// extend makes the n bytes that follow Data in memory the next datagram of d, where they fit into its run.
func (d *Datagram) extend(n int, peer netip.AddrPort, local netip.Addr) bool {
	segment := cmp.Or(d.Segment, len(d.Data))
	if n == 0 || n > segment || len(d.Data)%segment != 0 || len(d.Data) >= segmentsMax*segment ||
		len(d.Data)+n > DatagramMax || d.Peer != peer || d.Local != local {
		return false
	}
	d.Data, d.Segment = d.Data[:len(d.Data)+n], segment
	return true
}

// slotSize is the room for a message of a Batch: no UDP message is longer, with its headers.
const slotSize = 64 << 10

// Batch holds the messages of one ReadBatch. Of the 4 MiB of its memory only pages that a message has filled exist. The
// zero value is empty. Owned by a reactor.
type Batch struct {
	messages [BatchMax]Datagram
	n        int
	memory   []byte // BatchMax slots
}

// Len is how many messages there are.
func (b *Batch) Len() int { return b.n }

// At returns message i. It is borrowed until the next ReadBatch.
func (b *Batch) At(i int) *Datagram { return &b.messages[i] }

// Reset takes all messages out.
func (b *Batch) Reset() { b.n = 0 }

// Fill is for simulated kernels. It copies a datagram into b: with join to the end of the last message where it fits
// there, else as a message of its own. It reports false when there is no room.
func (b *Batch) Fill(data []byte, peer netip.AddrPort, local netip.Addr, join bool) bool {
	if b.memory == nil {
		b.memory = make([]byte, BatchMax*slotSize)
	}
	if join && b.n > 0 {
		if last := &b.messages[b.n-1]; last.extend(len(data), peer, local) {
			copy(last.Data[len(last.Data)-len(data):], data)
			return true
		}
	}
	if b.n == BatchMax {
		return false
	}
	b.messages[b.n] = Datagram{Data: append(b.slot(b.n)[:0], data...), Peer: peer, Local: local}
	b.n++
	return true
}

func (b *Batch) slot(i int) []byte { return b.memory[i*slotSize:][:slotSize] }

// SendBytes is the room for the datagrams of a SendBatch.
const SendBytes = 256 << 10

// SendBatch collects datagrams for WriteBatch and joins them to runs. The zero value is empty. Owned by a reactor.
//
//	d := b.Reserve(n)        // nil: write, Reset, and ask again
//	d = append(d, …)         // n bytes at most
//	b.Commit(d, peer, local) // a message, or the end of the last one, after which it lies in buf
type SendBatch struct {
	messages []Datagram
	buf      []byte
	used     int
	split    bool
}

// Reserve returns room for a datagram of at most n bytes, without any in it; nil where b has no room for it.
func (b *SendBatch) Reserve(n int) []byte {
	if b.buf == nil {
		b.buf, b.messages = make([]byte, SendBytes), make([]Datagram, 0, BatchMax)
	}
	if len(b.messages) >= BatchMax || n > len(b.buf)-b.used {
		return nil
	}
	return b.buf[b.used : b.used : b.used+n]
}

// Commit adds d, the slice of Reserve with bytes appended. It joins the last message where peer, local and length allow
// that, so the last message must not have left yet.
func (b *SendBatch) Commit(d []byte, peer netip.AddrPort, local netip.Addr) {
	if invariant.On && len(d) > 0 {
		invariant.That(b.used < len(b.buf) && &d[0] == &b.buf[b.used], "a datagram lies elsewhere than Reserve said")
	}
	b.used += len(d)
	last := len(b.messages) - 1
	if b.split || last < 0 || !b.messages[last].extend(len(d), peer, local) {
		d = b.buf[b.used-len(d) : b.used] // with the rest of buf to extend into
		b.messages = append(b.messages, Datagram{Data: d, Peer: peer, Local: local})
	}
}

// Split makes a message of each datagram of the runs, and there are no runs from now on. It is for EIO and EINVAL, by
// which the kernel says that a network device takes no runs; where the datagrams get an error as well, it was not that,
// see Join. Messages before number from stay as they are.
func (b *SendBatch) Split(from int) {
	b.split = true
	runs := b.messages[from:]
	b.messages = append(make([]Datagram, 0, BatchMax), b.messages[:from]...)
	for i := range runs {
		for d := range runs[i].Segments() {
			b.messages = append(b.messages, Datagram{Data: d, Peer: runs[i].Peer, Local: runs[i].Local})
		}
	}
}

// Join takes Split back for what is committed from now on.
func (b *SendBatch) Join() { b.split = false }

// Len is how many messages there are.
func (b *SendBatch) Len() int { return len(b.messages) }

// At returns message i. It is borrowed until Reset or Split.
func (b *SendBatch) At(i int) *Datagram { return &b.messages[i] }

// Reset takes all messages out.
func (b *SendBatch) Reset() { b.messages, b.used = b.messages[:0], 0 }
