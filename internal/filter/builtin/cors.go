package builtin

import (
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// CORS is the table of a filter of the type "cors": it tells browsers which pages of other sites may read answers.
//
// It protects nothing. Browsers forbid such reading unless an answer allows it, and other clients do not ask.
//
//	OPTIONS with Origin and Access-Control-Request-Method    answered here: 204, or 403 for other origins
//	any other request                                        goes on; its answer gets the fields
//
// Answers of the proxy itself have them as well, errors included: a browser would hide these from the page otherwise.
// The backend's own fields of this kind are removed, since a browser refuses an answer that has two.
//
// Where origins are listed, each answer says Vary: Origin, whether the request had an Origin or not: a cache must not
// give the answer for one site to another. Where "*" is allowed, all answers are the same.
//
// A preflight has no credentials. So the filter stands before those that ask for them, and its route must take OPTIONS.
//
// "*" together with credentials, and the origin "null", are refused when the configuration is loaded: the first would
// give any page what the user may read, the second any page that puts itself into a sandboxed frame.
//
// The filter is immutable and runs on the reactor. A request and its answer cost a walk over their fields and no
// allocation.
type CORS struct {
	Origins []string `edge:"origins" doc:"Origins that may read answers." required:"true" example:"https://a.example"`
	Methods []string `edge:"methods" doc:"Methods that foreign pages may use." default:"[\"GET\", \"HEAD\", \"POST\"]"`
	Headers []string `edge:"headers" doc:"Request fields that pages may set, beyond the safelisted ones."`
	Expose  []string `edge:"expose" doc:"Response fields that pages may read, beyond the safelisted ones."`

	Credentials bool `edge:"credentials" doc:"Let browsers send cookies and passwords with requests of foreign pages."`

	MaxAge time.Duration `edge:"max_age" doc:"Time browsers cache a preflight." default:"2h" min:"0s" max:"24h"`

	PrivateNetwork bool `edge:"private_network" doc:"Let public sites reach this server on a private network."`
}

func init() {
	plugin.Register(plugin.Filters, "cors", "Lets pages of other sites read answers.", NewCORS)
}

// corsPolicy is a CORS as fields of answers. Immutable.
type corsPolicy struct {
	origins     *originSet
	credentials bool
	private     bool
	methods     string
	headers     string
	expose      string
	maxAge      string

	preflight, refused, allowed, foreign *plugin.Counter
}

// NewCORS makes the filter.
func NewCORS(c *CORS, b *plugin.Build) (*proxy.Filter, error) {
	origins, wrong := newOriginSet(c.Origins)
	if wrong != nil {
		return nil, wrong
	}
	p := &corsPolicy{
		origins: origins, credentials: c.Credentials, private: c.PrivateNetwork,
		methods: strings.Join(c.Methods, ", "), headers: strings.Join(c.Headers, ", "),
		expose: strings.Join(c.Expose, ", "), maxAge: strconv.Itoa(int(c.MaxAge / time.Second)),
		preflight: b.Counter("preflight"), refused: b.Counter("preflight_refused"),
		allowed: b.Counter("allowed"), foreign: b.Counter("foreign"),
	}
	return &proxy.Filter{Name: "cors", Request: p.request, Response: p.response}, nil
}

// Check finds what browsers would not follow, and what would give answers away to any page.
func (c *CORS) Check(r *plugin.Report) {
	if len(c.Origins) == 0 {
		r.At("origins").Errorf("", "no origin is listed")
	}
	for i, o := range c.Origins {
		at := r.Element("origins", i, len(c.Origins))
		set, err := newOriginSet([]string{o})
		switch {
		case err != nil:
			at.Errorf(err.Hint, "%v", err)
		case c.Credentials && (set.Any() || set.AnyHost()):
			at.Errorf("list the origins, or take credentials out",
				"%q with credentials: any page could read what the user may read", o)
		case set.Any() && len(c.Origins) > 1:
			at.Errorf("", `"*" beside other origins, which mean nothing then`)
		}
	}
	for i, m := range c.Methods {
		at := r.Element("methods", i, len(c.Methods))
		switch upper := strings.ToUpper(m); {
		case !message.ValidName(m):
			at.Errorf("", "%q is not a method", m)
		case upper == "CONNECT" || upper == "TRACE" || upper == "TRACK":
			at.Errorf("", "%q: browsers send it for no page", m)
		case m != upper:
			at.Errorf(`write "`+upper+`"`, "%q: methods are case-sensitive", m)
		case m == "*" && c.Credentials:
			at.Errorf("list the methods", `"*" with credentials is no wildcard for browsers`)
		}
	}
	c.checkNames(r, "headers", c.Headers)
	c.checkNames(r, "expose", c.Expose)
}

func (c *CORS) checkNames(r *plugin.Report, key string, names []string) {
	for i, name := range names {
		at := r.Element(key, i, len(names))
		switch {
		case !message.ValidName(name):
			at.Errorf("", "%q is not the name of a field", name)
		case name == "*" && c.Credentials:
			at.Errorf("list the fields", `"*" with credentials is no wildcard for browsers`)
		}
	}
}

// asker is the Origin of a request as it came: a filter after this one may set another for the backend. What it is
// worth each policy says for itself.
type asker struct {
	seen      bool
	given     bool // the request has one
	several   bool // of which none counts
	preflight bool
	private   bool // it asks whether a private network may be reached
	origin    message.Span
}

var askers = proxy.NewLocal[asker]()

// askerOf returns the Origin of x, which is looked at once.
func askerOf(x *proxy.Exchange) *asker {
	a := askers.Of(x)
	if a.seen {
		return a
	}
	h := &x.Request
	value, several := h.Single(message.Origin)
	a.seen, a.given, a.several = true, value != nil || several, several
	if a.given && !several {
		f := &h.Fields[h.Find("Origin")]
		a.origin = message.Span{At: f.ValueAt, Len: f.ValueLen}
	}
	return a
}

// allows reports whether p lets pages of the Origin of x read the answer.
func (p *corsPolicy) allows(x *proxy.Exchange, a *asker) bool {
	return a.given && !a.several && (p.origins.Any() || p.origins.Has(x.Request.Bytes(a.origin)))
}

// The fields of a preflight for an address of a private network, and of its answer.
const (
	askPrivate   = "Access-Control-Request-Private-Network"
	allowPrivate = "Access-Control-Allow-Private-Network"
)

func (p *corsPolicy) request(x *proxy.Exchange) proxy.Verdict {
	h := &x.Request
	a := askerOf(x)
	if !a.given || h.Verb != message.VerbOptions || !h.Has(message.AccessControlRequestMethod) {
		return proxy.Next
	}
	a.preflight = true
	if !p.allows(x, a) {
		p.refused.Add(x)
		return refusal
	}
	a.private = h.Get(askPrivate) == "true"
	p.preflight.Add(x)
	return granted
}

var (
	granted = proxy.Respond(204, "")
	refusal = proxy.RespondPage(403)
)

// response puts the fields into an answer.
func (p *corsPolicy) response(x *proxy.Exchange) proxy.Verdict {
	a, h := askerOf(x), &x.Response
	dropFields(h)
	if !p.origins.Any() {
		h.AddVary("Origin")
	}
	if a.preflight {
		h.AddVary("Access-Control-Request-Method")
		h.AddVary("Access-Control-Request-Headers")
	}
	switch {
	case p.allows(x, a):
		p.allowed.Add(x)
	case a.given:
		p.foreign.Add(x)
		return proxy.Next
	case !p.origins.Any():
		return proxy.Next
	}
	if p.origins.Any() {
		h.AddID(message.AccessControlAllowOrigin, "Access-Control-Allow-Origin", "*")
	} else {
		h.AddBytes(message.AccessControlAllowOrigin, "Access-Control-Allow-Origin", x.Request.Bytes(a.origin))
	}
	if p.credentials {
		h.AddID(message.AccessControlAllowCredentials, "Access-Control-Allow-Credentials", "true")
	}
	if a.preflight {
		p.grant(h, a)
	} else if p.expose != "" {
		h.AddID(message.AccessControlExposeHeaders, "Access-Control-Expose-Headers", p.expose)
	}
	return proxy.Next
}

// grant adds what the answer to a preflight has beside the others.
func (p *corsPolicy) grant(h *message.Head, a *asker) {
	h.AddID(message.AccessControlAllowMethods, "Access-Control-Allow-Methods", p.methods)
	if p.headers != "" {
		h.AddID(message.AccessControlAllowHeaders, "Access-Control-Allow-Headers", p.headers)
	}
	h.AddID(message.AccessControlMaxAge, "Access-Control-Max-Age", p.maxAge)
	if p.private && a.private {
		h.AddID(message.Other, allowPrivate, "true")
	}
}

// dropFields removes the backend's fields of this kind.
func dropFields(h *message.Head) {
	for i := range h.Fields {
		switch f := &h.Fields[i]; f.ID {
		case message.AccessControlAllowOrigin, message.AccessControlAllowCredentials, message.AccessControlMaxAge,
			message.AccessControlAllowMethods, message.AccessControlAllowHeaders, message.AccessControlExposeHeaders:
			f.Flags |= message.Dropped
		case message.Other:
			if message.EqualFold(h.Name(i), allowPrivate) {
				f.Flags |= message.Dropped
			}
		}
	}
}
