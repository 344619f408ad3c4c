package origin

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"strings"
)

const (
	echoPath   = "/ws"
	keyName    = "sec-websocket-key"
	messageMax = 64 << 10

	opcode  = 0x0f
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xa
	maskLen = 4
)

// webSocketKey finds the key in the fields of a head, nil when there is none.
func webSocketKey(fields []byte) []byte {
	for line := range bytes.SplitSeq(fields, lineEnd) {
		name, value, _ := bytes.Cut(line, []byte(":"))
		if len(name) == len(keyName) && strings.EqualFold(string(name), keyName) {
			return bytes.TrimSpace(value)
		}
	}
	return nil
}

// appendSwitch appends the answer that begins a WebSocket.
func appendSwitch(b, key []byte) []byte {
	b = append(b, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Accept: "...)
	sum := sha1.Sum(append(bytes.Clone(key), "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...)) // RFC 6455 §4.2.2
	b = base64.StdEncoding.AppendEncode(b, sum[:])
	return append(b, "\r\n\r\n"...)
}

// echo answers the frame at the front of in and returns its length, 0 when it is not whole. Not ok: this is no frame of
// a client, or it is too large.
func (s *Server) echo(c *conn, in []byte) (n int, ok bool) {
	if len(in) < 2 {
		return 0, true
	}
	size, at := int(in[1]&0x7f), 2
	switch {
	case in[1] < 0x80: // not masked
		return 0, false
	case size == 126:
		if at = 4; len(in) < at {
			return 0, true
		}
		size = int(binary.BigEndian.Uint16(in[2:]))
	case size == 127:
		if at = 10; len(in) < at {
			return 0, true
		}
		size = int(min(binary.BigEndian.Uint64(in[2:]), messageMax+1))
	}
	if size > messageMax {
		return 0, false
	}
	n = at + maskLen + size
	if len(in) < n {
		return 0, true
	}
	switch in[0] & opcode {
	case opClose:
		c.closing = true
	case opPing:
		s.appendFrame(in[0]&^opcode|opPong, in[1:n], at-1)
	case opPong:
	default:
		s.counter.Add(1)
		s.appendFrame(in[0], in[1:n], at-1)
	}
	return n, true
}

// appendFrame appends a frame to the batch that begins with first. rest is a client's frame after its first byte, in
// which the mask stands at at.
func (s *Server) appendFrame(first byte, rest []byte, at int) {
	s.batch = append(s.batch, first, rest[0]&0x7f)
	s.batch = append(s.batch, rest[1:at]...)
	mask, payload := rest[at:at+maskLen], rest[at+maskLen:]
	for i, v := range payload {
		s.batch = append(s.batch, v^mask[i%maskLen])
	}
}
