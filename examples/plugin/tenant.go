package tenant

import (
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// Config has the keys of a table [filters.NAME] with type = "tenant".
type Config struct {
	From *lang.Template `edge:"from" doc:"The tenant." default:"{header.x-tenant}" example:"{cookie.tenant}"`

	Known []string `edge:"known" doc:"Others are answered 403." required:"true" example:"[\"acme\", \"globex\"]"`

	Field string        `edge:"field" doc:"The field that tells the backend." default:"X-Tenant"`
	Slow  time.Duration `edge:"slow" doc:"Requests that take longer are counted." default:"1s"`
}

// Check says what the types of the keys cannot.
func (c *Config) Check(r *edge.Report) {
	for i, name := range c.Known {
		if name == "" {
			r.Element("known", i, len(c.Known)).Errorf("requests without a tenant are refused", "a tenant has a name")
		}
	}
}

func init() {
	edge.RegisterFilter("tenant", "Refuses tenants that it does not know, and names the others.", New)
}

// tenant is what a filter keeps for an exchange, from one phase to the next.
type tenant struct {
	name string
	room [64]byte // for the text of From, so that nothing is allocated
}

var local = proxy.NewLocal[tenant]()

// rules is a Config that was checked, with its counters. Immutable.
type rules struct {
	*Config
	known                 map[string]string
	passed, refused, slow *edge.Counter
}

// New makes a filter of c, for a file or for a program.
func New(c *Config, b *edge.Build) (*proxy.Filter, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	r := &rules{Config: c, known: make(map[string]string, len(c.Known)),
		passed: b.Counter("passed"), refused: b.Counter("refused"), slow: b.Counter("slow")}
	for _, name := range c.Known {
		r.known[name] = name
	}
	return &proxy.Filter{Name: "tenant", Request: r.request, Log: r.log}, nil
}

// request runs on the reactor of x: it may not block, and what it is given is borrowed until it returns.
func (r *rules) request(x *proxy.Exchange) proxy.Verdict {
	t := local.Of(x)
	name, ok := r.known[string(r.From.Append(t.room[:0], proxy.View(x)))]
	if !ok {
		r.refused.Add(x)
		return proxy.Respond(403, "There is no such tenant.\n")
	}
	t.name = name
	x.Request.Set(r.Field, name)
	r.passed.Add(x)
	return proxy.Next
}

// log runs once the exchange is over.
func (r *rules) log(x *proxy.Exchange, record *edge.Record) {
	x.LogField("tenant", local.Of(x).name)
	if time.Duration(record.Dur) > r.Slow {
		r.slow.Add(x)
	}
}
