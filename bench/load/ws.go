package load

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/h1"
)

// The operations of frames: RFC 6455 §5.2.
const (
	opContinue = 0x0
	opText     = 0x1
	opBinary   = 0x2
	opClose    = 0x8
	opPing     = 0x9
	opPong     = 0xa

	finBit     = 0x80
	maskBit    = 0x80
	reserved   = 0x70
	controlMax = 125
)

// webSocketKey is the key of every handshake. It shows that the server speaks WebSocket, and nothing depends on it.
// webSocketAccept is what RFC 6455 §4.2.2 wants of the answer.
const (
	webSocketKey    = "bG9hZCBvZiBlZGdlLWJlbg=="
	webSocketAccept = "nCwrF+xpROM0O4zK/0KY2anuPPQ="
)

// mask is the mask of every frame. RFC 6455 §5.3 wants a mask that scripts in a browser cannot foresee; here there is
// none.
var mask = [4]byte{0x9d, 0x3c, 0x51, 0xe7}

var (
	errEcho     = errors.New("the server sent back another message")
	errFrame    = errors.New("malformed frame of a WebSocket")
	errWSClosed = errors.New("the server closed the WebSocket")
	errAccept   = errors.New("wrong Sec-WebSocket-Accept")
)

// wsClient sends messages over a WebSocket, each when the one before has come back. Owned by its reactor.
type wsClient struct {
	peer
	dec   h1.Decoder // of the answer to the handshake
	start int64
	asked bool   // a message is in progress
	got   int    // bytes of it that came back
	left  uint64 // bytes of the present frame that are to come; they are data
	last  bool   // it ends the message
}

func (c *wsClient) room() int {
	if !c.open || c.asked {
		return 0
	}
	return 1
}

func (c *wsClient) send(start int64) {
	c.asked, c.got, c.start = true, 0, start
	c.w.inFlight++
	_ = c.conn.Write(c.w.plan.ping) // it fails when the connection has closed, of which OnClose will tell
	c.conn.SetTimeout(c.w.plan.Timeout)
}

func (c *wsClient) forget() int {
	n := 0
	if c.asked {
		n = 1
	}
	c.asked, c.left = false, 0
	return n
}

// OnOpen begins the WebSocket.
func (c *wsClient) OnOpen(conn *engine.Conn) {
	c.dec.InitResponses(nil)
	c.dec.Expect(c.w.plan.verb)
	c.dec.ExpectTunnel()
	_ = conn.Write(c.w.plan.wire)
	conn.SetTimeout(c.w.plan.Timeout)
}

// OnData takes the answer to the handshake, then frames.
func (c *wsClient) OnData(conn *engine.Conn, in []byte) (used int) {
	if !c.open {
		n, ok := c.shake(in)
		if !ok {
			return n
		}
		used = n
	}
	for used < len(in) {
		n, err := c.frame(in[used:])
		if err != nil {
			c.leave(err)
			return len(in)
		}
		if n == 0 {
			break
		}
		used += n
	}
	if !c.asked {
		conn.SetTimeout(0)
	}
	c.fill()
	return used
}

// shake takes the answer to the handshake, and reports whether it is whole and opened a WebSocket.
func (c *wsClient) shake(in []byte) (used int, ok bool) {
	h := &c.w.head
	n, ev, _, err := c.dec.Next(in, h)
	switch {
	case err != nil:
	case ev&h1.HeadDone == 0:
		return n, false
	case !h.Tunnel:
		err = fmt.Errorf("the handshake of the WebSocket was answered by %d", h.Status)
	case h.Get("Sec-WebSocket-Accept") != webSocketAccept:
		err = errAccept
	}
	if err != nil {
		c.leave(err)
		return len(in), false
	}
	c.stands()
	return n, true
}

// frame takes a frame, or a part of its data, from the front of in. 0: more bytes are needed.
func (c *wsClient) frame(in []byte) (used int, err error) {
	if c.left > 0 {
		return c.data(in)
	}
	op, size, n, err := frameHead(in)
	if err != nil || n == 0 {
		return 0, err
	}
	switch op {
	case opText, opBinary, opContinue:
		if !c.asked {
			return 0, errUnasked
		}
		c.left, c.last = size, in[0]&finBit != 0
		used, err = c.data(in[n:])
		return n + used, err
	case opClose:
		return 0, errWSClosed
	}
	if len(in)-n < int(size) {
		return 0, nil
	}
	n += int(size)
	if op == opPing {
		_ = c.conn.Write(appendFrame(nil, opPong, in[n-int(size):n]))
	}
	return n, nil
}

func (c *wsClient) data(in []byte) (int, error) {
	n := int(min(c.left, uint64(len(in))))
	c.left -= uint64(n)
	c.got += n
	if c.left > 0 || !c.last {
		return n, nil
	}
	if c.got != len(c.w.plan.Body) {
		return n, errEcho
	}
	c.asked = false
	c.answered(c.start, 0)
	return n, nil
}

// frameHead reads the head of a frame of n bytes; 0: it is not whole.
func frameHead(in []byte) (op byte, size uint64, n int, err error) {
	if len(in) < 2 {
		return 0, 0, 0, nil
	}
	op, size, n = in[0]&0x0f, uint64(in[1]&^maskBit), 2
	switch size {
	case 126:
		if n += 2; len(in) >= n {
			size = uint64(binary.BigEndian.Uint16(in[2:]))
		}
	case 127:
		if n += 8; len(in) >= n {
			size = binary.BigEndian.Uint64(in[2:])
		}
	}
	known := op <= opBinary || op >= opClose && op <= opPong
	// RFC 6455 §5.1: a server does not mask. §5.5: frames of control are short and whole.
	if !known || in[0]&reserved != 0 || in[1]&maskBit != 0 ||
		op >= opClose && (in[1] > controlMax || in[0]&finBit == 0) {
		return 0, 0, 0, errFrame
	}
	if len(in) < n {
		return 0, 0, 0, nil
	}
	return op, size, n, nil
}

func appendFrame(b []byte, op byte, payload []byte) []byte {
	b = append(b, finBit|op)
	switch n := len(payload); {
	case n <= controlMax:
		b = append(b, maskBit|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, maskBit|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, maskBit|127), uint64(n))
	}
	b = append(b, mask[:]...)
	for i, v := range payload {
		b = append(b, v^mask[i%len(mask)])
	}
	return b
}
