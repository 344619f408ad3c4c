package program

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/l4/netconn"
	"github.com/edge-proxy/edge/internal/plugin"
	"github.com/edge-proxy/edge/internal/process"
)

// Service is a protocol that is not HTTP, at addresses of its own.
type Service struct {
	Name string
	// Listen has addresses as "listen" takes them: ":7000", "unix:/run/chat.sock". [services.NAME] of the configuration
	// goes before it, and may have TLS, limits and all other keys; none: it has them all.
	Listen []string
	// TLS has clients shake hands first, with certificates of the configuration.
	TLS bool
	// ClientFirst says that clients speak first: a connection is then accepted with its first bytes.
	ClientFirst bool
	// Accept is called for each connection, after TLS, and returns its handler; nil closes it. Runs on the connection's
	// reactor, and returns at once.
	Accept func(c *engine.Conn) engine.Handler
}

// Add adds a service. Its connections stay with the process that has accepted them: a reload and an upgrade leave them
// alone, and a drain waits for them within grace_period.
func (p *Program) Add(s Service) { p.add(s, p.note("the service", s.Name, s.Accept != nil)) }

// add adds a service that is given at a place in the program.
func (p *Program) add(s Service, where string) {
	p.options.Server.Services[s.Name] = &plugin.Service{Accept: s.Accept, ClientFirst: s.ClientFirst}
	if len(s.Listen) == 0 {
		return
	}
	var list []string
	for _, address := range s.Listen {
		list = append(list, strconv.Quote(address))
	}
	text := fmt.Sprintf("[services.%s]\nlisten = [%s]\n", strconv.Quote(s.Name), strings.Join(list, ", "))
	if s.TLS {
		text += "tls = true\n"
	}
	p.texts = append(p.texts, config.Under{Name: "(" + where + ")", Text: text})
}

// Listener adds a service for a server that blocks, such as one of SSH or gRPC: its connections come out of the
// net.Listener. Serve it in Background. Each connection costs goroutines; where that matters, Add a Service.
func (p *Program) Listener(s Service) net.Listener {
	l := &netconn.Listener{}
	s.Accept = l.Handler
	p.add(s, p.note("the service", s.Name, true))
	return l
}

// Transport returns an http.RoundTripper that sends requests to a destination of the configuration by its name, such as
// an upstream: with its connections, balancing, health, retries and limits, also after a reload has changed it. It is
// for handlers and for Background. Until the program serves, requests wait: work in the background says that it is
// ready before it makes any. A configuration without that name is refused. See handler.Transport.
func (p *Program) Transport(name string) http.RoundTripper {
	p.options.Server.Named, p.leads = true, append(p.leads, name)
	return &transport{program: p, name: name}
}

// transport is a handler.Transport that is made when the program serves.
type transport struct {
	program *Program
	name    string
	once    sync.Once
	made    http.RoundTripper
}

// RoundTrip waits until the program serves.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	select {
	case <-t.program.serving:
	case <-r.Context().Done():
		if r.Body != nil {
			r.Body.Close() //nolint:errcheck // as net/http does
		}
		return nil, context.Cause(r.Context())
	}
	t.once.Do(func() { t.made = t.program.server.Transport(t.name) })
	return t.made.RoundTrip(r)
}

// Background adds work beside connections, on a goroutine of its own. Connections are accepted once run has called
// ready, or has returned nil; a program that is not ready after 30 s does not start. The context ends with the drain,
// or when an upgrade has handed over. After an error or a panic run is begun again, 1, 2, … 30 s later.
func (p *Program) Background(name string, run func(ctx context.Context, ready func()) error) {
	p.note("the background", name, run != nil)
	p.background = append(p.background, process.Background{Name: name, Run: run})
}
