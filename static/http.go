package static

import (
	"maps"
	"net/http"
	"path"
	"strconv"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// visit is a request that goes by net/http: an http.Handler. Immutable.
type visit struct {
	*files
	began int64 // reactor time
}

// ServeHTTP answers a request. It ends it by a panic where there is no file: see handler.FromHTTP.
func (v visit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	name, _, _ := strings.Cut(r.RequestURI, "?")
	at, e, why := v.look(r.URL, name, v.began)
	switch {
	case why != nil:
		panic(why)
	case at.redirect:
		redirect(w, r)
	case e == nil:
		v.list(w, r, at)
	default:
		defer e.release()
		e.serve(w, r)
	}
}

// rangesMax bounds the ranges of a request: beyond them it gets the whole file.
const rangesMax = 100

// serve answers with a file.
func (e *entry) serve(w http.ResponseWriter, r *http.Request) {
	of := &e.forms[1+message.PreferredIn(r.Header["Accept-Encoding"], e.codings...)]
	maps.Copy(w.Header(), of.fields)
	if of.coding != "" {
		w = measured{w, of.size}
	}
	if ranges := r.Header["Range"]; len(ranges) > 1 || len(ranges) == 1 && strings.Count(ranges[0], ",") >= rangesMax {
		r.Header.Del("Range")
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
