package tlsconn

import (
	"net"
	"time"

	"github.com/edge-proxy/edge/engine"
)

// layer is TLS between a Conn and its socket. The provider computes and keeps its own state; here is what it reads from
// and writes to.
// Owned by the goroutine of its handshake while there is one, then by its Conn's reactor.
type layer struct {
	conn   secured
	pipe   pipe
	loan   loan
	digest Digest
}

var _ engine.Layer = (*layer)(nil)

// Open feeds the provider one record after the other and lets it read: never without a whole one, since a read that
// finds none costs an allocation. What it gives overwrites records that it has taken.
func (l *layer) Open(b []byte) (n, used int, reply []byte, err error) {
	p := &l.pipe
	p.out = nil
	buffer := l.loan.take()
	for err == nil {
		size := recordSize(b[used:])
		if size == 0 {
			break
		}
		p.in = b[used : used+size]
		used += size
		var m int
		m, err = l.conn.Read(b[n:used])
		n += m
		if err == errWouldBlock { // the record held no data: a ticket, an update of keys, nothing at all
			err = nil
		}
	}
	p.in = nil
	l.loan.give(buffer)
	return n, used, p.out, err
}

// Seal appends p to dst as one record.
func (l *layer) Seal(dst, p []byte) ([]byte, error) {
	l.pipe.out = dst
	_, err := l.conn.Write(p)
	dst, l.pipe.out = l.pipe.out, nil
	return dst, err
}

// End appends close_notify to dst. After a fatal alert there is none.
func (l *layer) End(dst []byte) []byte {
	l.pipe.out = dst
	l.conn.CloseWrite() //nolint:errcheck // what went wrong before has been told
	dst, l.pipe.out = l.pipe.out, nil
	return dst
}

// Sizes of RFC 8446 §5.1 and, the larger one, RFC 5246 §6.2.3.
const (
	headerSize = 5
	bodyMax    = 16<<10 + 2048
)

// recordSize returns the size of the record that b begins with, 0 while it is not whole. A record larger than any may
// be counts as whole: the provider refuses it.
func recordSize(b []byte) int {
	if len(b) < headerSize {
		return 0
	}
	n := int(b[3])<<8 | int(b[4])
	switch {
	case n > bodyMax:
		return len(b)
	case len(b) < headerSize+n:
		return 0
	}
	return headerSize + n
}

// pipe is the net.Conn that the provider was made with: a piece of memory each way.
type pipe struct {
	in      []byte     // Read takes from here; borrowed
	out     []byte     // Write appends here
	shake   *handshake // reads and writes while it lasts
	address *Digest
}

// Read gives bytes of the record that lies there. After its end it would block.
func (p *pipe) Read(b []byte) (int, error) {
	if p.shake != nil {
		return p.shake.read(b)
	}
	if len(p.in) == 0 {
		return 0, errWouldBlock
	}
	n := copy(b, p.in)
	p.in = p.in[n:]
	return n, nil
}

// Write takes all.
func (p *pipe) Write(b []byte) (int, error) {
	if p.shake != nil {
		return p.shake.write(b)
	}
	p.out = append(p.out, b...)
	return len(b), nil
}

// Close does nothing: the socket is the engine's.
func (p *pipe) Close() error { return nil }

// LocalAddr is for callbacks of the configuration, as in ClientHelloInfo.Conn.
func (p *pipe) LocalAddr() net.Addr { return p.address.Local.Net() }

// RemoteAddr is for callbacks of the configuration.
func (p *pipe) RemoteAddr() net.Addr { return p.address.Peer.Net() }

// SetDeadline does nothing: deadlines are the engine's.
func (p *pipe) SetDeadline(time.Time) error { return nil }

// SetReadDeadline does nothing.
func (p *pipe) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline does nothing.
func (p *pipe) SetWriteDeadline(time.Time) error { return nil }

// wouldBlock is what Read says when it has nothing. Because it is temporary, crypto/tls keeps its state and goes on
// with the next Read.
type wouldBlock struct{}

var errWouldBlock error = wouldBlock{}

// Error satisfies error.
func (wouldBlock) Error() string { return "no whole record yet" }

// Timeout satisfies net.Error.
func (wouldBlock) Timeout() bool { return true }

// Temporary satisfies net.Error.
func (wouldBlock) Temporary() bool { return true }
