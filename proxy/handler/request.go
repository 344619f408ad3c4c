package handler

import (
	"context"
	"crypto/tls"
	"io"
	"maps"
	"net/http"
	"net/textproto"
	"net/url"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/poller"
)

// newRequest makes of h what net/http's server would have made of it. Its Body is nil where one is to come.
func newRequest(s *served, h *message.Head, bodyless bool) (*http.Request, error) {
	target := string(h.Bytes(h.Target))
	u, err := parseTarget(h.Verb, target)
	if err != nil {
		return nil, err
	}
	r := &http.Request{
		Method: string(h.MethodBytes()), URL: u, RequestURI: target,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: httpFields(h), Host: string(h.Bytes(h.Authority)),
		ContentLength: h.Length, Close: h.Close, RemoteAddr: remoteAddr(s.peer),
	}
	switch h.Proto {
	case message.HTTP10:
		r.Proto, r.ProtoMinor = "HTTP/1.0", 0
	case message.HTTP20:
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/2.0", 2, 0
	case message.HTTP30:
		r.Proto, r.ProtoMajor, r.ProtoMinor = "HTTP/3.0", 3, 0
	}
	if d := s.x.TLS(); d != nil {
		r.TLS = connectionState(d)
	}
	if h.Chunked {
		r.TransferEncoding = []string{"chunked"}
	}
	if h.Chunked || h.Proto.Shared() {
		r.Trailer = announced(h)
	}
	if bodyless {
		r.ContentLength, r.Body = 0, http.NoBody
	}
	return r, nil
}

// connectionState returns the tls.ConnectionState that net/http gives for a secured connection.
func connectionState(d *tlsconn.Digest) *tls.ConnectionState {
	return &tls.ConnectionState{
		Version: d.Version, CipherSuite: d.Cipher, CurveID: d.Group, HandshakeComplete: true, DidResume: d.Resumed,
		ServerName: d.ServerName, NegotiatedProtocol: d.ALPN, PeerCertificates: d.Chain(),
	}
}

// announced returns the names of the trailer fields that h announces, without values; nil when there are none.
func announced(h *message.Head) http.Header {
	var names http.Header
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID != message.Trailer || f.Dropped() {
			continue
		}
		for name := range strings.SplitSeq(string(h.Value(i)), ",") {
			name = textproto.CanonicalMIMEHeaderKey(textproto.TrimString(name))
			switch name {
			case "", "Transfer-Encoding", "Content-Length", "Trailer":
			default:
				if names == nil {
					names = http.Header{}
				}
				names[name] = nil
			}
		}
	}
	return names
}

func parseTarget(v message.Verb, target string) (*url.URL, error) {
	if v == message.VerbConnect && !strings.HasPrefix(target, "/") {
		u, err := url.ParseRequestURI("http://" + target)
		if err == nil {
			u.Scheme = ""
		}
		return u, err
	}
	return url.ParseRequestURI(target)
}

// httpFields copies the fields that a handler gets to see: those that net/http's server leaves in a request.
func httpFields(h *message.Head) http.Header {
	fields := make(http.Header, len(h.Fields))
	for i := range h.Fields {
		switch f := &h.Fields[i]; {
		case f.Dropped(), f.ID == message.Host, f.ID == message.TransferEncoding, f.ID == message.Trailer:
		case h.Proto.Shared() && (f.ID == message.Connection || f.ID == message.Upgrade):
			// They stand for an extended CONNECT, which a handler cannot take over.
		default:
			key := f.ID.String()
			if f.ID == message.Other {
				key = string(h.Name(i))
			}
			key = textproto.CanonicalMIMEHeaderKey(key)
			fields[key] = append(fields[key], string(h.Value(i)))
		}
	}
	return fields
}

func remoteAddr(a poller.Addr) string {
	if a.IsUnix() || !a.IP.IsValid() {
		return "@"
	}
	return a.IP.String()
}

