package cache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"math"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// The first byte of a key says what is stored under it.
const (
	plainKey   = 1 // an answer that varies by nothing, a list, or a marker
	variantKey = 2 // an answer by the values of the fields of a list, or a marker
)

// keyMax bounds a key in bytes.
const keyMax = 8 << 10

// appendKey appends the key of the request: all that tells the backend what is asked for. Each part has its length in
// front, so that no two requests have one key. It reports false for a request that has no key.
func (a *asking) appendKey(dst []byte) (key []byte, ok bool) {
	x, route := a.x, a.route
	h := &x.Request
	asked, sent := x.AskedAuthority(), h.Bytes(h.Authority)
	if len(asked) == 0 {
		return dst, false
	}
	dst = append(dst, plainKey)
	dst = appendPart(dst, route.Identity)
	if h.HTTPS {
		dst = append(dst, 's')
	} else {
		dst = append(dst, 'p')
	}
	if h.Verb == message.VerbQuery { // RFC 10008 §2.7: the content and what describes it are a part of the key
		sum := sha256.Sum256(a.content)
		dst = append(append(dst, 'q'), sum[:]...)
		for _, name := range []string{"Content-Type", "Content-Encoding", "Content-Language"} {
			dst = appendField(dst, h, name)
		}
	} else {
		dst = append(dst, 'g')
	}
	// As they are written: backends are sent them so, and some make another URL of "EXAMPLE.com:80" than of
	// "example.com".
	dst = appendPart(appendPart(dst, asked), sent)
	a.target = route.Query.apply(a.l, &a.l.target, h.Bytes(h.Target))
	dst = appendPart(dst, a.target)
	if x.Trusted() { // what it says of the request, backends may make URLs of
		dst = appendHosts(dst, h)
	}
	for _, name := range route.Fields {
		dst = appendField(dst, h, name)
	}
	if len(route.Texts) > 0 {
		view := proxy.View(x)
		for _, t := range route.Texts {
			at := len(dst)
			dst = t.Append(append(dst, 0, 0, 0, 0), view)
			n := uint32(len(dst) - at - 4)
			if text, ok := t.Single(view); n == 0 && ok && text == nil {
				n = math.MaxUint32 // there is none, which is not the same as an empty one
			}
			binary.LittleEndian.PutUint32(dst[at:], n)
		}
	}
	if route.Key != nil {
		at := len(dst)
		dst = route.Key(x, append(dst, 0, 0, 0, 0))
		binary.LittleEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	}
	return dst, len(dst) <= keyMax
}

// appendHosts appends the fields of h, which a trusted proxy has sent, that say what the client has asked for, and how
// many parts they are.
func appendHosts(dst []byte, h *message.Head) []byte {
	at, n := len(dst), uint32(0)
	dst = append(dst, 0, 0, 0, 0)
	for i := range h.Fields {
		f := &h.Fields[i]
		switch {
		case f.Dropped(), f.ID == message.XForwardedFor:
		case f.ID == message.Forwarded:
			dst, n = appendForwarded(dst, n, h.Value(i))
		case f.ID == message.XOriginalHost, f.ID == message.XOriginalURI, f.ID == message.XOriginalURL,
			f.ID == message.XRewriteURL, f.ID == message.XOriginalMethod, f.ID == message.FrontEndHTTPS,
			f.ID == message.XScheme, f.ID == message.XURLScheme, message.IsForwarding(h.Name(i)):
			dst = appendPart(appendPart(dst, h.Name(i)), h.Value(i))
			n += 2
		}
	}
	binary.LittleEndian.PutUint32(dst[at:], n)
	return dst
}

// appendForwarded appends what a Forwarded (RFC 7239) says beside the addresses of those that it came through, as parts
// that n counts.
func appendForwarded(dst []byte, n uint32, value []byte) (_ []byte, parts uint32) {
	for len(value) > 0 {
		var pair []byte
		if i := bytes.IndexAny(value, ",;"); i >= 0 { // also inside of quotation marks, which only makes more keys
			pair, value = value[:i], value[i+1:]
		} else {
			pair, value = value, nil
		}
		name, _, _ := bytes.Cut(bytes.TrimLeft(pair, " \t"), []byte{'='})
		if !message.EqualFold(name, "for") && !message.EqualFold(name, "by") {
			dst = appendPart(appendPart(dst, "Forwarded"), pair)
			n += 2
		}
	}
	return dst, n
}

// appendField appends the values of all fields called name, and how many there are.
func appendField(dst []byte, h *message.Head, name string) []byte {
	at, n := len(dst), uint32(0)
	dst = append(dst, 0, 0, 0, 0)
	for i := range h.Fields {
		if !h.Fields[i].Dropped() && message.EqualFold(h.Name(i), name) {
			dst = appendPart(dst, h.Value(i))
			n++
		}
	}
	binary.LittleEndian.PutUint32(dst[at:], n)
	return dst
}

func appendPart[T string | []byte](dst []byte, p T) []byte {
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(p)))
	return append(dst, p...)
}

// Query says which parameters of a query are a part of the key. The backend sees no others. The zero value changes
// nothing.
type Query struct {
	Drop []string // names of parameters that are left out; a star at the end stands for any rest
	Keep []string // the only ones that are not; nil: all
	Sort bool     // by name; parameters with the same name keep their order
}

func (q *Query) changes() bool { return q.Sort || len(q.Drop)+len(q.Keep) > 0 }

// apply returns what q leaves of a target, which may be in that memory of l.
func (q *Query) apply(l *local, memory *[]byte, target []byte) []byte {
	if q.changes() {
		*memory, l.params = q.appendTarget((*memory)[:0], l.params[:0], target)
		return *memory
	}
	return target
}

// appendTarget appends what q leaves of a target. params is memory for its parameters.
func (q *Query) appendTarget(dst []byte, params [][]byte, target []byte) (_ []byte, used [][]byte) {
	path, query, _ := bytes.Cut(target, []byte{'?'})
	dst = append(dst, path...)
	for len(query) > 0 {
		var one []byte
		one, query, _ = bytes.Cut(query, []byte{'&'})
		if q.keeps(nameOf(one)) {
			params = append(params, one)
		}
	}
	if q.Sort {
		slices.SortStableFunc(params, func(a, b []byte) int { return bytes.Compare(nameOf(a), nameOf(b)) })
	}
	for i, p := range params {
		if i == 0 {
			dst = append(dst, '?')
		} else {
			dst = append(dst, '&')
		}
		dst = append(dst, p...)
	}
	return dst, params
}

// keeps reports whether a parameter of that name stays. An empty one, as between two "&", does where nothing says what
// is kept.
func (q *Query) keeps(name []byte) bool {
	if len(q.Keep) > 0 {
		return named(q.Keep, name)
	}
	return !named(q.Drop, name)
}

func named(list []string, name []byte) bool {
	for _, n := range list {
		if prefix, open := strings.CutSuffix(n, "*"); string(name) == n ||
			open && len(name) >= len(prefix) && string(name[:len(prefix)]) == prefix {
			return true
		}
	}
	return false
}

func nameOf(param []byte) []byte {
	if i := bytes.IndexByte(param, '='); i >= 0 {
		return param[:i]
	}
	return param
}
