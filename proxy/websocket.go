package proxy

import (
	"crypto/fips140"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"math/rand/v2"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/message"
)

// A WebSocket (RFC 6455) begins by Upgrade in HTTP/1 (§4) and by an extended CONNECT in HTTP/2 (RFC 8441), which has no
// use for the key. What either side misses is made here, of heads and bytes alone:
//
//	client without a key ──► askWebSocket makes one ──────────► origin
//	client with a key    ◄── acceptWebSocket makes Accept ◄──── origin that says none
//	                     ◄── an Accept that comes is checked against the key, in every case

// webSocket is the name of the protocol in Upgrade and :protocol.
const webSocket = "websocket"

// webSocketGUID is the text that RFC 6455 §1.3 appends to a key.
const webSocketGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// askWebSocket prepares the head of a request for a WebSocket. It reports whether it made a key. The key shows that a
// client of HTTP/1 wants a WebSocket, since no script can make a browser send it: without it the request goes on as it
// is, for the origin to refuse. RFC 6455 §4.2.1.
func askWebSocket(h *message.Head) (made bool) {
	if h.Has(message.SecWebSocketKey) || !h.Proto.Shared() {
		return false
	}
	var nonce [16]byte
	binary.NativeEndian.PutUint64(nonce[:], rand.Uint64())
	binary.NativeEndian.PutUint64(nonce[8:], rand.Uint64())
	h.AddID(message.SecWebSocketKey, "Sec-WebSocket-Key", base64.StdEncoding.EncodeToString(nonce[:]))
	if !h.Has(message.SecWebSocketVersion) {
		h.AddID(message.SecWebSocketVersion, "Sec-WebSocket-Version", "13")
	}
	return true
}

// Why an answer opens no WebSocket.
var (
	errNoKey  = errors.New("the client sent no key, which the origin could not see")
	errAccept = errors.New("the answer does not accept the key")
)

// acceptWebSocket looks at h, the head of the answer that opens a WebSocket, and makes it what the client of request
// expects. made is the result of askWebSocket.
func acceptWebSocket(request, h *message.Head, made bool) error {
	key, got := request.Peek(message.SecWebSocketKey), h.Peek(message.SecWebSocketAccept)
	agreed := h.Proto.Shared() // in its own way
	switch {
	case key == nil && agreed:
		return errNoKey
	case key == nil:
		return nil
	case got != nil && string(got) != webSocketAccept(key):
		return errAccept
	case made && got == nil && !agreed:
		return errAccept // RFC 6455 §4.1: we are the client, and there is no other that would look
	case made:
		h.DelID(message.SecWebSocketAccept)
	case got == nil && agreed:
		h.AddID(message.SecWebSocketAccept, "Sec-WebSocket-Accept", webSocketAccept(key))
	}
	return nil
}

// webSocketAccept returns the Sec-WebSocket-Accept for a key.
func webSocketAccept(key []byte) string {
	var sum [sha1.Size]byte
	// The digest proves that the server has read the request. Nothing is kept secret by it.
	fips140.WithoutEnforcement(func() { sum = sha1.Sum(append(append([]byte(nil), key...), webSocketGUID...)) })
	return base64.StdEncoding.EncodeToString(sum[:])
}

// webSocketFrames follows the frames of a WebSocket in one direction, to know where one ends: RFC 6455 §5.2. Of a frame
// it looks at the head, never at the content. Owned by its exchange.
//
//	left > 0 => have == 0
//	have < len(head)
type webSocketFrames struct {
	left   uint64 // bytes of the present frame that are to come
	head   [14]byte
	have   uint8 // bytes of a head that is not whole
	closed bool  // a close frame has passed
}

// Pass follows p.
func (f *webSocketFrames) Pass(p []byte) {
	if invariant.On {
		defer f.check()
	}
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
func (f *webSocketFrames) begin() {
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

// Left returns how many bytes of the present frame are to come. So many may pass unseen: see Skip.
func (f *webSocketFrames) Left() uint64 { return f.left }

// Skip notes that n bytes of the present frame have passed, Left at the most.
func (f *webSocketFrames) Skip(n int) {
	if invariant.On {
		invariant.That(n >= 0 && uint64(n) <= f.left, "%d bytes of a frame have passed, %d were to come", n, f.left)
	}
	f.left -= uint64(n)
}

// Between reports whether a frame may be put in here.
func (f *webSocketFrames) Between() bool { return f.left == 0 && f.have == 0 && !f.closed }

// check panics when an invariant of webSocketFrames does not hold.
func (f *webSocketFrames) check() {
	invariant.That(f.left == 0 || f.have == 0, "%d bytes of a frame are to come, %d of a head came", f.left, f.have)
	invariant.That(int(f.have) < len(f.head), "a head of %d bytes is not whole", f.have)
}

// opClose is the operation of a close frame: RFC 6455 §5.2.
const opClose = 8

// goingAway is a close frame with the status 1001: RFC 6455 §7.4.1. Not to be changed.
var goingAway = []byte{0x80 | opClose, 2, 1001 >> 8, 1001 & 0xff}

// socket is the state of a WebSocket of an Exchange. Owned by its exchange. The zero value is none.
type socket struct {
	asked bool // it was asked for, and the route allows it
	made  bool // with a key that was made here
	sent  webSocketFrames
}
