package handover

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/server/process/upgrade"
)

// sendTime is how long a frame waits for room in the channel. The machines leave at most four batches in it, so a
// process that is only slow always has room.
const sendTime = 5 * time.Second

var (
	errNotUnix  = errors.New("not a Unix socket")
	errOneFrame = errors.New("a message without a frame in it")
)

// Channel is one end of the connection between two processes. One goroutine may send and another one receive.
type Channel struct {
	conn *net.UnixConn
	in   []byte
	oob  []byte
	out  []byte
}

// Pair makes a channel to a process that is yet to be started: theirs is for its ExtraFiles, and is to be closed after
// the start.
func Pair() (ours *Channel, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), "upgrade")
	if ours, err = Open(fds[0]); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Open makes a Channel of a descriptor, which it takes over.
func Open(fd int) (*Channel, error) {
	f := os.NewFile(uintptr(fd), "upgrade")
	if f == nil {
		return nil, syscall.EBADF
	}
	defer f.Close() // FileConn has a copy
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return nil, os.NewSyscallError("getsockopt", err)
	}
	c, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	conn, ok := c.(*net.UnixConn)
	if !ok || kind != unix.SOCK_SEQPACKET {
		_ = c.Close()
		return nil, errNotUnix
	}
	return channelOf(conn), nil
}

func channelOf(conn *net.UnixConn) *Channel {
	return &Channel{
		conn: conn, in: make([]byte, upgrade.MessageMax+1),
		oob: make([]byte, unix.CmsgSpace(4*upgrade.FilesMax)+unix.CmsgSpace(unix.SizeofUcred)),
	}
}

// Close ends the channel. The other side finds its end after it has received what was sent.
func (c *Channel) Close() { _ = c.conn.Close() }

// Send sends a frame with descriptors, which stay open. After an error nothing of it was sent.
func (c *Channel) Send(f *upgrade.Frame, fds []int) error {
	var err error
	if c.out, err = upgrade.Append(c.out[:0], f); err != nil {
		return err
	}
	var oob []byte
	if len(fds) > 0 {
		oob = unix.UnixRights(fds...)
	}
	if err := c.conn.SetWriteDeadline(time.Now().Add(sendTime)); err != nil {
		return err
	}
	_, _, err = c.conn.WriteMsgUnix(c.out, oob, nil)
	if err != nil {
		return fmt.Errorf("send %v: %w", f.Type, err)
	}
	return nil
}

// Receive waits for a message, at most until the deadline; the zero time: without one. The message is borrowed until
// the next call; the descriptors, which close on exec, are the caller's. The error is io.EOF when the other side has
// ended and nothing is left to receive, os.ErrDeadlineExceeded at the deadline.
func (c *Channel) Receive(deadline time.Time) (message []byte, fds []int, err error) {
	if err := c.conn.SetReadDeadline(deadline); err != nil {
		return nil, nil, err
	}
	n, oobn, _, _, err := c.conn.ReadMsgUnix(c.in, c.oob)
	if errors.Is(err, syscall.ECONNRESET) {
		// The other side has ended with messages in its own queue. The kernel says so once, before it gives what lies
		// in this one's.
		n, oobn, _, _, err = c.conn.ReadMsgUnix(c.in, c.oob)
	}
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			err = io.EOF
		}
		return nil, nil, err
	}
	if fds, err = rightsIn(c.oob[:oobn]); err != nil {
		return nil, nil, err
	}
	return c.in[:n], fds, nil
}

// rightsIn returns the descriptors of a control message. Those for which this process has no room are missing
// (MSG_CTRUNC): the machines compare their number with what the frame says.
func rightsIn(oob []byte) (fds []int, err error) {
	if len(oob) == 0 {
		return nil, nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil, errOneFrame
	}
	for i := range messages {
		more, err := unix.ParseUnixRights(&messages[i])
		if err == nil {
			fds = append(fds, more...)
		}
	}
	return fds, nil
}

// CloseAll closes descriptors.
func CloseAll(fds []int) {
	for _, fd := range fds {
		_ = unix.Close(fd)
	}
}
