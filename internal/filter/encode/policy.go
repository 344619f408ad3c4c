package compress

import (
	"bytes"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/exchange/grpc"
	"github.com/edge-proxy/edge/message"
)

// Policy says which answers are compressed. Immutable.
type Policy struct {
	Codings []Coding // that are offered, the best first
	Types   Types
	MinSize int64 // of a body whose length is known
	Secrets bool  // bodies that a foreign page may have asked for with the client's credentials are compressed, too
}

// Result is why an answer is compressed or not.
type Result uint8

// The results, in the order in which an answer is judged.
const (
	Compressed  Result = iota
	NoBody             // there is none, or it must not be another: HEAD, 204, 206, 304
	Encoded            // it has a coding already
	NoTransform        // client or origin forbid it: RFC 9111 §5.2.1.6, §5.2.2.6
	OtherType          // its type is none of Policy.Types
	Small              // it is smaller than Policy.MinSize
	OldClient          // HTTP/1.0, which would have to close the connection for it
	CrossSite          // BREACH: see Policy.Secrets
	NotAccepted        // the client takes none of Policy.Codings
	NoEncoder          // all encoders are in use, and the client takes no gzip, which needs none
	Results
)

var results = [Results]struct{ word, text string }{
	{"compressed", "it is compressed"},
	{"no_body", "it has no body that may be compressed"},
	{"encoded", "it has a Content-Encoding already"},
	{"no_transform", "Cache-Control says no-transform"},
	{"type", "its type is not in types"},
	{"small", "it is smaller than min_size"},
	{"old_client", "the client speaks HTTP/1.0"},
	{"cross_site", "only css and fonts are compressed for a foreign page that asks with credentials (BREACH)"},
	{"not_accepted", "the client accepts none of encodings"},
	{"no_encoder", "all encoders are in use, and the client accepts no gzip"},
}

// String returns the word of r in metrics.
func (r Result) String() string { return results[r].word }

// Explain returns a clause that says why.
func (r Result) Explain() string { return results[r].text }

// Asker is what else than its head tells of a request.
type Asker struct {
	Authority   []byte // that was asked for, as the client named it
	Certificate bool   // the client has shown a certificate
}

// Judge decides over an answer to request. end: the answer has no body. With NoBody, c is the coding that the answer to
// the same request by GET, with status 200, has. varies reports whether another request might get the answer in another
// form.
func (p *Policy) Judge(request, answer *message.Head, by Asker, end bool) (c Coding, why Result, varies bool) {
	head, same, t := request.Verb == message.VerbHead, answer.Status == 304, answer.Peek(message.ContentType)
	switch s := answer.Status; {
	case s < 200, s == 204, s == 206, request.Verb == message.VerbConnect, end && !head && !same,
		answer.Has(message.ContentRange):
		return Identity, NoBody, false
	case answer.Has(message.ContentEncoding), encodedCall(answer):
		return Identity, Encoded, false
	case hasNoTransform(answer), hasNoTransform(request):
		return Identity, NoTransform, false
	case !p.Types.Match(t) && !(same && t == nil):
		return Identity, OtherType, false
	case !same && p.isSmall(answer, head):
		return Identity, Small, false
	}
	c, why = p.JudgeRequest(request, by)
	if why == CrossSite && !guarded(t) {
		why = Compressed
	}
	if why != Compressed || same && namesStrong(request, answer) {
		c = Identity
	}
	if head || same {
		why = NoBody
	}
	return c, why, true
}

// isSmall reports whether the length of a body is known and below p.MinSize. Many backends answer HEAD with length 0,
// which tells nothing.
func (p *Policy) isSmall(answer *message.Head, head bool) bool {
	n := answer.Length
	if told, ok := message.ParseLength(answer.Peek(message.ContentLength)); ok && head {
		n = told
	}
	return n < p.MinSize && (n > 0 || n == 0 && !head)
}

// namesStrong reports whether If-None-Match of request names the strong tag of a 304 and not the weak one: the client
// has the bytes as they were. The type, which would say whether a 200 is compressed, is not in most 304s.
func namesStrong(request, answer *message.Head) bool {
	names, tag := request.Peek(message.IfNoneMatch), answer.Peek(message.ETag)
	i := bytes.Index(names, tag)
	return len(tag) > 0 && i >= 0 && (i == 0 || names[i-1] != '/')
}

// JudgeRequest is the part of Judge that a request decides. With CrossSite, answers of types that tell no secrets get
// the coding c all the same.
func (p *Policy) JudgeRequest(request *message.Head, by Asker) (c Coding, why Result) {
	if request.Proto == message.HTTP10 {
		return Identity, OldClient
	}
	if c = Negotiate(request, p.Codings); c == Identity {
		return Identity, NotAccepted
	}
	if !p.Secrets && crossSite(request, by) {
		return c, CrossSite
	}
	return c, Compressed
}

