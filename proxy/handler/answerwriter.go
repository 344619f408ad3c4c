package handler

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"net/textproto"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/base/invariant"
	"github.com/edge-proxy/edge/message"
)

// answerWriter is the http.ResponseWriter of a handler. Owned by the handler's goroutine.
//
//	wrote <=> fields != nil: what WriteHeader found. Fields added to header after that are trailers
//	headSent => wrote
//	released <= ordered until the handler returns: bytes between are on their way to the client, and wait in Write
//	above answerOnOrder
type answerWriter struct {
	ctx  context.Context
	s    *served
	body *requestBody
	head bool // the request is HEAD

	header   http.Header // what Header returns
	fields   http.Header
	declared []string // names of trailers that the head announced
	status   int
	length   int64 // Content-Length as the handler declared it, or LengthUnknown
	wrote    bool
	headSent bool
	written  int64
	ordered  int64
	buf      []byte
	deadline deadline
	hijacked *hijacked // nil: not taken over
}

func newAnswerWriter(ctx context.Context, s *served, r *http.Request, body *requestBody) *answerWriter {
	return &answerWriter{
		ctx: ctx, s: s, body: body, head: r.Method == http.MethodHead,
		header: http.Header{}, length: message.LengthUnknown,
	}
}

// Header returns the fields of the head to be written, and of the trailers after that.
func (w *answerWriter) Header() http.Header { return w.header }

// WriteHeader sets the status; 1xx answers, except 101, are sent at once and may come before it.
func (w *answerWriter) WriteHeader(status int) {
	switch {
	case w.hijacked != nil:
		slog.Warn("WriteHeader on a hijacked connection", "status", status)
		return
	case w.wrote:
		slog.Warn("superfluous WriteHeader", "status", status, "written", w.status)
		return
	case status < 100 || status > 999:
		panic(fmt.Sprintf("invalid WriteHeader code %v", status)) // as net/http does
	case status == http.StatusSwitchingProtocols && w.s.switches: // Hijack sends it
	case status == http.StatusSwitchingProtocols:
		slog.Error("101 answers no request to upgrade that the route allows")
		status = http.StatusInternalServerError
	case status < 200:
		h := newHead(status)
		w.addFields(h, w.header)
		w.post(&part{head: h}) //nolint:errcheck // the final answer will tell
		return
	}
	w.wrote, w.status = true, status
	w.fields = w.header.Clone()
	if v := w.fields.Get("Content-Length"); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n < 0 {
			slog.Warn("invalid Content-Length from a handler", "value", v)
			w.header.Del("Content-Length")
			w.fields.Del("Content-Length")
			return
		}
		w.length = n
	}
}

// Write appends to the body. It waits while the client is behind. p is borrowed until return.
func (w *answerWriter) Write(p []byte) (int, error) { return write(w, p) }

// WriteString is Write.
func (w *answerWriter) WriteString(p string) (int, error) { return write(w, p) }

func write[T string | []byte](w *answerWriter, p T) (n int, err error) {
	if w.hijacked != nil {
		return 0, http.ErrHijacked
	}
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	if len(p) == 0 {
		return 0, nil
	}
	if !bodyAllowed(w.status) {
		return 0, http.ErrBodyNotAllowed
	}
	if w.length >= 0 && w.written+int64(len(p)) > w.length {
		return 0, http.ErrContentLength
	}
	w.written += int64(len(p))
	for {
		k := min(len(p)-n, answerPiece-len(w.buf))
		if len(w.buf)+len(p)-n <= answerWhole {
			k = len(p) - n
		}
		if w.buf == nil {
			w.buf = make([]byte, 0, max(answerWhole, k))
		}
		w.buf = append(w.buf, p[n:n+k]...)
		if n += k; len(w.buf) <= answerWhole {
			return n, nil
		}
		if err := w.send(); err != nil {
			return n, err
		}
		if n == len(p) {
			return n, nil
		}
	}
}

// Flush sends the bytes that were written.
func (w *answerWriter) Flush() { w.FlushError() } //nolint:errcheck // so is its signature

// FlushError sends what was written, the head at least.
func (w *answerWriter) FlushError() error {
	switch {
	case w.hijacked != nil:
		return http.ErrHijacked
	case w.status == http.StatusSwitchingProtocols:
		return nil
	}
	if !w.wrote {
		w.WriteHeader(http.StatusOK)
	}
	return w.send()
}

// SetReadDeadline bounds reads of the body that begin after it; the zero time takes the bound away.
func (w *answerWriter) SetReadDeadline(at time.Time) error {
	w.body.deadline.set(at)
	return nil
}

// SetWriteDeadline bounds how long writes that begin after it wait for the client.
func (w *answerWriter) SetWriteDeadline(at time.Time) error {
	w.deadline.set(at)
	return nil
}

// EnableFullDuplex does nothing: the body may always be read while the answer is written.
func (w *answerWriter) EnableFullDuplex() error { return nil }

// send gives the reactor what is buffered, after the head if that was not sent.
func (w *answerWriter) send() error {
	p := &part{}
	w.fill(p, false)
	if p.head == nil && len(p.data) == 0 {
		return w.ctx.Err()
	}
	return w.post(p)
}

// fill moves what is buffered to p, with the head if that was not sent. done says that nothing will follow.
func (w *answerWriter) fill(p *part, done bool) {
	if !w.headSent {
		w.headSent = true
		p.head = w.finalHead(done)
	}
	if !w.head { // what a handler writes in answer to HEAD tells type and length only
		p.data = w.buf
	}
	w.buf = nil
}

