package polite

import (
	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

type Config struct {
	Field  string      `edge:"field" doc:"The field that a request needs." default:"X-Please"`
	Answer string      `edge:"answer" doc:"What is answered without it." default:"say please"`
	Free   edge.Rate   `edge:"free" doc:"How often it may be missing." example:"10/m"`
	Key    edge.Secret `edge:"key" doc:"A value that always suffices."`
}

func (c *Config) Check(r *edge.Report) { // optional: what types cannot say
	if c.Field == "Host" {
		r.At("field").Errorf("name another one", "every request has it")
	}
}

func init() { edge.RegisterFilter("polite", "Asks for manners.", New) }

func New(c *Config, b *edge.Build) (*proxy.Filter, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	refused := b.Counter("refused")
	return &proxy.Filter{Name: "polite", Request: func(x *proxy.Exchange) proxy.Verdict {
		if x.Request.Get(c.Field) != "" {
			return proxy.Next
		}
		refused.Add(x)
		return proxy.Respond(403, c.Answer+"\n")
	}}, nil
}
