package observe

import (
	"encoding/binary"
	"net/netip"
	"slices"
	"unsafe"
)

// coder writes the members of records one after the other, or reads them in the same order. Numbers have their size,
// least significant byte first; a text has its length before it.
type coder struct {
	p     []byte // what was written, or is to be read
	reads bool
	bad   bool // what was to be read is malformed
}

// take returns the next n bytes that are to be read, nil for none or where they are not there.
func (c *coder) take(n int) []byte {
	if n == 0 {
		return nil
	}
	if uint(n) > uint(len(c.p)) {
		c.bad, c.p = true, nil
		return nil
	}
	p := c.p[:n:n]
	c.p = c.p[n:]
	return p
}

// length writes the length of a text or of a list, or reads it.
func (c *coder) length(n int) int {
	if !c.reads {
		c.p = binary.AppendUvarint(c.p, uint64(n))
		return n
	}
	v, size := binary.Uvarint(c.p)
	if size <= 0 || v > LineMax {
		c.bad, c.p = true, nil
		return 0
	}
	c.p = c.p[size:]
	return int(v)
}

func (c *coder) bytes(v *[]byte, most int) {
	if c.reads {
		*v = c.take(c.length(0))
	} else {
		c.write(*v, most)
	}
}

func (c *coder) write(p []byte, most int) {
	if len(p) < 0x80 { // as most texts are
		c.p = append(append(c.p, byte(len(p))), p...)
		return
	}
	p = Cut(p, most)
	c.p = append(binary.AppendUvarint(c.p, uint64(len(p))), p...)
}

func (c *coder) string(v *string) {
	if !c.reads {
		c.write(view(*v), TextMax)
	} else {
		p := c.take(c.length(0))
		*v = unsafe.String(unsafe.SliceData(p), len(p)) // SAFETY: borrowed from the frame, as ReadRecord says
	}
}

func (c *coder) raw(v []byte) {
	if c.reads {
		copy(v, c.take(len(v)))
	} else {
		c.p = append(c.p, v...)
	}
}

func (c *coder) byte(v *uint8) {
	if !c.reads {
		c.p = append(c.p, *v)
	} else if p := c.take(1); p != nil {
		*v = p[0]
	}
}

func (c *coder) bool(v *bool) {
	n := uint8(0)
	if *v {
		n = 1
	}
	if c.byte(&n); c.reads {
		*v = n != 0
	}
}

func (c *coder) uint16(v *uint16) {
	if !c.reads {
		c.p = binary.LittleEndian.AppendUint16(c.p, *v)
	} else if p := c.take(2); p != nil {
		*v = binary.LittleEndian.Uint16(p)
	}
}

// numbers writes or reads several numbers, with one look at the room.
func (c *coder) numbers(list ...*int64) {
	at, size := len(c.p), 8*len(list)
	var p []byte
	if c.reads {
		if p = c.take(size); p == nil {
			return
		}
	} else {
		c.p = slices.Grow(c.p, size)[:at+size]
		p = c.p[at:]
	}
	for i, v := range list {
		if c.reads {
			*v = int64(binary.LittleEndian.Uint64(p[8*i:]))
		} else {
			binary.LittleEndian.PutUint64(p[8*i:], uint64(*v))
		}
	}
}

// ints is numbers for a few that have no size.
func (c *coder) ints(list ...*int) {
	for _, v := range list {
		n := int64(*v)
		if c.numbers(&n); c.reads {
			*v = int(n)
		}
	}
}

func (c *coder) addr(v *netip.Addr) {
	b := v.As16()
	is4 := v.Is4()
	c.bool(&is4)
	c.raw(b[:])
	if !c.reads {
		return
	}
	switch *v = netip.AddrFrom16(b); {
	case is4:
		*v = v.Unmap()
	case b == [16]byte{}:
		*v = netip.Addr{}
	}
}

func (c *coder) addrPort(v *netip.AddrPort) {
	ip, port := v.Addr(), v.Port()
	c.addr(&ip)
	if c.uint16(&port); c.reads {
		*v = netip.AddrPortFrom(ip, port)
	}
}

// list writes the length of a list, cut to most, or reads it.
func (c *coder) list(n, most int) int {
	if n = c.length(min(n, most)); n > most {
		c.bad, c.p, n = true, nil, 0
	}
	return n
}

func (c *coder) fields(v *[]Field, most int) {
	n := c.list(len(*v), most)
	if c.reads {
		*v = append((*v)[:0], make([]Field, n)...)
	}
	for i := range (*v)[:n] {
		c.string(&(*v)[i].Name)
		c.string(&(*v)[i].Value)
	}
}

func (c *coder) members(v *[]Member, most int) {
	n := c.list(len(*v), most)
	if c.reads {
		*v = append((*v)[:0], make([]Member, n)...)
	}
	for i := range (*v)[:n] {
		c.string(&(*v)[i].Name)
		c.bytes(&(*v)[i].Value, TextMax)
	}
}
