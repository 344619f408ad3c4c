package syslog

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A connection is made again after 1, 2, 4 … 30 s.
const (
	waitMin = time.Second
	waitMax = 30 * time.Second
)

// link is the connection to the server, or the wait for one: then conn is nil, again says when the server is dialled,
// and refusal why there is no connection. Owned by the writing goroutine, but for Close.
type link struct {
	o   Options
	now func() time.Time

	ctx    context.Context // Close ends it
	cancel context.CancelFunc
	mu     sync.Mutex
	conn   net.Conn // guarded by mu; the writing goroutine sets it, and reads it without mu

	raw       net.Conn // conn, or the one below its TLS
	datagrams bool
	stale     bool      // a datagram was refused: its name may have another address by now
	since     time.Time // conn was made

	fd      syscall.RawConn // of raw
	peek    func(fd uintptr)
	first   [1]byte
	arrived bool // peek has seen bytes, or the end

	wait    time.Duration // the last one
	again   time.Time
	refusal error
}

// connect makes the connection unless it stands. Within the time of waiting it fails at once.
func (l *link) connect() error {
	if l.ctx.Err() != nil {
		return net.ErrClosed
	}
	if l.conn != nil {
		stood := l.now().Sub(l.since)
		switch {
		case l.stale && stood >= waitMax:
			l.disconnect()
			l.again = time.Time{}
		case l.datagrams || !l.peerClosed():
			return nil
		default:
			_ = l.broke(io.EOF)
			if stood >= waitMin { // a server that started again, or closes idle connections: nothing is lost
				l.again = time.Time{}
			}
		}
	}
	if l.now().Before(l.again) {
		return l.refusal
	}
	conn, err := l.dial(l.ctx)
	if err != nil {
		return l.postpone(err)
	}
	l.raw = conn
	if t, ok := conn.(*tls.Conn); ok {
		l.raw = t.NetConn()
	}
	if l.fd, err = l.raw.(syscall.Conn).SyscallConn(); err != nil {
		_ = l.raw.Close()
		return l.postpone(err)
	}
	network := conn.RemoteAddr().Network()
	l.datagrams, l.stale, l.since = network == "udp" || network == "unixgram", false, l.now()
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ctx.Err() != nil { // Close has not seen conn
		_ = l.raw.Close()
		return net.ErrClosed
	}
	l.conn = conn
	return nil
}

// Ping makes a connection as a write would, TLS included, and closes it: nothing is sent.
func (l *link) Ping(ctx context.Context) error {
	conn, err := l.dial(ctx)
	if err != nil {
		return l.failed(err)
	}
	return conn.Close()
}

func (l *link) failed(err error) error {
	return fmt.Errorf("syslog over %s to %s: %w", l.o.Network, l.o.Address, err)
}

func (l *link) dial(ctx context.Context) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, l.o.Timeout)
	defer cancel()
	var d net.Dialer
	switch l.o.Network {
	case "tls":
		return (&tls.Dialer{Config: l.o.TLS}).DialContext(ctx, "tcp", l.o.Address)
	case "unix": // as syslog(3)
		conn, err := d.DialContext(ctx, "unixgram", l.o.Address)
		if !errors.Is(err, syscall.EPROTOTYPE) {
			return conn, err
		}
	}
	return d.DialContext(ctx, l.o.Network, l.o.Address)
}

// peerClosed reports whether the other side has closed a stream: what is written then would be lost without an error.
// A server sends nothing but the end, and tickets of TLS, which are read.
func (l *link) peerClosed() bool {
	if err := l.fd.Control(l.peek); err != nil || !l.arrived {
		return err != nil
	}
	_ = l.conn.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := l.conn.Read(make([]byte, 512))
	return err != nil && !errors.Is(err, os.ErrDeadlineExceeded)
}

func (l *link) write(p []byte) (int, error) {
	if err := l.conn.SetWriteDeadline(time.Now().Add(l.o.Timeout)); err != nil {
		return 0, err
	}
	return l.conn.Write(p)
}

// broke closes the connection, since a part of a message may have been sent, and returns why there is none.
func (l *link) broke(err error) error {
	if l.now().Sub(l.since) >= waitMax {
		l.wait = 0
	}
	l.disconnect()
	return l.postpone(err)
}

// disconnect closes without the goodbye of TLS, for which a silent peer would have to be waited for.
func (l *link) disconnect() {
	l.mu.Lock()
	l.conn = nil
	l.mu.Unlock()
	_ = l.raw.Close()
}

// postpone sets when the connection is made again, and returns why there is none.
func (l *link) postpone(err error) error {
	if l.ctx.Err() != nil {
		return net.ErrClosed
	}
	l.wait = min(max(2*l.wait, waitMin), waitMax)
	l.again = l.now().Add(l.wait)
	l.refusal = l.failed(err)
	return l.refusal
}

// Close closes the connection and ends a write that waits. Later writes get net.ErrClosed. Safe for any goroutine.
func (l *link) Close() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	closed := l.ctx.Err() != nil
	l.cancel()
	if closed || l.conn == nil {
		return nil
	}
	// The goodbye of TLS may find no room.
	end := time.AfterFunc(l.o.Timeout, func() { _ = l.raw.Close() })
	defer end.Stop()
	return l.conn.Close()
}
