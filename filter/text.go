package filter

import (
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// TextOf returns the text of t for x: a key to count by, for one. It lies where its only value does, or in memory that
// the request has left over, so that it costs no allocation, and is borrowed until x.Request changes or another text is
// made. For the goroutine that owns x.
func TextOf(x *proxy.Exchange, t *lang.Template) []byte {
	view := proxy.View(x) // which may have the request grow
	h := &x.Request
	return t.Text(view, h.Base[len(h.Base):])
}
