package syslog

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
)

// chunkBytes of a stream are written at once: many messages.
const chunkBytes = 64 << 10

// Writer sends messages to a syslog server. Owned by one goroutine at a time, but for Close.
type Writer struct {
	composer
	link
	out  []byte // frames that wait to be written, of a stream
	ends []int  // where in out each of them ends

	taken   int   // messages of a call that were taken
	failure error // why others of it were not
}

// New makes a Writer. It does no I/O: the first write connects.
func New(o Options) *Writer {
	o = o.withDefaults()
	w := &Writer{composer: newComposer(o, strconv.Itoa(os.Getpid())), link: link{o: o, now: time.Now}}
	w.peek = func(fd uintptr) {
		_, _, err := syscall.Recvfrom(int(fd), w.first[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		w.arrived = err != syscall.EAGAIN
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	return w
}

// WriteRecords sends a message for each frame of p. It returns how many bytes of whole frames were taken; where
// datagrams were refused in between, as many frames lie beyond n as were refused. p is borrowed until return.
func (w *Writer) WriteRecords(p []byte) (n int, err error) {
	return w.send(p, observe.FrameLen, (*Writer).access)
}

// Write sends a message for each line of p, as WriteRecords does for frames.
func (w *Writer) Write(p []byte) (n int, err error) {
	return w.send(p, lineLen, func(w *Writer, line []byte) error {
		w.event(line, w.now())
		return nil
	})
}

// lineLen returns the length of the first line of p, its end included.
func lineLen(p []byte) int {
	if i := bytes.IndexByte(p, '\n'); i >= 0 {
		return i + 1
	}
	return len(p)
}

// send sends a message for each piece of p. length measures the first piece, compose makes its message.
func (w *Writer) send(p []byte, length func([]byte) int, compose func(*Writer, []byte) error) (n int, err error) {
	if err := w.connect(); err != nil {
		return 0, err
	}
	w.taken, w.failure = 0, nil
	for at := 0; at < len(p) && w.conn != nil; {
		size := length(p[at:])
		if size == 0 {
			w.failure = observe.ErrFrame
			break
		}
		if err := compose(w, p[at:at+size]); err != nil {
			w.failure = err
			break
		}
		at += size
		w.put()
	}
	w.flush()
	if w.failure == nil {
		return len(p), nil
	}
	for range w.taken {
		n += length(p[n:])
	}
	return n, w.failure
}

// put sends the message, or lets it wait for others.
func (w *Writer) put() {
	switch {
	case len(w.msg) == 0: // of an empty line
	case w.datagrams:
		w.datagram(observe.Cut(w.msg, w.o.MaxSize))
		return
	case w.o.Network == "unix":
		w.out = append(append(w.out, w.msg...), '\n')
	default:
		w.out = append(strconv.AppendInt(w.out, int64(len(w.msg)), 10), ' ')
		w.out = append(w.out, w.msg...)
	}
	if w.ends = append(w.ends, len(w.out)); len(w.out) >= chunkBytes {
		w.flush()
	}
}

// datagram sends m. An error that a server will never see again loses one message only.
func (w *Writer) datagram(m []byte) {
	_, err := w.write(m)
	if w.o.Network == "udp" && errors.Is(err, syscall.ECONNREFUSED) {
		// It is the answer to a datagram before, and m was not sent. That one counts as lost, m is sent again.
		w.failure, w.stale = err, true
		w.taken--
		_, err = w.write(m)
	}
	switch {
	case err == nil:
		w.taken++
	case errors.Is(err, syscall.EMSGSIZE), errors.Is(err, syscall.ENOBUFS),
		w.o.Network == "udp" && errors.Is(err, syscall.ECONNREFUSED):
		w.failure = err
	default:
		w.failure = w.broke(err)
	}
}

// flush writes the frames that wait. A frame that is cut by an error counts as lost.
func (w *Writer) flush() {
	n, err := 0, error(nil)
	if len(w.out) > 0 {
		n, err = w.write(w.out)
	}
	for _, end := range w.ends {
		if end <= n {
			w.taken++
		}
	}
	w.out, w.ends = w.out[:0], w.ends[:0]
	if cap(w.out) > 4*chunkBytes { // a long line went through
		w.out, w.msg = nil, nil
	}
	if err != nil {
		w.failure = w.broke(err)
	}
}
