package server

import "github.com/edge-proxy/edge/engine"

// NewPulse returns what tells whether all reactors of s go through their ticks.
func (s *Server) NewPulse() *engine.Pulse { return s.engine.NewPulse() }
