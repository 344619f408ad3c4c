package h3

import (
	"slices"
	"testing"

	"github.com/edge-proxy/edge/message"
	"github.com/edge-proxy/edge/quic"
)

// Turns go by urgency: serial streams one after another, the others round and round.
func TestConn_turns(t *testing.T) {
	s := scriptFor(t, Server, Options{})
	for i, priority := range []string{"u=4, i", "i", "u=3", "i", "u=3", "u=1, i", "u=5"} {
		s.send(s.request(uint64(4*i)), get("priority", priority))
		s.recv()
	}
	block := func(id uint64) { s.c.Block(s.stream[id]) }
	for _, id := range []uint64{24, 16, 12, 0, 4, 20, 8, 8} {
		block(id)
	}
	turns := func(n int) (ids []uint64) {
		for range n {
			st := s.c.NextSendable()
			ids = append(ids, st.ID)
			s.c.Block(st)
		}
		return ids
	}
	if got := turns(3); !slices.Equal(got, []uint64{20, 20, 20}) {
		t.Errorf("urgency 1: %d", got)
	}
	s.c.Reset(s.stream[20], RequestCancelled)
	if got := turns(3); !slices.Equal(got, []uint64{8, 8, 8}) {
		t.Errorf("serial streams: %d", got)
	}
	s.respond(8, makeResponse(200), false)
	s.data(8, "", true)
	s.send(s.oneWay(0), frame(framePriorityUpdate, "\x10u=3, i"))
	s.recv()
	if got := turns(7); !slices.Equal(got, []uint64{12, 4, 16, 12, 4, 16, 12}) {
		t.Errorf("in turns: %d", got)
	}
	if got := turns(leastTurn); !slices.Contains(got, 24) {
		t.Errorf("the last one starves: %d", got)
	}
	for i := 0; s.c.NextSendable() != nil; i++ {
		if i == 5 {
			t.Fatal("more streams have turns than wait")
		}
	}
}

// An answer that waits for its window is over to the caller: STOP_SENDING is no news then.
func TestServer_stoppedAfterTheEnd(t *testing.T) {
	s := newScriptWith(t, Server, Options{}, quic.Options{}, quic.Options{StreamWindow: 2})
	s.sendEnd(s.request(0), get())
	s.want("HeadDone 0 GET / end")
	s.respond(0, &message.Head{Status: 200}, true)
	s.far.q.Stop(s.request(0), uint64(RequestCancelled))
	s.want()
	if s.c.Streams() != 0 {
		t.Error("the stream is still there")
	}
}