// Apply makes h the head of an answer whose body has, or would have by GET, the coding c.
func Apply(h *message.Head, c Coding) {
	if h.Status != 304 {
		h.AddID(message.ContentEncoding, "Content-Encoding", c.String())
	}
	h.DelID(message.AcceptRanges) // of the bytes as they were
	h.DelID(message.ContentLength)
	h.Length = message.LengthUnknown
	for _, name := range []string{"Content-MD5", "Content-Digest", "Repr-Digest", "Digest"} {
		h.Del(name) // RFC 9530: sums over other bytes
	}
	if tag := h.Peek(message.ETag); len(tag) > 0 && tag[0] == '"' { // RFC 9110 §8.8.1: it is not the same byte by byte
		at := len(h.Base)
		h.Base = append(append(h.Base, "W/"...), tag...)
		h.DelID(message.ETag)
		h.AddBytes(message.ETag, "ETag", h.Base[at:])
	}
}

func hasNoTransform(h *message.Head) bool {
	for e := range h.Elements(message.CacheControl) {
		if message.EqualFold(e, "no-transform") {
			return true
		}
	}
	return false
}

// encodedCall reports whether the messages of a gRPC call are compressed.
func encodedCall(h *message.Head) bool {
	i := h.Find("grpc-encoding")
	return i >= 0 && !message.EqualFold(h.Value(i), "identity")
}

// crossSite reports whether a page of another site may have made a browser send request, with the credentials of its
// user. Such a page chooses a part of the answer and sees the length of it on the wire: if the answer is compressed, it
// finds out the rest bit by bit (BREACH, CVE-2013-3587).
func crossSite(request *message.Head, by Asker) bool {
	// Authorization counts though a filter has dropped it since.
	login := func(f message.Field) bool { return f.ID == message.Authorization }
	if !by.Certificate && !request.Has(message.Cookie) && !slices.ContainsFunc(request.Fields, login) {
		return false
	}
	if site, several := request.Single(message.SecFetchSite); site != nil || several {
		return several || message.EqualFold(site, "cross-site")
	}
	referer, several := request.Single(message.Referer)
	if referer == nil {
		return several
	}
	_, rest, found := bytes.Cut(referer, []byte("://"))
	if i := bytes.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	return !found || !message.EqualFoldBytes(hostOf(rest), hostOf(by.Authority))
}

// hostOf returns the host of an authority.
func hostOf(authority []byte) []byte {
	if host, _, ok := message.SplitAuthority(authority); ok {
		return host
	}
	return authority
}

// guarded reports whether answers of a type may tell secrets beside what a request chose: pages, data, and scripts,
// which JSONP has both in. Style sheets and fonts have none.
func guarded(contentType []byte) bool {
	t := essence(contentType)
	return !message.EqualFold(t, "text/css") && !hasPrefixFold(t, "font/") &&
		!message.EqualFold(t, "application/vnd.ms-fontobject")
}

// ComesSlowly reports whether the client of an answer of a type waits for each piece of it: events, and calls of
// gRPC-Web.
func ComesSlowly(contentType []byte) bool {
	return message.EqualFold(essence(contentType), "text/event-stream") || grpc.FormOf(contentType) > grpc.Native
}

// essence returns a type without its parameters.
func essence(contentType []byte) []byte {
	t, _, _ := bytes.Cut(contentType, []byte(";"))
	return bytes.TrimSpace(t)
}

func hasPrefixFold(p []byte, prefix string) bool {
	return len(p) >= len(prefix) && message.EqualFold(p[:len(prefix)], prefix)
}

func hasSuffixFold(p []byte, suffix string) bool {
	return len(p) >= len(suffix) && message.EqualFold(p[len(p)-len(suffix):], suffix)
}

// Types is a set of content types, made of patterns: "text/html", "text/*", "*+json", "*", and "usual" for many of
// them. Immutable, but for Add.
type Types struct{ exact, prefixes, suffixes []string }

// usual are text, data, and formats that are neither and have no compression of their own.
var usual = [...]string{
	"text/*", "*+json", "*+xml", "application/json", "application/javascript", "application/xml", "application/wasm",
	"application/x-javascript", "application/x-ndjson", "application/yaml", "application/grpc-web*",
	"application/vnd.ms-fontobject", "font/ttf", "font/otf", "image/bmp", "image/x-icon", "image/vnd.microsoft.icon",
}

// Add adds a pattern, and reports whether it is one.
func (t *Types) Add(pattern string) bool {
	if pattern == "usual" {
		for _, p := range usual {
			t.Add(p)
		}
		return true
	}
	before, after, found := strings.Cut(strings.TrimPrefix(pattern, "*/"), "*")
	switch {
	case pattern == "", strings.ContainsAny(pattern, "; ,"), before != "" && after != "", strings.Contains(after, "*"),
		pattern != "*" && !strings.ContainsAny(pattern, "/+"):
		return false
	case !found:
		t.exact = append(t.exact, pattern)
	case after == "":
		t.prefixes = append(t.prefixes, before)
	default:
		t.suffixes = append(t.suffixes, after)
	}
	return true
}

// Match reports whether a type is in t. Calls of gRPC are in no set: their clients read no coding of HTTP.
func (t *Types) Match(contentType []byte) bool {
	if grpc.FormOf(contentType) == grpc.Native {
		return false
	}
	of := essence(contentType)
	for _, s := range t.exact {
		if message.EqualFold(of, s) {
			return true
		}
	}
	for _, s := range t.prefixes {
		if hasPrefixFold(of, s) {
			return true
		}
	}
	for _, s := range t.suffixes {
		if hasSuffixFold(of, s) {
			return true
		}
	}
	return false
}
