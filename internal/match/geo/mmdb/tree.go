package mmdb

import (
	"encoding/binary"
	"errors"
	"net/netip"
)

// tree is the tree of networks that a file begins with. Each node has two branches, for the next bit of an address. A
// branch leads to another node, to nothing, or to a record:
//
//	0 … nodes-1   the node of that number
//	nodes         nothing
//	more          the record that begins so many bytes after the tree, less nodes
//
// A tree of IPv6 has IPv4 at ::/96. Other branches may lead to the same node: addresses that have one of IPv4 inside.
type tree struct {
	text  []byte
	nodes uint32
	bits  int // of a branch: 24, 28 or 32
	begin int // 0: of IPv6; 96: of IPv4
}

// errTree is what a file whose branches go around in it, or lead out of it, has.
var errTree = errors.New("its tree of networks is damaged")

// separator is how many bytes are between the tree and the first record.
const separator = 16

// branch is a branch that is still to be followed.
type branch struct {
	to     uint32
	hi, lo uint64 // of the address
	bits   int    // of it that are decided
}

// each calls f with all networks and the offset of the record of each, and ends with the first error. It goes to a node
// once.
func (t *tree) each(f func(p netip.Prefix, record uintptr) error) error {
	four := t.four()
	todo := make([]branch, 1, 130)
	todo[0].bits = t.begin
	for left := t.nodes; len(todo) > 0; {
		b := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		inFour := b.bits >= 96 && b.hi == 0 && b.lo>>32 == 0
		switch {
		case b.to == t.nodes || b.to == four && !inFour:
		case b.to > t.nodes:
			if b.to-t.nodes < separator {
				return errTree
			}
			if err := b.networks(inFour, func(p netip.Prefix) error {
				return f(p, uintptr(b.to-t.nodes-separator))
			}); err != nil {
				return err
			}
		case left == 0 || b.bits == 128:
			return errTree
		default:
			left--
			zero, one := t.branches(b.to)
			next := b
			if next.bits++; b.bits < 64 {
				next.hi |= 1 << (63 - b.bits)
			} else {
				next.lo |= 1 << (127 - b.bits)
			}
			next.to = one
			todo = append(todo, next, branch{zero, b.hi, b.lo, next.bits})
		}
	}
	return nil
}

// networks calls f with the network of a branch. A branch that has ::/96 has IPv4 too.
func (b *branch) networks(inFour bool, f func(p netip.Prefix) error) error {
	if inFour {
		a := [4]byte{byte(b.lo >> 24), byte(b.lo >> 16), byte(b.lo >> 8), byte(b.lo)}
		return f(netip.PrefixFrom(netip.AddrFrom4(a), b.bits-96))
	}
	var a [16]byte
	binary.BigEndian.PutUint64(a[:8], b.hi)
	binary.BigEndian.PutUint64(a[8:], b.lo)
	p := netip.PrefixFrom(netip.AddrFrom16(a), b.bits)
	if p.Addr().Is4In6() {
		return nil // it is never looked at
	}
	if err := f(p); err != nil || b.hi|b.lo != 0 {
		return err
	}
	return f(netip.PrefixFrom(netip.IPv4Unspecified(), 0))
}

// four returns the node of ::/96, or nodes where there is none.
func (t *tree) four() uint32 {
	to := uint32(0)
	for bits := t.begin; bits < 96 && to < t.nodes; bits++ {
		to, _ = t.branches(to)
	}
	return min(to, t.nodes)
}

// branches returns where a node leads to. A file has all of its nodes, or it is not opened.
func (t *tree) branches(node uint32) (zero, one uint32) {
	b := t.text[int(node)*t.bits/4:]
	switch t.bits {
	case 24:
		return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]), uint32(b[3])<<16 | uint32(b[4])<<8 | uint32(b[5])
	case 28:
		return uint32(b[3]>>4)<<24 | uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]),
			uint32(b[3]&15)<<24 | uint32(b[4])<<16 | uint32(b[5])<<8 | uint32(b[6])
	}
	return binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])
}
