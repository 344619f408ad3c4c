package fleet

import (
	"bytes"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
)

// PagerConfig has the keys of a table [services.NAME] with type = "fleet_pager".
type PagerConfig struct {
	Greeting string `edge:"greeting" default:"ready" doc:"The line that clients are greeted with." example:"hello"`
}

func init() {
	edge.RegisterService("fleet_pager", "Greets clients and answers each line.", NewPager)
}

// NewPager makes a service.
func NewPager(c *PagerConfig, b *edge.Build) (*edge.Service, error) {
	c, err := edge.Completed(c, b)
	if err != nil {
		return nil, err
	}
	pages := b.Counter("page")
	return &edge.Service{Accept: func(*engine.Conn) engine.Handler {
		return &pager{greeting: c.Greeting + "\n", pages: pages}
	}}, nil
}

// pager is one connection.
type pager struct {
	engine.NopHandler
	greeting string
	pages    *edge.Counter
}

// OnOpen greets: this server speaks first.
func (p *pager) OnOpen(c *engine.Conn) { c.Write([]byte(p.greeting)) }

// OnData takes the lines that have come as a whole. The rest comes again, with more.
func (p *pager) OnData(c *engine.Conn, in []byte) (used int) {
	for line := range bytes.Lines(in) {
		if line[len(line)-1] != '\n' {
			break
		}
		used += len(line)
		p.pages.IncOn(c.Reactor().Index())
		c.Write([]byte("paged " + string(line)))
	}
	return used
}

// OnEOF answers an end with an end.
func (p *pager) OnEOF(c *engine.Conn) { c.Close(nil) }
