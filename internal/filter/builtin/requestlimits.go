package builtin

import (
	"bytes"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/internal/filter"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// RequestLimits is the table of a filter of the type "request_limits". A limit that is 0 or empty does not hold.
//
//	[filters.forms]
//	type          = "request_limits"
//	methods       = ["GET", "POST"]
//	body          = "1m"
//	content_types = ["application/json", "multipart/form-data"]
//
// It is no guard of the server's memory: `limits` of a listener are, which the codecs obey while a head is read, before
// any filter. What this filter bounds is lower, and differs from route to route.
//
// # What is looked at
//
// The request as it came, in this order: method (405 with Allow), length of the target (414), fields and their bytes
// (431), parameters of the query (400), type of the content (415), length of the body (413). A body whose length is not
// told is counted while it is passed on, and cut off where it becomes too long: see proxy.LimitBody.
//
// A filter is immutable after NewRequestLimits, and safe for all reactors. A request that passes costs a comparison for
// each limit that is set, a walk over its fields for the limits of the head, and no allocation. A body is neither
// copied nor kept.
type RequestLimits struct {
	Methods []string `edge:"methods" doc:"Methods that are allowed, HEAD with GET; else 405." example:"POST"`
	Target  int64    `edge:"target" unit:"size" doc:"Longest path with query; else 414." min:"0" max:"1m" example:"2k"`

	Fields     int   `edge:"fields" doc:"Maximum number of fields; else 431." min:"0" max:"10000" example:"50"`
	HeaderSize int64 `edge:"header_size" unit:"size" doc:"Size of all fields; else 431." min:"0" max:"1m" example:"8k"`

	Parameters int `edge:"parameters" doc:"Largest number of parameters; else 400." min:"0" max:"10000" example:"30"`

	ContentTypes []string `edge:"content_types" doc:"Content types that bodies may have; else 415." example:"image/*"`

	Body int64 `edge:"body" unit:"size" doc:"Longest body of a request; else 413." min:"0" max:"1024g" example:"1m"`
}

// Check finds what is no method and no type, and a filter without a limit.
func (c *RequestLimits) Check(r *plugin.Report) {
	for i, m := range c.Methods {
		if !message.ValidName(m) {
			r.Element("methods", i, len(c.Methods)).Errorf("", "%q is no method", m)
		}
	}
	for i, text := range c.ContentTypes {
		if _, ok := parseType(text); !ok {
			r.Element("content_types", i, len(c.ContentTypes)).Errorf(
				"write application/json or image/*", "%q is no type", text)
		}
	}
	if len(c.Methods)+len(c.ContentTypes)+c.Fields+c.Parameters == 0 && c.Target+c.HeaderSize+c.Body == 0 {
		r.At("body").Errorf("set body, methods or another key", "no limit is set: the filter would take everything")
	}
}

func init() {
	plugin.Register(plugin.Filters, "request_limits",
		"Bounds methods, targets, fields and bodies of requests.", NewRequestLimits)
}

// The failures that a request meets. The failure of a body is proxy.BodyTooLarge.
var (
	methodRefused     = filter.Refusal("method", 405, "This method is not taken here.", false)
	targetTooLong     = filter.Refusal("target_length", 414, "The request target is too long.", false)
	headTooLarge      = filter.Refusal("header_size", 431, "The head of the request is too large.", false)
	tooManyParameters = filter.Refusal("parameters", 400, "The query has too many parameters.", false)
	typeRefused       = filter.Refusal("content_type", 415, "Content of this type is not taken here.", false)
)

// requestLimiter is a filter of this type. Immutable.
type requestLimiter struct {
	checks []limitCheck
	body   int64 // 0: any
	large  *plugin.Counter
}

// limitCheck is one limit: what it asks, and what becomes of a request that is not within it.
type limitCheck struct {
	within  func(x *proxy.Exchange) bool
	refusal proxy.Verdict
	refused *plugin.Counter
}

// counting is the limiter that counts the body of an exchange whose length is not told.
var counting = proxy.NewLocal[*requestLimiter]()

// NewRequestLimits makes a filter of c.
func NewRequestLimits(c *RequestLimits, b *plugin.Build) (*proxy.Filter, error) {
	l := &requestLimiter{body: c.Body, large: b.Counter("body")}
	l.addChecks(c, b)
	f := &proxy.Filter{Request: l.request}
	if l.body > 0 {
		f.Log = l.log
	}
	if len(c.Methods) > 0 {
		allow := strings.Join(withHEAD(c.Methods), ", ")
		f.Response = func(x *proxy.Exchange) proxy.Verdict {
			if x.Failure() == methodRefused && !x.Response.Has(message.Allow) {
				x.Response.AddID(message.Allow, "Allow", allow)
			}
			return proxy.Next
		}
	}
	return f, nil
}

func (l *requestLimiter) request(x *proxy.Exchange) proxy.Verdict {
	for i := range l.checks {
		if c := &l.checks[i]; !c.within(x) {
			c.refused.Add(x)
			return c.refusal
		}
	}
	if l.body == 0 || x.Request.Length == 0 {
		return proxy.Next
	}
	if x.Request.Length > l.body {
		l.large.Add(x)
	} else if x.Request.Length == message.LengthUnknown {
		if of := counting.Of(x); *of == nil || (*of).body > l.body {
			*of = l
		}
	}
	return proxy.LimitBody(x, l.body)
}

// log counts a body that became too large while it came.
func (l *requestLimiter) log(x *proxy.Exchange, _ *observe.Record) {
	if x.Failure() == proxy.BodyTooLarge && *counting.Of(x) == l {
		l.large.Add(x)
	}
}

// addChecks adds the limits that are set, in the order in which they are looked at.
func (l *requestLimiter) addChecks(c *RequestLimits, b *plugin.Build) {
	add := func(on bool, result string, failure *proxy.Error, within func(x *proxy.Exchange) bool) {
		if on {
			l.checks = append(l.checks, limitCheck{within, proxy.Fail(failure), b.Counter(result)})
		}
	}
	types := make([]mediaType, len(c.ContentTypes))
	for i, text := range c.ContentTypes {
		types[i], _ = parseType(text)
	}
	methods := withHEAD(c.Methods)
	add(len(methods) > 0, "method", methodRefused, func(x *proxy.Exchange) bool {
		method := x.Request.MethodBytes()
		return slices.ContainsFunc(methods, func(m string) bool { return string(method) == m })
	})
	add(c.Target > 0, "target", targetTooLong, func(x *proxy.Exchange) bool {
		return int64(x.Request.Target.Len) <= c.Target
	})
	add(c.Fields > 0 || c.HeaderSize > 0, "header", headTooLarge, func(x *proxy.Exchange) bool {
		fields, size := sizeOf(&x.Request)
		return (c.Fields == 0 || fields <= c.Fields) && (c.HeaderSize == 0 || size <= c.HeaderSize)
	})
	add(c.Parameters > 0, "parameters", tooManyParameters, func(x *proxy.Exchange) bool {
		query := x.Request.Query()
		return len(query) == 0 || bytes.Count(query, ampersand) < c.Parameters
	})
	add(len(types) > 0, "content_type", typeRefused, func(x *proxy.Exchange) bool {
		return x.Request.Length == 0 || typed(&x.Request, types)
	})
}

var ampersand = []byte("&")

// withHEAD returns methods with HEAD where GET is one of them: RFC 9110 §9.1 requires both of a server.
func withHEAD(methods []string) []string {
	if slices.Contains(methods, "GET") && !slices.Contains(methods, "HEAD") {
		return append(slices.Clone(methods), "HEAD")
	}
	return slices.Clone(methods)
}

func sizeOf(h *message.Head) (fields int, size int64) {
	for i := range h.Fields {
		if f := &h.Fields[i]; !f.Dropped() {
			fields++
			size += int64(f.NameLen) + int64(f.ValueLen)
		}
	}
	return fields, size
}

// mediaType is a type of content (RFC 9110 §8.3.1), in lower case; "" for "*".
type mediaType struct{ kind, sub string }

// parseType parses type/subtype, or type/*.
func parseType(text string) (t mediaType, ok bool) {
	kind, sub, ok := strings.Cut(strings.ToLower(text), "/")
	if !ok || !message.ValidName(kind) || kind == "*" || !message.ValidName(sub) {
		return t, false
	}
	if sub == "*" {
		sub = ""
	}
	return mediaType{kind, sub}, true
}

// typed reports whether the content of h has one of types. Of several fields each has to say so: backends differ in
// which of them they believe.
func typed(h *message.Head, types []mediaType) (ok bool) {
	for i := range h.Fields {
		if f := &h.Fields[i]; f.ID == message.ContentType && !f.Dropped() {
			if !taken(types, h.Value(i)) {
				return false
			}
			ok = true
		}
	}
	return ok
}

// taken reports whether the value of Content-Type is one of types. Its parameters are not looked at.
func taken(types []mediaType, value []byte) bool {
	if i := bytes.IndexByte(value, ';'); i >= 0 {
		value = value[:i]
	}
	kind, sub, ok := bytes.Cut(bytes.Trim(value, " \t"), slash)
	return ok && slices.ContainsFunc(types, func(t mediaType) bool {
		return message.EqualFold(kind, t.kind) && (t.sub == "" || message.EqualFold(sub, t.sub))
	})
}

var slash = []byte("/")