// post gives p to the reactor once the client has taken enough of the earlier pieces.
func (w *answerWriter) post(p *part) error {
	if invariant.On {
		defer w.check()
	}
	for w.ordered-w.s.released.Load() > answerOnOrder {
		if err := w.wait(); err != nil {
			return err
		}
	}
	if err := w.ctx.Err(); err != nil {
		return err
	}
	w.ordered += int64(len(p.data))
	p.task.Run = func(*engine.Reactor) { w.s.arrive(p) }
	w.s.reactor.Post(&p.task)
	return nil
}

// check panics when an invariant of answerWriter does not hold. On the handler's goroutine, before it has returned.
func (w *answerWriter) check() {
	invariant.That(w.wrote == (w.fields != nil), "decided: %v, fields: %v", w.wrote, w.fields)
	invariant.That(w.wrote || !w.headSent, "a head was sent before it was decided")
	ordered, released := w.ordered, w.s.released.Load()
	invariant.That(released <= ordered, "the client took %d bytes of %d", released, ordered)
	invariant.That(ordered-released <= answerOnOrder+answerPiece, "%d bytes are on their way",
		ordered-released)
}

// wait waits until the client has taken something.
func (w *answerWriter) wait() error {
	select {
	case <-w.s.wake:
		return nil
	case <-w.ctx.Done():
		return context.Cause(w.ctx)
	case <-w.deadline.wait():
		return os.ErrDeadlineExceeded
	}
}

// end returns the last part of the answer: the handler has returned.
func (w *answerWriter) end() part {
	if invariant.On {
		w.check()
	}
	switch {
	case w.hijacked != nil:
		return part{}
	case !w.wrote:
		w.WriteHeader(http.StatusOK)
	case w.status == http.StatusSwitchingProtocols:
		slog.Error("101 without Hijack")
		w.status = http.StatusInternalServerError
	}
	p := part{end: true}
	w.fill(&p, true)
	if w.length >= 0 && w.written != w.length && !w.head && bodyAllowed(w.status) {
		p.end, p.failed, p.why = false, true, errAborted
		return p
	}
	p.trailers = w.trailers()
	return p
}

// finalHead makes the head of the answer. done says that buf is its whole body.
func (w *answerWriter) finalHead(done bool) *message.Head {
	h := newHead(w.status)
	f := w.fields
	if _, ok := f["Content-Type"]; !ok && len(w.buf) > 0 && f.Get("Content-Encoding") == "" &&
		f.Get("Transfer-Encoding") == "" {
		f.Set("Content-Type", http.DetectContentType(w.buf))
	}
	trailers := false
	for name := range f {
		trailers = trailers || strings.HasPrefix(name, http.TrailerPrefix)
	}
	for _, list := range f["Trailer"] {
		trailers = true
		w.declare(list)
	}
	switch {
	case w.status == http.StatusNotModified: // RFC 9110 §15.4.5: what would be true of another answer is not repeated
		f.Del("Content-Type")
		f.Del("Content-Length")
	case !bodyAllowed(w.status):
		f.Del("Content-Length")
	case w.length >= 0:
		h.Length = w.length
	case done && !trailers && (!w.head || len(w.buf) > 0):
		h.Length = int64(len(w.buf))
	default:
		h.Length = message.LengthUnknown
	}
	for _, v := range f["Connection"] {
		h.Close = h.Close || strings.EqualFold(v, "close")
	}
	w.addFields(h, f)
	return h
}

// declare notes which trailers the head announces.
func (w *answerWriter) declare(list string) {
	for name := range strings.SplitSeq(list, ",") {
		name = textproto.CanonicalMIMEHeaderKey(strings.TrimSpace(name))
		switch name {
		case "", "Transfer-Encoding", "Content-Length", "Trailer":
		default:
			w.declared = append(w.declared, name)
		}
	}
}

// trailers returns the trailer fields, nil when there are none.
func (w *answerWriter) trailers() *message.Head {
	var h *message.Head
	add := func(name string, values []string) {
		if h == nil {
			h = newHead(0)
		}
		addField(h, name, values)
	}
	for _, key := range slices.Sorted(maps.Keys(w.header)) {
		if name, ok := strings.CutPrefix(key, http.TrailerPrefix); ok {
			add(name, w.header[key])
		}
	}
	for _, name := range w.declared {
		add(name, w.header[name])
	}
	return h
}

// addFields adds fields in the order of their names, as net/http writes them.
func (w *answerWriter) addFields(h *message.Head, fields http.Header) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		if !strings.HasPrefix(name, http.TrailerPrefix) {
			addField(h, name, fields[name])
		}
	}
}

// addField adds a field once for each value; a name that is none is left out, what a value must not hold becomes a
// space.
func addField(h *message.Head, name string, values []string) {
	if !message.ValidName(name) {
		return
	}
	for _, v := range values {
		if !message.ValidValue(v) {
			v = textproto.TrimString(printable(v))
		}
		h.Add(name, v)
	}
}

func printable(v string) string {
	b := []byte(v)
	for i, c := range b {
		if c < ' ' && c != '\t' || c == 0x7f {
			b[i] = ' '
		}
	}
	return string(b)
}

func newHead(status int) *message.Head {
	return &message.Head{Status: uint16(status), Proto: message.HTTP11}
}

// bodyAllowed says whether an answer with this status may have a body (RFC 9110 §6.4.1).
func bodyAllowed(status int) bool {
	return status >= 200 && status != http.StatusNoContent && status != http.StatusNotModified
}
