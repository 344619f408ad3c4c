package engine

import (
	"io"
	"syscall"

	"github.com/edge-proxy/edge/poller"
)

// sendFileMax is how much SendFile sends before other connections have their turn.
const sendFileMax = 1 << 20

// SendFile sends up to n bytes that the file from has at an offset, after what is queued, without copying them. They
// must not change any more. It reports false, and has sent nothing, where they have to go by Write: c has a Layer,
// takes a Splice, or closes, or the kernel refuses the call or has refused it before. Where it sends less than n,
// OnSendable follows. A file that ends too early breaks the connection. On the reactor of c, which keeps nothing of
// the file.
func SendFile(c *Conn, from poller.File, at int64, n int) (sent int, ok bool) {
	c.mustOwn()
	r := c.reactor
	if c.layer != nil || c.flags&noSplice != 0 || c.writeClosed() || c.state != open ||
		c.extra != nil && c.extra.spliceOut != nil {
		return 0, false
	}
	if c.queued > 0 && c.can&poller.CanWrite != 0 {
		c.flags |= moreComes
		c.send(nil)
		c.flags &^= moreComes
	}
	for c.state == open && c.queued == 0 && c.can&poller.CanWrite != 0 {
		most := min(n, sendFileMax) - sent
		if most == 0 {
			if sent < n {
				c.flags |= sendable
				c.turnLater()
			}
			return sent, true
		}
		k, e := r.kernel.SendFile(c.fd, from, at+int64(sent), most)
		switch {
		case k > 0: // maybe less than the socket takes: the next call tells
			sent += k
			r.stats.BytesOut += uint64(k)
		case e == syscall.EAGAIN:
			c.can &^= poller.CanWrite
		case cannotSplice(e) && sent == 0:
			c.flags |= noSplice
			return 0, false
		case e == 0:
			c.drop(io.ErrUnexpectedEOF)
		default:
			c.sendFailed(e)
		}
	}
	c.flags |= partSent
	return sent, true
}
