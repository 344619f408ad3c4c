package proxy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/observe"
	"github.com/edge-proxy/edge/tlsconn"
)

// SetFields makes a filter that sets fields: of the request before it is sent on, of the answer before it is returned.
// An empty value removes the field. What the client says under a name that is set, in any spelling (see Del of
// message.Head) and in trailers too, is not sent on. Names and values must be valid (message.ValidName, ValidValue).
//
// A value may have variables: {request_id}, {trace_id}, {client_ip}, and facts of the client's connection,
// {tls_version}, {tls_cipher}, {tls_group}, {sni}, {alpn}, {client_cert_subject}, {client_cert_issuer},
// {client_cert_serial}, {client_cert_sans}, {client_cert_sha256} and {client_cert_verified}. Where none of
// them is known the field is removed, so that no client can write it itself. Other braces are text.
func SetFields(request, response map[string]string) *Filter {
	f := &Filter{Name: "headers"}
	if list := newFields(request); len(list) > 0 {
		f.UpstreamRequest = func(x *Exchange) { setFields(x, &x.Request, list) }
		for _, set := range list {
			f.owned = append(f.owned, set.name)
		}
	}
	if list := newFields(response); len(list) > 0 {
		f.Response = func(x *Exchange) Verdict {
			setFields(x, &x.Response, list)
			return Next
		}
	}
	return f
}

// setField is a field that SetFields sets. Immutable.
type setField struct {
	name  string
	id    message.Name
	value string
	parts []fieldPart // of the value, where it has variables
}

// fieldPart is a text or a variable.
type fieldPart struct {
	text string
	fact func(x *Exchange) string
}

func newFields(fields map[string]string) (list []setField) {
	for _, name := range slices.Sorted(maps.Keys(fields)) {
		value := fields[name]
		list = append(list, setField{name, message.Lookup(name), value, cutFacts(value)})
	}
	return list
}

// cutFacts cuts a value at its variables; nil when it has none.
func cutFacts(value string) (parts []fieldPart) {
	found := false
	for rest := value; rest != ""; {
		open := strings.IndexByte(rest, '{')
		end := -1
		if open >= 0 {
			end = strings.IndexByte(rest[open:], '}')
		}
		if end < 0 {
			parts = append(parts, fieldPart{text: rest})
			break
		}
		if fact := facts[rest[open+1:open+end]]; fact != nil {
			found = true
			parts = append(parts, fieldPart{text: rest[:open]}, fieldPart{fact: fact})
			rest = rest[open+end+1:]
			continue
		}
		parts = append(parts, fieldPart{text: rest[:open+1]})
		rest = rest[open+1:]
	}
	if !found {
		return nil
	}
	return parts
}

// facts are the variables of fields.
var facts = map[string]func(x *Exchange) string{
	"request_id": (*Exchange).ID,
	"trace_id":   (*Exchange).TraceID,
	"client_ip":  func(x *Exchange) string { return string(observe.AppendIP(nil, x.ClientIP())) },

	"tls_version": tlsFact((*tlsconn.Digest).VersionName),
	"tls_cipher":  tlsFact((*tlsconn.Digest).CipherName),
	"tls_group":   tlsFact((*tlsconn.Digest).GroupName),
	"sni":         tlsFact(hostFact),
	"alpn":        tlsFact(func(d *tlsconn.Digest) string { return d.ALPN }),

	"client_cert_subject": certFact(func(c *tlsconn.Certificate) string { return c.Subject }),
	"client_cert_issuer":  certFact(func(c *tlsconn.Certificate) string { return c.Issuer }),
	"client_cert_serial":  certFact(func(c *tlsconn.Certificate) string { return c.Serial }),
	"client_cert_sans":    certFact(joinNames),
	"client_cert_sha256":  certFact(func(c *tlsconn.Certificate) string { return hex.EncodeToString(c.SHA256[:]) }),
	"client_cert_verified": tlsFact(func(d *tlsconn.Digest) string {
		if d.Verified {
			return "true"
		}
		return ""
	}),
}

