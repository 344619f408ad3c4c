package proxy

import (
	"crypto/fips140"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"math/rand/v2"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/session"
)

// A WebSocket begins by Upgrade in HTTP/1 (RFC 6455 §4) and by an extended CONNECT in HTTP/2 (RFC 8441), which has no
// use for the key. What either side misses is made here:
//
//	client without a key ──► one is made ──► origin
//	client with a key    ◄── Accept is made ◄── origin that says none
//	                     ◄── an Accept that comes is held against the key, whoever made it

// socket is what an Exchange knows of a WebSocket. Owned by its exchange. The zero value is none.
type socket struct {
	asked bool // it was asked for, and the route allows it
	made  bool // with a key that was made here
	sent  frames
}

// socketGUID is what RFC 6455 §1.3 puts behind a key.
const socketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// askSocket prepares a request for a WebSocket. The key is what shows that a client of HTTP/1 wants one, since no
// script can have a browser send it: without it the request goes on as it is, for the origin to refuse.
// RFC 6455 §4.2.1.
func (x *Exchange) askSocket() {
	h := &x.Request
	x.socket.asked = true
	if h.Has(message.SecWebSocketKey) || h.Proto != message.HTTP20 {
		return
	}
	x.socket.made = true
	var nonce [16]byte
	binary.NativeEndian.PutUint64(nonce[:], rand.Uint64())
	binary.NativeEndian.PutUint64(nonce[8:], rand.Uint64())
	h.AddID(message.SecWebSocketKey, "Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(nonce[:]))
	if !h.Has(message.SecWebSocketVersion) {
		h.AddID(message.SecWebSocketVersion, "Sec-WebSocket-Version", "13")
	}
}

// acceptSocket looks at the answer that opens a WebSocket. It returns nil when it fits.
func (x *Exchange) acceptSocket(h *message.Head) *Fault {
	key, got := x.Request.Peek(message.SecWebSocketKey), h.Peek(message.SecWebSocketAccept)
	agreed := h.Proto == message.HTTP20 // in its own way
	switch {
	case key == nil && agreed:
		return faultNoTunnel // an origin of HTTP/2 cannot see that the client had none
	case key == nil:
		return nil
	case got != nil && string(got) != acceptOf(key):
		return faultMalformed
	case x.socket.made && got == nil && !agreed:
		return faultMalformed // RFC 6455 §4.1: we are the client, and there is no other that would look
	case x.socket.made:
		h.Drop(message.SecWebSocketAccept)
	case got == nil && agreed:
		h.AddID(message.SecWebSocketAccept, "Sec-WebSocket-Accept", acceptOf(key))
	}
	return nil
}

// acceptOf returns what a server answers to a key.
func acceptOf(key []byte) string {
	var sum [sha1.Size]byte
	// The digest proves that the server has read the request. Nothing is kept secret by it.
	fips140.WithoutEnforcement(func() { sum = sha1.Sum(append(append([]byte(nil), key...), socketGUID...)) })
	return base64.StdEncoding.EncodeToString(sum[:])
}

// frames follows the frames of a WebSocket in one direction, to know where one ends: RFC 6455 §5.2.
//
//	left > 0 => have == 0
type frames struct {
	left   uint64 // bytes of the present frame that are to come
	head   [14]byte
	have   uint8 // bytes of a head that is not whole
	closed bool  // a close frame has passed
}

// pass follows p.
func (f *frames) pass(p []byte) {
	for len(p) > 0 {
		if f.left > 0 {
			n := min(f.left, uint64(len(p)))
			f.left -= n
			p = p[n:]
			continue
		}
		f.head[f.have] = p[0]
		f.have++
		p = p[1:]
		f.begin()
	}
}

// begin begins a frame when its head is whole.
func (f *frames) begin() {
	if f.have < 2 {
		return
	}
	size, length := uint8(2), uint64(f.head[1]&0x7f)
	switch length {
	case 126:
		size += 2
	case 127:
		size += 8
	}
	masked := f.head[1]&0x80 != 0
	if masked {
		size += 4
	}
	if f.have < size {
		return
	}
	switch length {
	case 126:
		length = uint64(binary.BigEndian.Uint16(f.head[2:]))
	case 127:
		length = binary.BigEndian.Uint64(f.head[2:])
	}
	f.have, f.left = 0, length
	f.closed = f.closed || f.head[0]&0x0f == opClose
}

// between reports whether a frame may be put in here.
func (f *frames) between() bool { return f.left == 0 && f.have == 0 && !f.closed }

const opClose = 8

// goingAway is a close frame with the status 1001: RFC 6455 §7.4.1.
var goingAway = []byte{0x80 | opClose, 2, 1001 >> 8, 1001 & 0xff}

// OnParting tells the client of a WebSocket why its connection ends, where that can be said between two frames.
func (d *downSide) OnParting(s session.Stream) {
	x := (*Exchange)(d)
	if x.tunnel && x.answering && x.socket.asked && x.socket.sent.between() && len(x.toDown.held) == 0 &&
		!x.toDown.endSent {
		s.SendData(goingAway, true) //nolint:errcheck // it is the last word
	}
}
