package policy

import (
	"bytes"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/message"
)

// staticTypes are suffixes that files have and pages have not, and the media types of the files.
var staticTypes = []struct{ suffixes, types []string }{
	{[]string{"css"}, []string{"text/css"}},
	{[]string{"js", "mjs"}, []string{"text/javascript", "application/javascript", "application/x-javascript"}},
	{[]string{"avif", "bmp", "gif", "ico", "jpeg", "jpg", "png", "svg", "tiff", "webp"}, []string{"image/"}},
	{[]string{"m4a", "mov", "mp3", "mp4", "ogg", "wav", "webm"}, []string{"audio/", "video/", "application/ogg"}},
	{[]string{"eot", "otf", "ttf", "woff", "woff2"}, []string{"font/", "application/font-", "application/x-font-",
		"application/vnd.ms-fontobject"}},
	{[]string{"gz", "pdf", "zip"}, []string{"application/gzip", "application/x-gzip", "application/pdf",
		"application/zip"}},
}

// disguised reports whether the path of request looks like the path of a static file, and answer is of another type:
// an attacker may have led a visitor to it, for the page of the visitor to be stored (web cache deception).
func disguised(request, answer *message.Head) bool {
	path := request.Path()
	name := path[bytes.LastIndexByte(path, '/')+1:]
	dot := bytes.LastIndexByte(name, '.')
	if dot < 0 {
		return false
	}
	for i := range staticTypes {
		if t := &staticTypes[i]; isListed(name[dot+1:], t.suffixes) {
			kind, _, _ := bytes.Cut(answer.Peek(message.ContentType), []byte{';'})
			kind = bytes.TrimRight(kind, blanks)
			// Many servers send files that they do not know as application/octet-stream, and none a page.
			return !isListed(kind, t.types) && !message.EqualFold(kind, "application/octet-stream")
		}
	}
	return false
}

// knows reports whether a request, as it goes to the backend, has no fields but usual ones and fields of r.Known.
func (r *Rules) knows(request *message.Head) bool {
	for i := range request.Fields {
		f, name := &request.Fields[i], request.Name(i)
		if !f.Dropped() && !f.ID.Framing() && !f.ID.Claims() && !isListed(name, usualNames) &&
			!isListed(name, r.Known) {
			return false
		}
	}
	return true
}

// usualNames are names of fields that many requests have, or that edge adds. Not here: framing; claims, which only
// trusted proxies make; X-Requested-With, by which many backends choose a part of a page, and do not say so.
var usualNames = []string{
	"Accept", "Accept-", "Access-Control-Request-", "Authorization", "Baggage", "Cache-Control", "CDN-Loop",
	"Content-Encoding", "Content-Type", "Cookie", "Device-Memory", "DNT", "Downlink", "DPR", "ECT", "Expect", "If-",
	"Max-Forwards", "Origin", "Pragma", "Priority", "Purpose", "Range", "Referer", "RTT", "Save-Data", "Sec-",
	"Traceparent", "Tracestate", "Upgrade-Insecure-Requests", "User-Agent", "Via", "Viewport-Width", "Width",
	"X-Forwarded-", "X-Request-ID",
}

// isListed reports whether a name is in list, in upper or lower case. An element that ends with "-" or "/" stands for
// all names that begin with it.
func isListed(name []byte, list []string) bool {
	for _, one := range list {
		n, open := len(one), strings.HasSuffix(one, "-") || strings.HasSuffix(one, "/")
		if (len(name) == n || len(name) > n && open) && message.EqualFold(name[:n], one) {
			return true
		}
	}
	return false
}

// overrides are fields that would make some backends answer for another host or method: no key has them.
var overrides = []string{
	"x-host", "x-http-host-override", "x-http-method", "x-http-method-override", "x-method-override",
}

// DropOverrides drops the fields of a request that would make some backends answer for another host or method, but for
// those whose names in lower case are in keyed: their values are in the key.
func DropOverrides(request *message.Head, keyed []string) {
	for i := range request.Fields {
		if f := &request.Fields[i]; f.ID == message.Other && request.Base[f.NameAt]|0x20 == 'x' {
			for _, name := range overrides {
				if !slices.Contains(keyed, name) {
					request.Del(name)
				}
			}
			return
		}
	}
}

