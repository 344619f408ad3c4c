// Package fdpass sends messages with descriptors from one process to another: SCM_RIGHTS over a Unix socket of type
// SOCK_SEQPACKET, see unix(7).
//
// All descriptors close on exec. The sender keeps its own open. A receiver that may not open as many files gets fewer
// than were sent, the first ones: the messages have to say how many belong to them.
package fdpass

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Max is how many descriptors a message has at most: SCM_MAX_FD of the kernel.
const Max = 253

// ErrNotUnix is the error of Open for what is no socket of the type.
var ErrNotUnix = errors.New("not a Unix socket")

// Conn is one end of a connection. One goroutine may send and another one receive.
type Conn struct {
	*net.UnixConn
	with []byte // that comes beside a message
}

// Of makes a Conn of a socket of the type.
func Of(c *net.UnixConn) *Conn {
	return &Conn{UnixConn: c, with: make([]byte, unix.CmsgSpace(4*Max)+unix.CmsgSpace(unix.SizeofUcred))}
}

// Open makes a Conn of a descriptor, which it takes over.
func Open(f *os.File) (*Conn, error) {
	defer f.Close() // FileConn has a copy
	kind, err := unix.GetsockoptInt(int(f.Fd()), unix.SOL_SOCKET, unix.SO_TYPE)
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
		return nil, ErrNotUnix
	}
	return Of(conn), nil
}

// Pair makes a connection: ours for this process, theirs for another one. theirs is to be closed once that has it.
func Pair(name string) (ours *Conn, theirs *os.File, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	theirs = os.NewFile(uintptr(fds[1]), name)
	if ours, err = Open(os.NewFile(uintptr(fds[0]), name)); err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return ours, theirs, nil
}

// Send sends a message with descriptors, which stay open, and waits for room until limit. After an error nothing of it
// was sent.
func (c *Conn) Send(message []byte, fds []int, limit time.Duration) error {
	var with []byte
	if len(fds) > 0 {
		with = unix.UnixRights(fds...)
	}
	if err := c.SetWriteDeadline(time.Now().Add(limit)); err != nil {
		return err
	}
	_, _, err := c.WriteMsgUnix(message, with, nil)
	return err
}

// Receive waits for a message, at most until a time; the zero time: without end. It puts the bytes into p, and returns
// how many they are; the descriptors are the caller's. The error is io.EOF when the other side has ended and nothing is
// left to receive, os.ErrDeadlineExceeded at the time.
func (c *Conn) Receive(p []byte, until time.Time) (n int, fds []int, err error) {
	if err := c.SetReadDeadline(until); err != nil {
		return 0, nil, err
	}
	n, more, _, _, err := c.ReadMsgUnix(p, c.with)
	if errors.Is(err, syscall.ECONNRESET) {
		// The other side has ended with messages in its own queue. The kernel says so once, before it gives what lies
		// in this one's.
		n, more, _, _, err = c.ReadMsgUnix(p, c.with)
	}
	if err != nil {
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			err = io.EOF
		}
		return 0, nil, err
	}
	return n, rightsIn(c.with[:more]), nil
}

// rightsIn returns the descriptors of control messages.
func rightsIn(with []byte) (fds []int) {
	messages, err := unix.ParseSocketControlMessage(with)
	if err != nil {
		return nil
	}
	for i := range messages {
		if more, err := unix.ParseUnixRights(&messages[i]); err == nil {
			fds = append(fds, more...)
		}
	}
	return fds
}
