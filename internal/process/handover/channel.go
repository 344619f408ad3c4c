package handover

import (
	"fmt"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/base/fdpass"
	"github.com/edge-proxy/edge/internal/process/upgrade"
)

// sendTime is how long a frame waits for room in the channel. The machines leave at most four batches in it, so a
// process that is only slow always has room.
const sendTime = 5 * time.Second

// Channel is one end of the connection between two processes. One goroutine may send and another one receive.
type Channel struct {
	conn *fdpass.Conn
	in   []byte
	out  []byte
}

// Pair makes a channel to a process that is yet to be started: theirs is for its ExtraFiles, and is to be closed after
// the start.
func Pair() (ours *Channel, theirs *os.File, err error) {
	conn, theirs, err := fdpass.Pair("upgrade")
	if err != nil {
		return nil, nil, err
	}
	return channelOf(conn), theirs, nil
}

// Open makes a Channel of a descriptor, which it takes over.
func Open(fd int) (*Channel, error) {
	f := os.NewFile(uintptr(fd), "upgrade")
	if f == nil {
		return nil, syscall.EBADF
	}
	conn, err := fdpass.Open(f)
	if err != nil {
		return nil, err
	}
	return channelOf(conn), nil
}

func channelOf(conn *fdpass.Conn) *Channel {
	return &Channel{conn: conn, in: make([]byte, upgrade.MessageMax+1)}
}

// Close ends the channel. The other side finds its end after it has received what was sent.
func (c *Channel) Close() { _ = c.conn.Close() }

// Send sends a frame with descriptors, which stay open. After an error nothing of it was sent.
func (c *Channel) Send(f *upgrade.Frame, fds []int) error {
	var err error
	if c.out, err = upgrade.Append(c.out[:0], f); err != nil {
		return err
	}
	if err = c.conn.Send(c.out, fds, sendTime); err != nil {
		return fmt.Errorf("send %v: %w", f.Type, err)
	}
	return nil
}

// Receive waits for a message, at most until the deadline; the zero time: without one. The message is borrowed until
// the next call; the descriptors, which close on exec, are the caller's. Those for which this process has no room are
// missing: the machines compare their number with what the frame says. The error is io.EOF when the other side has
// ended and nothing is left to receive, os.ErrDeadlineExceeded at the deadline.
func (c *Channel) Receive(deadline time.Time) (message []byte, fds []int, err error) {
	n, fds, err := c.conn.Receive(c.in, deadline)
	return c.in[:n], fds, err
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
