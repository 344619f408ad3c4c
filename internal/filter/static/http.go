package static

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"math"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// visit is a request for which a file is looked for, and an http.Handler where it goes by net/http. Immutable, but for
// found.
type visit struct {
	*files
	reactor *engine.Reactor // its account has the lists that are made
	began   int64           // reactor time
	part    string          // the range that is asked for, as http.ServeContent reads it; "": there is none
	json    bool            // a list is asked for as JSON
	short   bool            // memory is
	finds   bool            // Open answers with what is found
	found   *entry          // without a reference: its files may be closed by now
}

// visit returns the visit of x.
func (f *files) visit(x *proxy.Exchange) *visit {
	r, accept := x.Reactor(), x.Request.Peek(message.Accept)
	json := bytes.Contains(accept, []byte("application/json")) && !bytes.Contains(accept, []byte("text/html"))
	v := &visit{files: f, reactor: r, began: r.Now(), json: json, short: r.Pressure() >= engine.PressureAccept}
	switch first, last, ok := partOf(&x.Request); {
	case !ok:
	case first < 0 && last > 0:
		v.part = fmt.Sprintf("bytes=-%d", last)
	case first < 0: // the last 0 bytes are unsatisfiable: RFC 9110 §14.1.2
		v.part = fmt.Sprintf("bytes=%d-", math.MaxInt64)
	default:
		v.part = fmt.Sprintf("bytes=%d-%d", first, last)
	}
	return v
}

// partOf returns the range that a request asks for. RFC 9110 §14.2: only GET has one.
func partOf(h *message.Head) (first, last int64, ok bool) {
	first, last, ok = policy.ParseRange(h)
	return first, last, ok && h.Verb == message.VerbGet
}

// ServeHTTP answers a request. It ends it by a panic where there is no file: see handler.FromHTTP.
func (v *visit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	name, _, _ := strings.Cut(r.RequestURI, "?")
	e, why := v.look(r.URL, name)
	switch {
	case why != nil:
		panic(why)
	case e == nil:
		redirect(w, r)
		return
	}
	defer e.release()
	if v.finds {
		v.found = e
		panic(proxy.ErrAgain)
	}
	r.Header.Set("Range", v.part)
	e.serve(w, r)
}

const (
	triesMax  = 3   // while a file becomes shorter
	absentMax = 256 // bytes of a path that is held though it leads to no file: clients choose it
)

// look looks for the place that u asks for. For a file it returns an entry, with a reference: the present one under
// name, if nothing has changed, or a new one. For a folder it returns the entry of its list; nil: for a redirect. It
// blocks.
func (v *visit) look(u *url.URL, name string) (e *entry, why *proxy.Error) {
	var at *place
	err := errChanges
	for try := 0; try < triesMax && err == errChanges; try++ {
		if at, why = v.locate(u); why != nil || at.redirect || at.info.IsDir() {
			err = nil
		} else if e, err = v.hold(name, at, v.began); err != nil {
			why = cmp.Or(failure(err), notFound)
		}
	}
	if none := (&entry{}); why == notFound && v.Fallback != "" && len(name) <= absentMax {
		none.refs.Init()
		none.looked.Store(v.began)
		held().Set(key{v.number, name}, none)
	} else if e == nil {
		held().Delete(key{v.number, name})
	}
	if why == nil && e == nil && !at.redirect {
		k := listKey{v.number, at.path, at.asked}
		if v.json {
			k.asked = ""
		}
		e, why = v.list(k, v.reactor, v.short)
	}
	return e, why
}

// lookBriefly is look by name alone. The entry has no reference: its files may be closed by now.
func (v *visit) lookBriefly(name string) (e *entry, why *proxy.Error) {
	u, err := url.ParseRequestURI(name)
	if err != nil {
		return nil, notFound
	}
	if e, why = v.look(u, name); e != nil {
		e.release()
	}
	return e, why
}

// serve answers with a file.
func (e *entry) serve(w http.ResponseWriter, r *http.Request) {
	of := &e.forms[1+message.PreferredIn(r.Header["Accept-Encoding"], e.codings...)]
	maps.Copy(w.Header(), of.fields)
	if of.coding != "" {
		w = measured{w, of.size}
	}
	http.ServeContent(w, r, "", of.modified, of.reader())
}

// measured is an http.ResponseWriter for a body with a content coding, whose length http.ServeContent leaves out.
type measured struct {
	http.ResponseWriter
	size int64
}

// WriteHeader adds it to an answer that has all of the body.
func (m measured) WriteHeader(status int) {
	if status == http.StatusOK {
		m.Header().Set("Content-Length", strconv.FormatInt(m.size, 10))
	}
	m.ResponseWriter.WriteHeader(status)
}

// redirect leads to the folder with a slash at its end. The Location is relative: a route may have taken a prefix off.
func redirect(w http.ResponseWriter, r *http.Request) {
	to := "./" + path.Base(r.URL.EscapedPath()) + "/"
	if r.URL.RawQuery != "" {
		to += "?" + r.URL.RawQuery
	}
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusMovedPermanently)
}
