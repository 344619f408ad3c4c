package cors

import (
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/filter"
	"github.com/edge-proxy/edge/filter/origin"
	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/proxy"
)

// Config is the keys of the filter.
type Config struct {
	Origins []string `edge:"origins" doc:"Who may read answers." required:"true" example:"https://app.example.com"`
	Methods []string `edge:"methods" doc:"The methods that pages may use." default:"[\"GET\", \"HEAD\", \"POST\"]"`
	Headers []string `edge:"headers" doc:"The fields that pages may set beyond the harmless ones."`
	Expose  []string `edge:"expose" doc:"The fields of answers that pages may read beyond the harmless ones."`

	Credentials bool `edge:"credentials" doc:"Cookies and passwords are sent with requests of pages."`

	MaxAge time.Duration `edge:"max_age" doc:"How long browsers may keep a preflight." default:"2h" min:"0s" max:"24h"`

	PrivateNetwork bool `edge:"private_network" doc:"Public sites may ask, although this is a private address."`
}

func init() {
	filter.Register("cors", "Lets pages of other sites read answers.", New)
}

// policy is a Config as fields of answers. Immutable.
type policy struct {
	origins     *origin.Set
	credentials bool
	private     bool
	methods     string
	headers     string
	expose      string
	maxAge      string

	preflight, refused, allowed, foreign *filter.Counter
}

// New makes the filter.
func New(c *Config, b *filter.Build) (*proxy.Filter, error) {
	c, err := filter.Completed(c, b)
	if err != nil {
		return nil, err
	}
	origins, wrong := origin.NewSet(c.Origins)
	if wrong != nil {
		return nil, wrong
	}
	p := &policy{
		origins: origins, credentials: c.Credentials, private: c.PrivateNetwork,
		methods: strings.Join(c.Methods, ", "), headers: strings.Join(c.Headers, ", "),
		expose: strings.Join(c.Expose, ", "), maxAge: strconv.Itoa(int(c.MaxAge / time.Second)),
		preflight: b.Counter("preflight"), refused: b.Counter("preflight_refused"),
		allowed: b.Counter("allowed"), foreign: b.Counter("foreign"),
	}
	return &proxy.Filter{Name: "cors", Request: p.request, Response: p.response}, nil
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

// see returns the Origin of x, which is looked at once.
func see(x *proxy.Exchange) *asker {
	a := askers.Of(x)
	if a.seen {
		return a
	}
	h := &x.Request
	value, several := h.Single(message.Origin)
	a.seen, a.given, a.several = true, value != nil || several, several
	if a.given && !several {
		a.origin = spanOf(h)
	}
	return a
}

// allows reports whether p lets pages of the Origin of x read the answer.
func (p *policy) allows(x *proxy.Exchange, a *asker) bool {
	return a.given && !a.several && (p.origins.Any() || p.origins.Has(x.Request.Bytes(a.origin)))
}

// spanOf returns where the value of Origin lies.
func spanOf(h *message.Head) message.Span {
	f := &h.Fields[h.Find("Origin")]
	return message.Span{At: f.ValueAt, Len: f.ValueLen}
}

// The fields of a preflight for an address of a private network, and of its answer.
const (
	askPrivate   = "Access-Control-Request-Private-Network"
	allowPrivate = "Access-Control-Allow-Private-Network"
)

func (p *policy) request(x *proxy.Exchange) proxy.Verdict {
	h := &x.Request
	a := see(x)
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
func (p *policy) response(x *proxy.Exchange) proxy.Verdict {
	a, h := see(x), &x.Response
	dropFields(h)
	if !p.origins.Any() {
		vary(h, "Origin")
	}
	if a.preflight {
		vary(h, "Access-Control-Request-Method")
		vary(h, "Access-Control-Request-Headers")
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
func (p *policy) grant(h *message.Head, a *asker) {
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

// vary adds a name to Vary, unless it is there.
func vary(h *message.Head, name string) {
	for e := range h.Elements(message.Vary) {
		if string(e) == "*" || message.EqualFold(e, name) {
			return
		}
	}
	h.AddID(message.Vary, "Vary", name)
}
