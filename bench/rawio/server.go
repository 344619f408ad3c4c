package rawio

import (
	"fmt"
	"runtime"
)

// ListenSlot is the slot of a Server's listener.
const ListenSlot = 0

// Server is a listener and the set of what it accepts. Owned by the goroutine in Serve; Addr and Stop are safe for any.
type Server struct {
	Listener *Listener
	Epoll    *Epoll
	Park     Park
	ready    func(ev Event)
}

// NewServer listens on addr. Serve has ready act on each event, events of the listener included.
func NewServer(addr string, park Park, ready func(ev Event)) (*Server, error) {
	l, err := Listen(addr)
	if err != nil {
		return nil, err
	}
	ep, err := NewEpoll(park)
	if err != nil {
		Close(l.FD)
		return nil, err
	}
	s := &Server{l, ep, park, ready}
	if errno := ep.Add(l.FD, ListenSlot, 0); errno != 0 {
		s.Close()
		return nil, fmt.Errorf("epoll_ctl: %w", errno)
	}
	return s, nil
}

// Serve serves until Stop.
func (s *Server) Serve() error {
	if s.Park == ParkThread {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
	}
	for {
		if more, err := s.ServeEvents(); !more {
			return err
		}
	}
}

// ServeEvents waits once. It reports false after Stop.
func (s *Server) ServeEvents() (more bool, err error) {
	events, err := s.Epoll.Wait()
	for _, ev := range events {
		s.ready(ev)
	}
	return err == nil && len(events) > 0, err
}

// Addr is the address listened on.
func (s *Server) Addr() string { return s.Listener.Addr.String() }

// Stop ends Serve. Safe for any goroutine.
func (s *Server) Stop() { s.Epoll.Stop() }

// Close closes the listener and the set; Serve has returned.
func (s *Server) Close() {
	Close(s.Listener.FD)
	s.Epoll.Close()
}