// tlsFact is a fact of a connection that is secured; others do not have it.
func tlsFact(of func(d *tlsconn.Digest) string) func(x *Exchange) string {
	return func(x *Exchange) string {
		if x.digest == nil {
			return ""
		}
		return of(x.digest)
	}
}

// hostFact is the name that the client asked for. It may be any text there: RFC 6066 §3 says what is a name, and the
// handshake does not check it.
func hostFact(d *tlsconn.Digest) string {
	if !message.ValidHostName(d.ServerName) {
		return ""
	}
	return d.ServerName
}

// joinNames lists the names of a certificate so that none can be read as two. A comma in a name is "%2C", a percent
// sign "%25", but in a URI, where it encodes already.
func joinNames(c *tlsconn.Certificate) string {
	var list strings.Builder
	for i, name := range c.SANs {
		if i > 0 {
			list.WriteByte(',')
		}
		if !strings.HasPrefix(name, "URI:") {
			name = strings.ReplaceAll(name, "%", "%25")
		}
		list.WriteString(strings.ReplaceAll(name, ",", "%2C"))
	}
	return list.String()
}

func certFact(of func(c *tlsconn.Certificate) string) func(x *Exchange) string {
	return tlsFact(func(d *tlsconn.Digest) string {
		if c := d.PeerCertificate(); c != nil {
			return of(c)
		}
		return ""
	})
}

func setFields(x *Exchange, h *message.Head, list []setField) {
	for i := range list {
		f := &list[i]
		value := f.value
		if f.parts != nil {
			value = valueOf(x, f.parts)
		}
		switch {
		case value == "":
			h.Del(f.name)
		case f.id == message.Host:
			if f.parts != nil && !isHost(value) {
				x.refusal = BadHost
				return
			}
			h.SetAuthority(value)
		default:
			h.Set(f.name, value)
		}
	}
}

// isHost reports whether a value that has variables may stand in Host.
func isHost(value string) bool {
	_, _, ok := message.SplitAuthority([]byte(value))
	return ok
}

// valueOf puts the facts of the request into a value; "" where none of them is known.
func valueOf(x *Exchange, parts []fieldPart) string {
	var value []byte
	known := false
	for _, p := range parts {
		if p.fact == nil {
			value = append(value, p.text...)
			continue
		}
		fact := p.fact(x)
		known = known || fact != ""
		value = appendFact(value, fact)
	}
	if !known {
		return ""
	}
	return string(value)
}

// appendFact appends a text that a client may have chosen: a client that makes its own certificate may put line ends
// into names, which would end the field.
func appendFact(dst []byte, fact string) []byte {
	for _, c := range []byte(fact) {
		if c < ' ' || c == 0x7f {
			dst = message.AppendPercent(dst, c)
			continue
		}
		dst = append(dst, c)
	}
	return dst
}

// Rewrite changes the path of a request before it is sent on. The log, redirects and conditions see the path as it
// came. What it makes begins with one slash.
// Immutable once it is part of a Snapshot.
type Rewrite struct {
	StripPrefix string // taken away where the path begins with it, by segments
	AddPrefix   string // put before what is left
	Path        string // instead of both: a template, see message.ParsePath
}

// targetMax bounds the target that a rewrite or a redirect makes.
const targetMax = 16 << 10

var errRewrite = errors.New("a rewrite has either a path or prefixes, which begin with a slash")

// filter checks w and makes a filter of it.
func (w *Rewrite) filter() (*Filter, error) {
	f := &Filter{Name: "rewrite"}
	if w.Path != "" {
		t, err := message.ParsePath(w.Path)
		if err != nil {
			return nil, fmt.Errorf("rewrite to %q: %w", w.Path, err)
		}
		if w.StripPrefix != "" || w.AddPrefix != "" {
			return nil, errRewrite
		}
		f.UpstreamRequest = func(x *Exchange) {
			if h := &x.Request; h.Bytes(h.Target)[0] == '/' { // neither "*" nor the authority of CONNECT
				rest := restFor(x, t)
				retarget(x, t.Append(h.Base, h, x.Scheme(), rest))
			}
		}
		return f, nil
	}
	strip, put := strings.TrimRight(w.StripPrefix, "/"), strings.TrimRight(w.AddPrefix, "/")
	for _, prefix := range []string{strip, put} {
		if prefix == "" {
			continue
		}
		if _, err := message.ParsePath(prefix); err != nil || strings.ContainsAny(prefix, "{?") {
			return nil, errRewrite
		}
	}
	f.UpstreamRequest = func(x *Exchange) { swapPrefix(x, strip, put) }
	return f, nil
}

