package server

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// NewPulse returns what tells whether all reactors of s go through their ticks.
func (s *Server) NewPulse() *engine.Pulse { return s.engine.NewPulse() }

// Draining is what a drain waits for: the connections of clients, each counted once.
type Draining struct {
	Idle    int // of HTTP/1, between two requests, and those that have sent nothing yet
	Busy    int // of HTTP/1, with a request
	H2      int // of HTTP/2, with requests or without
	H3      int // of HTTP/3, in the same way
	Tunnels int // of HTTP/1, that became tunnels
	Other   int // TLS handshakes

	Services int            // they belong to services
	Routes   map[string]int // how many tunnels each route has, those over HTTP/2 too
}

// Draining returns what a drain waits for now, or would wait for. It asks every reactor, so it is not for reactors, and
// takes as long as the slowest of them. After Stop there is nothing.
func (s *Server) Draining() Draining {
	d := Draining{Routes: make(map[string]int)}
	services := s.serviceListeners()
	s.engine.Survey(func(_ *engine.Conn, l *engine.Listener, h engine.Handler) {
		if services[l] {
			d.Services++
			return
		}
		exchanges, tunnels := 0, 0
		a := session.ActivityOf(h, func(r session.Receiver, tunnel bool) {
			exchanges++
			if tunnel {
				tunnels++
				d.Routes[proxy.RouteOf(r)]++
			}
		})
		switch {
		case a.Kind == session.KindOther:
			d.Other++
		case a.Kind == session.KindH2:
			d.H2++
		case a.Kind == session.KindH3:
			d.H3++
		case tunnels > 0:
			d.Tunnels++
		case exchanges > 0:
			d.Busy++
		default:
			d.Idle++
		}
	})
	return d
}

// serviceListeners returns the listeners of services, also those that close.
func (s *Server) serviceListeners() map[*engine.Listener]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[*engine.Listener]bool)
	for _, l := range slices.Concat(s.listeners.now, s.listeners.closing) {
		if l.other != nil {
			all[l.open] = true
		}
	}
	return all
}

// String lists what there is: "3 idle, 1 tunnel (chat 1)"; "none".
func (d Draining) String() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(d.Idle, "idle")
	add(d.Busy, "busy")
	add(d.H2, "of HTTP/2")
	add(d.H3, "of HTTP/3")
	add(d.Tunnels, "with tunnels")
	add(d.Services, "of services")
	add(d.Other, "in handshakes")
	if len(parts) == 0 {
		return "none"
	}
	return strings.Join(parts, ", ")
}

// routesNamed is how many routes with tunnels are named at most.
const routesNamed = 5

// TunnelRoutes lists the routes with most tunnels, and how many each has: "chat 12, feed 3 and 2 more routes"; "":
// there are no tunnels.
func (d Draining) TunnelRoutes() string {
	names := slices.SortedFunc(maps.Keys(d.Routes), func(a, b string) int {
		return cmp.Or(cmp.Compare(d.Routes[b], d.Routes[a]), cmp.Compare(a, b))
	})
	var parts []string
	for _, name := range names[:min(len(names), routesNamed)] {
		parts = append(parts, fmt.Sprintf("%s %d", cmp.Or(name, "(no route)"), d.Routes[name]))
	}
	text := strings.Join(parts, ", ")
	if more := len(names) - routesNamed; more > 0 {
		text += fmt.Sprintf(" and %d more routes", more)
	}
	return text
}