// requestBody is the body of a request as its handler reads it. It is not read ahead of the handler by more than
// bodyMax. Safe for any goroutine: a handler may read in another one than its own, and be closed meanwhile.
//
//	asked => the piece that was received last is used up; the reactor puts the next one into bodies
//	!asked => bodies is empty
type requestBody struct {
	s        *served
	ctx      context.Context
	request  *http.Request // its Trailer is filled when the last byte has been read
	closing  sync.Once
	closed   chan struct{}
	deadline deadline

	mu    sync.Mutex // held while reading
	rest  []byte     // of the piece that was received last. guarded by mu
	ended bool       // guarded by mu
	asked bool       // guarded by mu
}

func newRequestBody(ctx context.Context, s *served) *requestBody {
	return &requestBody{s: s, ctx: ctx, closed: make(chan struct{}), asked: !s.asksFirst}
}

// Read waits until something has come. The error is io.EOF after the last byte, the context's error when the client has
// gone, and http.ErrBodyReadAfterClose once the handler has returned.
func (b *requestBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if invariant.On {
		defer b.check()
	}
	select {
	case <-b.closed:
		return 0, http.ErrBodyReadAfterClose
	default:
	}
	if len(b.rest) == 0 && !b.ended {
		if err := b.receive(); err != nil {
			return 0, err
		}
	}
	if len(b.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(p, b.rest)
	b.rest = b.rest[n:]
	return n, nil
}

// receive waits for the next piece. mu is held.
func (b *requestBody) receive() error {
	if !b.asked {
		b.asked = true
		b.s.reactor.Post(&b.s.more)
	}
	expired := b.deadline.wait()
	select {
	case <-expired:
		return os.ErrDeadlineExceeded
	default:
	}
	select {
	case part := <-b.s.bodies:
		b.rest, b.ended, b.asked = part.p, part.end, false
		if len(part.trailer) > 0 && b.request.Trailer == nil {
			b.request.Trailer = http.Header{}
		}
		maps.Copy(b.request.Trailer, part.trailer)
		return nil
	case <-b.closed:
		return http.ErrBodyReadAfterClose
	case <-b.ctx.Done():
		return context.Cause(b.ctx)
	case <-expired:
		return os.ErrDeadlineExceeded
	}
}

// check panics when an invariant of requestBody does not hold. mu is held.
func (b *requestBody) check() {
	invariant.That(!b.asked || len(b.rest) == 0 && !b.ended, "%d bytes are left, ended %v, and more was asked for",
		len(b.rest), b.ended)
	invariant.That(b.asked || len(b.s.bodies) == 0, "a piece came that was not asked for")
}

// Close ends reading.
func (b *requestBody) Close() error {
	b.closing.Do(func() { close(b.closed) })
	return nil
}

// deadline is a time that goroutines do not wait beyond. The zero value is none. Safe for any goroutine.
type deadline struct {
	mu     sync.Mutex
	passed chan struct{} // closed when the time has come; nil: not asked for yet. guarded by mu
	timer  *time.Timer   // nil: none is set, or it has come. guarded by mu
}

// set takes the place of the time before, for those who wait already as well; the zero time is none.
func (d *deadline) set(at time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	if d.over() {
		d.passed = nil
	}
	if at.IsZero() {
		return
	}
	left := time.Until(at)
	if left <= 0 {
		d.pass()
		return
	}
	var t *time.Timer
	t = time.AfterFunc(left, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.timer == t { // another one was not set meanwhile
			d.timer = nil
			d.pass()
		}
	})
	d.timer = t
}

// pass tells all that wait that the time has come. mu is held.
func (d *deadline) pass() {
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	close(d.passed)
}

// over reports whether the time has come. mu is held.
func (d *deadline) over() bool {
	select {
	case <-d.passed:
		return true
	default:
		return false
	}
}

// wait returns a channel that is closed when the time has come.
func (d *deadline) wait() <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.passed == nil {
		d.passed = make(chan struct{})
	}
	return d.passed
}

var _ io.ReadCloser = (*requestBody)(nil)
