package proxy_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/proxy"
)

// stuck is one exchange whose body, of the request or of the answer, comes to a stop half way: its sender falls silent,
// or its receiver reads no more.
type stuck struct {
	upload, silent bool
	part           int  // of the body
	chatty         bool // an origin that reads no more still says something
}

const stuckSize = 256 << 10

func (x *stuck) send(p *sim.Peer, head string) {
	body := make([]byte, stuckSize)
	if x.silent {
		body = body[:x.part]
	}
	p.Send(fmt.Appendf(nil, "%s\r\nContent-Length: %d\r\n\r\n%s", head, stuckSize, body))
}

func (x *stuck) receive(w *sim.World, p *sim.Peer) {
	if x.silent || len(p.Received()) < x.part {
		return
	}
	p.StopReading()
	if x.upload && x.chatty {
		x.chatty = false
		w.After(time.Duration(w.Rand().IntN(50))*time.Millisecond, func() {
			p.SendString("HTTP/1.1 102 Processing\r\n\r\n")
		})
	}
}

// run returns what is logged, and how many bytes were spliced.
func (x *stuck) run(t testing.TB, w *sim.World) (r observe.Record, spliced uint64) {
	w.Net.BufferMax = 32 << 10 // so that buffers do not hold what is not read
	log := &keptLog{}
	s := newTunedSimulation(t, w, 1, tuning{log: []proxy.AccessLog{log}})
	for _, l := range s.origins {
		l.Handle = func(p *sim.Peer) {
			answered := false
			p.Handle = func(*sim.Peer) {
				if x.upload {
					x.receive(w, p)
				} else if !answered && bytes.HasSuffix(p.Received(), []byte("\r\n\r\n")) {
					answered = true
					x.send(p, "HTTP/1.1 200 OK")
				}
			}
			p.Handle(p)
		}
	}
	client := w.Dial(s.addr)
	if x.upload {
		x.send(client, "POST / HTTP/1.1\r\nHost: sim")
	} else {
		client.Handle = func(p *sim.Peer) { x.receive(w, p) }
		client.SendString("GET / HTTP/1.1\r\nHost: sim\r\n\r\n")
	}
	if err := w.Run(func() bool { return len(log.records) == 1 }, 1_000_000); err != nil {
		t.Fatal(err)
	}
	if d := time.Duration(w.Now()); d > 10*time.Second {
		t.Errorf("it took %v", d)
	}
	return log.records[0], s.engine.Reactors()[0].Stats().BytesSpliced
}

// Deadlines run for bytes that nobody sees as for others.
func TestSim_deadlinesOfBodies(t *testing.T) {
	for name, c := range map[string]struct {
		upload, silent bool
		status         int
		reason         string
	}{
		"the origin falls silent":  {false, true, 200, "backend:first_byte"},
		"the client reads no more": {false, false, 200, "client:timeout"},
		"the client falls silent":  {true, true, 408, "client:request_body"},
		"the origin reads no more": {true, false, 504, "backend:first_byte"},
	} {
		t.Run(name, func(t *testing.T) {
			spliced := uint64(0)
			sim.Run(t, seeds(600), func(t testing.TB, w *sim.World) {
				x := stuck{
					upload: c.upload, silent: c.silent,
					part: 1000 + w.Rand().IntN(stuckSize/4), chatty: w.Rand().IntN(2) == 0,
				}
				r, n := x.run(t, w)
				if r.Status != c.status || r.Reason != c.reason {
					t.Fatalf("logged %d %q, want %d %q", r.Status, r.Reason, c.status, c.reason)
				}
				spliced += n
			})
			if spliced == 0 {
				t.Error("nothing was spliced")
			}
		})
	}
}
