package static

import (
	"bytes"
	"context"
	"net/http"
	"strconv"
	"unsafe"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

// Open answers with a file or a list that is held, or that a visit has found. The other requests go by net/http: those
// with a body or another method, and those whose conditions http.ServeContent has to decide.
//
//	Open ─┬ held ──────────────────────────────────────┬► Stored
//	      ├ not held ─► a visit ─► ErrAgain ─► Open ───┤
//	      └ not plain ─────────────────────────────────┴► a visit
func (f *files) Open(x *proxy.Exchange, to session.Receiver) proxy.Opening {
	var of *answering
	w, ok := wishesOf(&x.Request)
	if _, takes := to.(proxy.FileReceiver); takes && ok {
		var e *entry
		if of = answers.Of(x); of.visit != nil {
			e, of.visit = of.visit.found, nil
		} else {
			e = f.fresh(x, x.Request.Path())
		}
		if e != nil && len(e.forms) > 0 {
			i := -1
			if len(e.codings) > 0 {
				i = x.Request.Preferred(e.codings...)
			}
			if a := e.forms[i+1].answer(x, &w); a != nil {
				return proxy.Opening{Stored: a}
			}
			of = nil
		}
	}
	v := f.visit(x)
	if v.finds = of != nil && !of.asked; v.finds {
		of.visit, of.asked = v, true
	}
	return handler.FromHTTP(v).Open(x, to)
}

// answering is what an exchange keeps.
type answering struct {
	stored proxy.Stored // what Open returns
	visit  *visit       // that finds what the next call of Open answers with; nil: there is none
	asked  bool         // there was one
}

var answers = proxy.NewLocal[answering]()

// fresh returns the entry that is held for a path, if it was looked at within the last second. It is borrowed while
// Open runs.
func (f *files) fresh(x *proxy.Exchange, name []byte) *entry {
	// SAFETY: the table keeps no key that it is asked for, and name does not change meanwhile.
	e, ok := held().Get(key{f.number, unsafe.String(unsafe.SliceData(name), len(name))})
	if !ok {
		return nil
	}
	switch age := x.Reactor().Now() - e.looked.Load(); {
	case age > int64(validFor):
		return nil
	case age > int64(validFor/2) && e.asked.CompareAndSwap(false, true):
		f.lookAgain(x, e, string(name))
	}
	return e
}

// lookAgain checks on another goroutine whether name still leads to e.
func (f *files) lookAgain(x *proxy.Exchange, e *entry, name string) {
	v, r, j := f.visit(x), x.Reactor(), &engine.Job{}
	j.Do = func(context.Context) { v.lookBriefly(name) }
	j.Done.Run = func(*engine.Reactor) { e.asked.Store(false) }
	if r.Offload(j) != nil {
		e.asked.Store(false)
	}
}

// wishes are the parts of a request that ask for something else than all of a file; nil: it has no such condition.
type wishes struct {
	tag, date   []byte
	part        bool  // a range is asked for
	first, last int64 // the range, as policy.ParseRange has it
}

// wishesOf reports false where the request is not plain: http.ServeContent decides what is more than to compare bytes.
func wishesOf(h *message.Head) (w wishes, ok bool) {
	if h.Verb != message.VerbGet && h.Verb != message.VerbHead || h.Length != 0 || h.Chunked || h.Upgrade {
		return w, false
	}
	ranged := false
	for i := range h.Fields {
		f := &h.Fields[i]
		if f.Dropped() {
			continue
		}
		var of *[]byte
		switch f.ID {
		default:
			continue
		case message.IfMatch, message.IfUnmodifiedSince, message.IfRange:
			return w, false
		case message.IfNoneMatch:
			of = &w.tag
		case message.IfModifiedSince:
			of = &w.date
		case message.Range:
			ranged = true
			continue
		}
		twice := *of != nil
		if *of = h.Value(i); twice || len(*of) == 0 {
			return w, false
		}
	}
	if ranged {
		w.first, w.last, w.part = partOf(h)
	}
	return w, !w.part || w.tag == nil && w.date == nil
}

// answer returns the answer with f, whose head it puts into x.Response; nil: http.ServeContent decides.
func (f *form) answer(x *proxy.Exchange, w *wishes) *proxy.Stored {
	h, a := &x.Response, &answers.Of(x).stored
	*a = proxy.Stored{}
	if w.tag != nil || w.date != nil {
		// RFC 9110 §13.1.3: If-Modified-Since does not count beside If-None-Match.
		if w.tag != nil && string(bytes.TrimPrefix(w.tag, weak)) != f.tag || w.tag == nil && string(w.date) != f.date {
			return nil
		}
		h.Become(&f.same)
		return a
	}
	at, n := int64(0), f.size
	if w.part {
		if at, n, _ = policy.Cut(w.first, w.last, f.size); n <= 0 {
			return nil
		}
	}
	a.Length = n
	if f.file == nil {
		a.Body = f.bytes[at : at+n]
	} else if a.At = at; h.Verb != message.VerbHead {
		if !f.file.Take() {
			return nil
		}
		a.File = f.file
	}
	if h.Become(&f.whole); w.part {
		var text [3*20 + 8]byte
		t := strconv.AppendInt(append(text[:0], "bytes "...), at, 10)
		t = strconv.AppendInt(append(t, '-'), at+n-1, 10)
		h.Status = http.StatusPartialContent
		h.AddBytes(message.ContentRange, "Content-Range", strconv.AppendInt(append(t, '/'), f.size, 10))
	}
	return a
}

var weak = []byte("W/")