// swapPrefix puts one prefix in the place of another.
func swapPrefix(x *Exchange, strip, put string) {
	h := &x.Request
	target, path := h.Bytes(h.Target), h.Path()
	if target[0] != '/' { // "*", or the authority of CONNECT
		return
	}
	if n := len(strip); len(path) >= n && string(path[:n]) == strip && (len(path) == n || path[n] == '/') {
		target, path = target[n:], path[n:]
	}
	base := append(h.Base, put...)
	if len(put)+len(path) == 0 {
		base = append(base, '/')
	}
	retarget(x, message.OneSlash(append(base, target...), len(h.Base)))
}

// retarget makes the bytes that base has beyond the request its target.
func retarget(x *Exchange, base []byte) {
	h := &x.Request
	n := len(base) - len(h.Base)
	if n > targetMax {
		x.refusal = TargetTooLong
		return
	}
	h.Target = message.Span{At: uint32(len(h.Base)), Len: uint32(n)}
	h.Base = base
}

// restFor returns what {rest} stands for, where t has it: what the path has beyond that of the route. "" or a path.
// Borrowed until x ends.
func restFor(x *Exchange, t *message.Template) []byte {
	if !t.HasRest() || x.route.Exact {
		return nil
	}
	path := x.Path()
	if len(path) == 0 || path[0] != '/' { // "*", or the authority of CONNECT
		return nil
	}
	return path[min(x.route.rest, len(path)):]
}

// RewriteLocation makes a filter that has answers name this proxy where they name the backend: a Location or
// Content-Location with the address that the backend was reached by, or the Host that it was sent, also with the
// backend's port in it, becomes a path, and the prefixes of the rewrite are undone in it. w may be nil.
func RewriteLocation(w *Rewrite) *Filter {
	strip, put := "", ""
	if w != nil {
		strip, put = strings.TrimRight(w.StripPrefix, "/"), strings.TrimRight(w.AddPrefix, "/")
	}
	return &Filter{Name: "rewrite_location", UpstreamResponse: func(x *Exchange) {
		for _, name := range []string{"Location", "Content-Location"} {
			v := x.Response.Get(name)
			path, ok := ownPath(x, v)
			if !ok {
				continue
			}
			rest, below := strings.CutPrefix(path, put)
			if below && (rest == "" || strings.IndexByte("/?#", rest[0]) >= 0) {
				path = strip + rest
			}
			if path == "" || path[0] != '/' {
				path = "/" + path
			}
			if path != v { // to a browser "//a/b" is a host, which the backend has not meant
				x.Response.Set(name, string(message.OneSlash([]byte(path), 0)))
			}
		}
	}}
}

// ownPath returns the path, query and fragment of a reference to the backend: one that is a path, or a URL with the
// backend's address, the Host that it was sent, or the name in that Host with the backend's port, as nginx has it.
func ownPath(x *Exchange, ref string) (path string, ok bool) {
	if strings.HasPrefix(ref, "/") && !strings.HasPrefix(ref, "//") {
		return ref, true
	}
	scheme, rest, found := strings.Cut(ref, "://")
	if !found || !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https") {
		return "", false
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	host, backend := rest[:end], x.Backend()
	port := backend[strings.LastIndexByte(backend, ':')+1:]
	if strings.HasPrefix(backend, "unix:") {
		port = "80" // it has none, so nginx names none
	}
	for _, own := range []string{
		backend, string(x.Request.Bytes(x.Request.Authority)), string(x.Request.Host()) + ":" + port,
	} {
		short := hostOfAddress(own, strings.EqualFold(scheme, "https"))
		if own != "" && (strings.EqualFold(host, own) || strings.EqualFold(host, short)) {
			return rest[end:], true
		}
	}
	return "", false
}
