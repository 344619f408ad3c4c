package l4_test

import (
	"bytes"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/l4"
	"github.com/edge-proxy/edge/internal/test/sim"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A client that reads nothing for the idle timeout sees no orderly end after a part of an answer.
func TestSim_idleMidway(t *testing.T) {
	for name, spliced := range map[string]bool{"spliced": true, "copied": false} {
		t.Run(name, func(t *testing.T) {
			w := sim.NewWorld(1)
			h := newHouse(t, w, nil)
			client, at := h.connected(t)
			client.StopReading()
			size := 4 << 20
			if !spliced {
				w.Faults.NoPipe = 1
			}
			at.Send(bytes.Repeat([]byte("x"), size))
			if err := w.Run(at.Closed, 1_000_000); err != nil {
				t.Fatal(err)
			}
			client.StartReading()
			if err := w.Run(client.Closed, 1_000_000); err != nil {
				t.Fatal(err)
			}
			if n := len(client.Received()); client.Err() == nil && n < size {
				t.Errorf("an orderly end after %d of %d bytes", n, size)
			}
		})
	}
}

// A stop cuts no stream so that it looks complete.
func TestSim_stopMidway(t *testing.T) {
	w := sim.NewWorld(1)
	h := newHouse(t, w, nil)
	client, at := h.connected(t)
	client.StopReading()
	settled := false
	w.After(time.Second, func() { settled = true })
	at.Send(bytes.Repeat([]byte("x"), 4<<20))
	if err := w.Run(func() bool { return settled }, 100_000); err != nil {
		t.Fatal(err)
	}
	h.engine.Stop()
	client.StartReading()
	for range 1000 {
		if client.Closed() {
			break
		}
		w.Step()
	}
	if n := len(client.Received()); client.Err() == nil || at.Err() == nil {
		t.Errorf("an orderly end after %d bytes: %v, %v", n, client.Err(), at.Err())
	}
}

// Clients that read nothing do not keep the memory from others.
func TestSim_relief(t *testing.T) {
	testutil.OnlyPlain(t)
	w := sim.NewWorld(1)
	w.Net.BufferMin, w.Net.BufferMax = 4<<10, 4<<10
	w.Faults.NoPipe = 1
	h := newHouseOf(t, w, 1<<20, func(s *l4.Service) { s.Idle = time.Hour })
	for _, l := range h.backends {
		l.Handle = func(p *sim.Peer) {
			if p.Unsent() == 0 {
				p.Send(bytes.Repeat([]byte("x"), 256<<10))
			}
		}
	}
	for range 400 {
		w.Dial(h.addr).StopReading()
	}
	settled := false
	w.After(2*time.Minute, func() { settled = true })
	if err := w.Run(func() bool { return settled }, 5_000_000); err != nil {
		t.Fatal(err)
	}
	client := w.Dial(h.addr)
	settled = false
	w.After(time.Minute, func() { settled = true })
	if err := w.Run(func() bool { return settled || len(client.Received()) > 0 }, 1_000_000); err != nil || settled {
		t.Fatal("a newcomer is not served", err)
	}
}
