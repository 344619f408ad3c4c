package session_test

import (
	"testing"
	"time"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/session"
)

// Readers that pause are no fault of the streams they share a connection with, as long as there is memory: a hundred
// answers that nobody takes wait for as long as their clients like. Without memory those that wait longest give way.
func TestMux_readersThatPause(t *testing.T) {
	const memory = 64 << 20
	for _, c := range []struct {
		name string
		held int // by others
		each int // frames of 16 KiB for each
	}{{"with memory", 0, 4}, {"without", memory * 8 / 10, 1}} {
		t.Run(c.name, func(t *testing.T) {
			s, o := newScript(t, engine.Options{Memory: memory}), &muxOwner{}
			s.dial(o, "")
			s.do(func() { s.r.Account(c.held) })
			piece := string(make([]byte, 16383))
			var parts []*part
			for i := range 100 {
				p := s.open(o, request("GET", "/"), true)
				p.keep = true
				parts = append(parts, p)
				s.recv(ask(uint32(2*i+1), false, blockOK))
			}
			over := "reset " + session.Timeout.String()
			gone := func(p *part) bool { return p.heard[len(p.heard)-1] == over }
			for range c.each {
				for i := range parts {
					s.l.Inject(s.fd, frame(nil, frameData, 0, uint32(2*i+1), piece))
					for n := 0; s.l.Sock(s.fd).Unread() > 0; n++ {
						if s.r.Tick(); n > 100 || o.mux.Streams() == 0 {
							t.Fatal("the connection is not read any more")
						}
					}
				}
			}
			s.pass(10 * time.Second)
			reset := 0
			for _, p := range parts {
				if gone(p) {
					reset++
				}
			}
			if c.held == 0 && reset != 0 || c.held > 0 && reset < 30 {
				t.Errorf("%d are reset", reset)
			}
			if o.mux.Streams() != len(parts)-reset {
				t.Errorf("%d of %d are open", o.mux.Streams(), len(parts)-reset)
			}
		})
	}
}
