package outside

import (
	"sync/atomic"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/lang"
	"github.com/edge-proxy/edge/proxy"
)

// Greet is a type of filters.
type Greet struct {
	Text  *lang.Template `edge:"text" doc:"What is said." default:"hello {path}"`
	Limit int            `edge:"limit" doc:"How often." default:"2" min:"1" max:"100"`
	Key   edge.Secret    `edge:"key" doc:"Who may ask." required:"true" example:"${GREET_KEY}"`
}

// Check finds a key that is easily guessed.
func (g *Greet) Check(r *edge.Report) {
	if g.Key == "greet" {
		r.At("key").Errorf("draw one: openssl rand -hex 16", "everyone guesses this one")
	}
}

func init() { edge.RegisterFilter("greet", "Greets those who know the key.", NewGreet) }

type greeted struct{ times atomic.Int32 }

// NewGreet makes a filter that counts over reloads.
func NewGreet(g *Greet, b *edge.Build) (*proxy.Filter, error) {
	g, err := edge.Completed(g, b)
	if err != nil {
		return nil, err
	}
	counter := b.Counter("greeted")
	seen, err := edge.Keep(b, "seen", func() (*greeted, error) { return &greeted{}, nil })
	return &proxy.Filter{Name: "greet", Request: func(x *proxy.Exchange) proxy.Verdict {
		if x.Request.Get("X-Key") != string(g.Key) || int(seen.times.Add(1)) > g.Limit {
			return proxy.Next
		}
		counter.Add(x)
		return proxy.Respond(200, g.Text.Append(nil, proxy.View(x)))
	}}, err
}