// Invalidates reports whether the answer to request says that the target has changed: RFC 9111 §4.4.
func Invalidates(request, answer *message.Head) bool {
	if answer.Status < 200 || answer.Status > 399 || request.Verb.Safe() {
		return false
	}
	switch string(request.MethodBytes()) {
	case "PROPFIND", "SEARCH", "REPORT": // safe too: RFC 4918, 5323 and 3253
		return false
	}
	return true
}

// AppendReference appends the target that a reference means, as Location has it, in an answer to the request for target
// of authority by scheme: RFC 3986 §5.2.2. It reports false, and appends nothing, where that is of another origin, or
// no target of a request. dst must not overlap the others.
func AppendReference(dst, reference, scheme, authority, target []byte) (_ []byte, ok bool) {
	start := len(dst)
	reference, _, _ = bytes.Cut(reference, []byte{'#'})
	path, query, hasQuery := bytes.Cut(reference, []byte{'?'})
	if colon := bytes.IndexAny(path, ":/"); colon >= 0 && path[colon] == ':' {
		if !message.EqualFoldBytes(path[:colon], scheme) || !bytes.HasPrefix(path[colon+1:], []byte("//")) {
			return dst, false
		}
		path = path[colon+1:]
	}
	own, named := bytes.CutPrefix(path, []byte("//"))
	if named {
		end := bytes.IndexByte(own, '/')
		if end < 0 {
			end = len(own)
		}
		if own, path = own[:end], own[end:]; !sameOrigin(own, authority, scheme) {
			return dst, false
		}
	}
	base, _, _ := bytes.Cut(target, []byte{'?'})
	switch {
	case len(path) > 0:
		if path[0] != '/' {
			dst = append(dst, base[:bytes.LastIndexByte(base, '/')+1]...)
		}
		dst = appendUndotted(dst[:start], append(dst, path...)[start:])
	case named:
		dst = append(dst, '/')
	case hasQuery:
		dst = append(dst, base...)
	default:
		dst = append(dst, target...)
	}
	if hasQuery {
		dst = append(append(dst, '?'), query...)
	}
	if made := dst[start:]; !message.ValidTarget(made) || made[0] != '/' {
		return dst[:start], false
	}
	return dst, true
}

// sameOrigin reports whether own, as a reference has it, is the authority of a request by scheme.
func sameOrigin(own, authority, scheme []byte) bool {
	_, _, ok := message.SplitAuthority(own)
	return ok && message.SameAuthority(own, authority, defaultPort(scheme))
}

func defaultPort(scheme []byte) string {
	if message.EqualFold(scheme, "https") {
		return "443"
	}
	return "80"
}

// AppendOrigin appends the origin of a request (RFC 9110 §4.3.1): the same text for all spellings of it.
func AppendOrigin(dst, scheme, authority []byte) []byte {
	dst = append(message.AppendLower(dst, scheme), "://"...)
	dst = message.AppendLower(dst, message.HostOf(authority))
	if _, port, _ := message.SplitAuthority(authority); len(port) > 0 && string(port) != defaultPort(scheme) {
		dst = append(append(dst, ':'), port...)
	}
	return dst
}

// appendUndotted appends a path without its dot segments: RFC 3986 §5.2.4. The path may lie where it is appended.
func appendUndotted(dst, path []byte) []byte {
	for start := len(dst); len(path) > 0; {
		end := 1 + bytes.IndexByte(path[1:], '/')
		last := end == 0
		if last {
			end = len(path)
		}
		switch segment := path[:end]; string(segment) {
		case "/.":
		case "/..":
			dst = dst[:start+max(bytes.LastIndexByte(dst[start:], '/'), 0)]
		default:
			dst, last = append(dst, segment...), false
		}
		if path = path[end:]; last {
			dst = append(dst, '/')
		}
	}
	return dst
}
