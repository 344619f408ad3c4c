package filter

import (
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// TextOf returns the text of t for x: a key to count by, for one. It lies where its only value does, or in memory that
// the request has left over, so that it costs no allocation, and is borrowed until x.Request changes or another text is
// made. For the goroutine that owns x.
func TextOf(x *proxy.Exchange, t *lang.Template) []byte {
	v := proxy.View(x)
	if text, ok := t.Single(v); ok {
		return text
	}
	h := &x.Request
	at := len(h.Base)
	b := t.Append(h.Base, v)
	h.Base = b[:at]
	return b[at:]
}

// TextIn is TextOf for v, the View of x, with one value in each place where there may be several, in the n-th way of
// all: see lang.Template.AppendOne.
func TextIn(x *proxy.Exchange, v *lang.X, t *lang.Template, n int) (text []byte, all int) {
	h := &x.Request
	at := len(h.Base)
	b, all := t.AppendOne(h.Base, v, n)
	h.Base = b[:at]
	return b[at:], all
}
