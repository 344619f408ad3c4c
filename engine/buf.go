package engine

// Buf is a chunk of bytes of one size class, a link of a send queue or the home of unread bytes.
// Owned by its reactor; its count is not atomic. Mailing one to another reactor moves the ownership.
//
//	0 <= r <= w <= len(data)     data[r:w] is what it holds
//	shared => data belongs to somebody else and is never written or pooled
type Buf struct {
	next   *Buf
	data   []byte
	r, w   int
	class  uint8
	shared bool
}

// Size classes. A Conn that is idle holds none.
const (
	bufSmall  = 4 << 10
	bufMedium = 16 << 10
	bufLarge  = 64 << 10
)

var bufSizes = [...]int{bufSmall, bufMedium, bufLarge}

// classOwn marks a Buf larger than every class: it is not pooled.
const classOwn = uint8(len(bufSizes))

// bufFreeMax bounds the free bytes that a reactor keeps for each class: a sixteenth of an even share of the memory if
// that is less.
const bufFreeMax = 4 << 20

// bufPool is the free list of one reactor.
// Owned by its reactor.
type bufPool struct {
	free  [len(bufSizes)]*Buf
	count [len(bufSizes)]int // of free Bufs
	nodes *Buf               // free shared nodes, which have no data of their own
	inUse int64              // bytes handed out, and owed
	owed  int64              // those of inUse that are in no Buf: see Reactor.Hold
	kept  int64              // bytes in free Bufs, and what handlers keep: see Reactor.Keep
	ease  int64              // bytes in use and kept above which none are kept: PressureCache
	most  int64              // free bytes of one class
}

// used is what counts against the budget.
func (p *bufPool) used() int64 { return p.inUse + p.kept }

// get returns an empty Buf with room for at least n bytes.
func (p *bufPool) get(n int) *Buf {
	class := uint8(0)
	for class < classOwn && bufSizes[class] < n {
		class++
	}
	if class == classOwn {
		p.inUse += int64(n)
		return &Buf{data: make([]byte, n), class: classOwn}
	}
	p.inUse += int64(bufSizes[class])
	if b := p.free[class]; b != nil {
		p.drop(class)
		b.next = nil
		return b
	}
	return &Buf{data: make([]byte, bufSizes[class]), class: class}
}

// share returns a Buf that refers to data, which stays immutable until the Buf is put back.
func (p *bufPool) share(data []byte) *Buf {
	b := p.nodes
	if b == nil {
		b = &Buf{shared: true}
	} else {
		p.nodes, b.next = b.next, nil
	}
	b.data, b.w = data, len(data)
	return b
}

// put takes b back. Whoever had it must not touch it again.
func (p *bufPool) put(b *Buf) {
	b.r, b.w = 0, 0
	if b.shared {
		b.data = nil
		b.next, p.nodes = p.nodes, b
		return
	}
	p.inUse -= int64(len(b.data))
	poison(b.data)
	n := int64(len(b.data))
	if b.class == classOwn || int64(p.count[b.class])*n >= p.most || p.used()+n > p.ease {
		return
	}
	b.next, p.free[b.class] = p.free[b.class], b
	p.count[b.class]++
	p.kept += n
}

// drop takes the first free Buf of a class off the list.
func (p *bufPool) drop(class uint8) {
	p.free[class] = p.free[class].next
	p.count[class]--
	p.kept -= int64(bufSizes[class])
}

// shrink leaves one part in so many of the free Bufs of each class to the garbage collector; 0: all of them.
func (p *bufPool) shrink(part int) {
	for class := range p.free {
		n := p.count[class]
		if part > 0 {
			n = (n + part - 1) / part
		}
		for range n {
			p.drop(uint8(class))
		}
	}
}

func (b *Buf) bytes() []byte { return b.data[b.r:b.w] }
func (b *Buf) room() int     { return len(b.data) - b.w }
