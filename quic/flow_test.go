package quic

import (
	"bytes"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// RFC 9000 §4.6: MAX_STREAMS grows when this side is done with a stream, never by a reset of the peer alone.
func TestStreams_makeRoomWhenDone(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for k, most := range map[StreamKind]uint64{TwoWay: 128, OneWay: 8} {
			for n := range most {
				r.in(OneRTT, streamFrame(r.theirs(k, n), 0, 1, false),
					appendFrame(nil, frameResetStream, r.theirs(k, n), 9, 1))
			}
			if n, _ := count(r.out(), frameMaxStreams); n != 0 {
				t.Fatal("resets alone make room")
			}
			for n := range uint64(3) {
				r.conn.Done(r.streams[r.theirs(k, n)])
			}
			n, f := count(r.out(), frameMaxStreams)
			if n != 1 || f.value != most+3 || f.oneWay != (k == OneWay) {
				t.Fatalf("%d frames, %+v", n, f)
			}
			r.ack()
			r.in(OneRTT, streamFrame(r.theirs(k, most+2), 0, 1, false))
			r.wantOpen()
		}
		r.in(OneRTT, streamFrame(r.theirs(TwoWay, 131), 0, 1, false))
		r.wantFault(StreamLimitError)
	})
}

// Streams that conn opens: within the limit, and Room when there is more.
func TestStreams_areOpenedWithinTheLimit(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		room := 0
		r.onEvent = func(ev *Event) {
			if ev.Kind == Room {
				room++
			}
		}
		for k, most := range map[StreamKind]int{TwoWay: 100, OneWay: 10} {
			var opened []uint64
			for s, err := r.conn.Open(k); err == nil; s, err = r.conn.Open(k) {
				opened = append(opened, s.ID)
			}
			if len(opened) != most || opened[3] != r.mine(k, 3) || r.conn.RoomFor(k) != 0 {
				t.Fatalf("%d streams: %d", len(opened), opened)
			}
			if _, err := r.conn.Open(k); err != ErrNoRoom {
				t.Fatal(err)
			}
			f := frameMaxStreams
			if k == OneWay {
				f |= 1
			}
			before := room
			r.in(OneRTT, appendFrame(nil, f, uint64(most)), appendFrame(nil, f, uint64(most-1)))
			r.in(OneRTT, appendFrame(nil, f, uint64(most+1)))
			if room != before+1 || r.conn.RoomFor(k) != 1 {
				t.Errorf("%d events Room, room for %d", room-before, r.conn.RoomFor(k))
			}
		}
	})
}

// RFC 9000 §3.5: STOP_SENDING is answered by RESET_STREAM with its code, and the final size is what was counted.
func TestStop_isAnsweredByReset(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.open(TwoWay)
		r.conn.Send(s, pattern(0, 5000), false)
		sent := r.out()
		r.in(OneRTT, appendFrame(nil, frameStopSending, s.ID, 41))
		if !slices.Equal(r.events, []string{"Stopped " + itoa(s.ID) + " code 41"}) || r.conn.Held() != 0 {
			t.Errorf("%q, %d held", r.events, r.conn.Held())
		}
		n, f := count(r.out(), frameResetStream)
		if n != 1 || f.stream != s.ID || f.code != 41 || f.value != 5000 {
			t.Errorf("%d, %+v", n, f)
		}
		r.in(OneRTT, appendFrame(nil, frameStopSending, s.ID, 42))
		if all := r.out(); len(r.events) != 1 || len(all) != 0 {
			t.Errorf("%q, %+v", r.events, all)
		}
		if n := r.conn.Send(s, pattern(0, 10), true); n != 10 {
			t.Errorf("Send takes %d", n)
		}
		for range 5 { // §3.3: lost data of a stream that was reset is not sent again, the reset is
			r.in(OneRTT, appendFrame(nil, frameAck, uint64(sent[len(sent)-1].number), 0, 0, 0))
			for _, f := range r.pass(1e9) {
				if f.kind == frameStream {
					t.Fatalf("%+v", f)
				}
			}
		}
		r.ack()
		if s.flag&sendOver == 0 {
			t.Error("the acknowledged reset is not the end")
		}
		r.in(OneRTT, streamFrame(s.ID, 0, 100, true)) // the other direction goes on
		if !r.ended[s.ID] {
			t.Error("what comes is gone")
		}
		r.conn.Done(s)
		if r.conn.streams.used != 0 {
			t.Error("the stream is kept")
		}
	})
}

// Stop throws away what comes, and counts it, until the peer resets the stream or ends it.
func TestStop_throwsAway(t *testing.T) {
	for _, end := range []bool{true, false} {
		both(t, func(t *testing.T, r *rig) {
			r.hold = true
			id := r.theirs(TwoWay, 0)
			r.in(OneRTT, streamFrame(id, 0, 1000, false), streamFrame(id, 1100, 1150, false))
			s := r.streams[id]
			r.conn.Stop(s, 13)
			r.conn.Stop(s, 14)
			n, f := count(r.out(), frameStopSending)
			if n != 1 || f.stream != id || f.code != 13 {
				t.Fatalf("%d, %+v", n, f)
			}
			// One packet: what was kept becomes in order, and another stream follows.
			r.in(OneRTT, streamFrame(id, 1000, 1120, false), streamFrame(id, 1300, 1400, false),
				streamFrame(r.theirs(TwoWay, 1), 0, 7, true))
			if !r.ended[r.theirs(TwoWay, 1)] || len(r.got[id]) != 1000 {
				t.Fatalf("%d and %d bytes", len(r.got[id]), len(r.got[r.theirs(TwoWay, 1)]))
			}
			if end {
				r.in(OneRTT, streamFrame(id, 1150, 5000-3000, true))
			} else {
				r.in(OneRTT, appendFrame(nil, frameResetStream, id, 3, 2000))
			}
			r.conn.Release(s, 1000) // late: Stop has done so
			r.conn.Done(s)
			r.conn.Done(r.streams[r.theirs(TwoWay, 1)])
			r.out()
			r.ack()
			c := &r.conn.flow
			if len(r.events) != 0 || c.taken != 2007 || c.credited != 2007 || c.owed != 0 || c.withheld != 0 {
				t.Errorf("%q, %+v", r.events, *c)
			}
			if r.conn.streams.used != 0 || r.arena.Stats.Pages != 0 {
				t.Errorf("%d streams, %d pages", r.conn.streams.used, r.arena.Stats.Pages)
			}
		})
	}
}

// A reset counts for the window of the connection up to its final size, and gives pages back.
func TestReset_countsForTheWindow(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		id := r.theirs(TwoWay, 0)
		r.in(OneRTT, streamFrame(id, 0, 10, false), streamFrame(id, 500, 600, false))
		r.in(OneRTT, appendFrame(nil, frameResetStream, id, 3, 60_000))
		if c := &r.conn.flow; c.taken != 60_000 || c.credited != 60_000 || r.arena.Stats.Pages != 0 {
			t.Errorf("%+v, %d pages", *c, r.arena.Stats.Pages)
		}
		if !slices.Equal(r.events, []string{"Reset " + itoa(id) + " code 3"}) || len(r.got[id]) != 10 {
			t.Errorf("%q", r.events)
		}
	})
}

// feed has the peer send as much of a stream as its window allows, and returns how much it has.
func (r *rig) feed(id uint64, at, limit int64) int64 {
	for at < limit {
		n := min(limit-at, 1000)
		r.in(OneRTT, streamFrame(id, at, at+n, false))
		at += n
	}
	return at
}

// windowOf returns the last MAX_STREAM_DATA of a stream, or otherwise.
func windowOf(all []left, id uint64, otherwise int64) int64 {
	for _, f := range all {
		if f.kind == frameMaxStreamData && f.stream == id {
			otherwise = int64(f.value)
		}
	}
	return otherwise
}

// A stream's window opens by Release, and doubles up to 512 KiB while it is drained within 250 ms.
func TestFlow_windowOfAStreamOpensByRelease(t *testing.T) {
	for _, c := range []struct {
		pause int64 // of the reader
		want  []int64
	}{
		{1e6, []int64{64, 128, 256, 512, 512, 512}},
		{600e6, []int64{64, 64, 64, 64}},
	} {
		both(t, func(t *testing.T, r *rig) {
			r.hold = true
			id := r.theirs(TwoWay, 0)
			at, limit := int64(0), int64(64<<10)
			for i, want := range c.want {
				if at = r.feed(id, at, limit); windowOf(r.out(), id, limit) != limit {
					t.Fatal("the window opens before anything is released")
				}
				s := r.streams[id]
				if i > 0 && s.window != want<<10 {
					t.Fatalf("turn %d: a window of %d", i, s.window)
				}
				r.now += c.pause
				r.conn.Release(s, r.owed[s]) // all: the half is released, and more
				r.owed[s] = 0
				if limit = windowOf(r.out(), id, limit); limit != at+s.window {
					t.Fatalf("turn %d: up to %d, want %d", i, limit, at+s.window)
				}
				r.ack()
			}
			r.wantOpen()
		})
	}
}

// A lost MAX_STREAM_DATA or MAX_DATA is sent again with the value of then.
func TestFlow_lostWindowsAreSentAgain(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		id := r.theirs(TwoWay, 0)
		at := r.feed(id, 0, 40_000)
		first := windowOf(r.out(), id, 0)
		at = r.feed(id, at, first)
		r.conn.Release(r.streams[id], 0)
		all := r.pass(3e9)
		if got := windowOf(all, id, 0); first == 0 || got < first {
			t.Errorf("first %d, then %d", first, got)
		}
	})
}

// A stream that is not read does not stop others, until half of the budget is owed.
func TestFlow_aStalledStreamDoesNotStopOthers(t *testing.T) {
	r := established(t, Server, Options{Budget: 256 << 10, StreamWindowMax: 64 << 10})
	r.hold = true
	r.feed(0, 0, 64<<10) // the stalled one
	at, limit, data := int64(0), int64(64<<10), int64(256<<10)
	for at < 4<<20 {
		before := at
		if at = r.feed(4, at, min(limit, data-64<<10)); at == before {
			t.Fatalf("it stops at %d", at)
		}
		s := r.streams[4]
		r.conn.Release(s, r.owed[s])
		r.owed[s] = 0
		all := r.out()
		limit = windowOf(all, 4, limit)
		if n, f := count(all, frameMaxData); n > 0 {
			data = int64(f.value)
		}
		r.ack()
		r.now += 1e6
	}
	// Three more that are not read: the window of the connection stops them, at the budget.
	for n := uint64(2); n < 5; n++ {
		r.feed(4*n, 0, min(64<<10, data-r.conn.flow.taken))
	}
	if c := &r.conn.flow; c.owed > int64(r.opts.Budget) {
		t.Errorf("%d bytes are owed", c.owed)
	}
	r.wantOpen()
	for _, s := range r.streams { // all is read: all is credited
		r.conn.Release(s, r.owed[s])
		r.conn.Done(s)
	}
	if c := &r.conn.flow; c.owed != 0 || c.withheld != 0 || c.credited != c.taken {
		t.Errorf("%+v", *c)
	}
}

// Send takes what windows allow, and Sendable comes when there is more.
func TestSend_waitsForWindows(t *testing.T) {
	for name, c := range map[string]struct {
		stream, data uint64
		open         func(s *Stream) []byte
	}{
		"stream": {1000, 1 << 20, func(s *Stream) []byte {
			return appendFrame(nil, frameMaxStreamData, s.ID, 3000)
		}},
		"connection": {1 << 20, 1000, func(*Stream) []byte { return appendFrame(nil, frameMaxData, 3000) }},
	} {
		for _, role := range []Role{Server, Client} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, role, Options{})
				r.peer.streamRemote, r.peer.data = c.stream, c.data
				r.establish()
				s := r.open(TwoWay)
				if n := r.conn.Send(s, pattern(0, 5000), true); n != 1000 || r.conn.SendRoom(s) != 0 {
					t.Fatalf("%d are taken", n)
				}
				_, f := count(r.out(), frameStream)
				if f.end || f.offset+uint64(len(f.body)) != 1000 {
					t.Fatalf("%+v", f)
				}
				r.ack()
				if len(r.events) != 0 {
					t.Fatalf("%q", r.events)
				}
				r.in(OneRTT, c.open(s))
				if !slices.Equal(r.events, []string{"Sendable " + itoa(s.ID)}) {
					t.Fatalf("%q", r.events)
				}
				if n := r.conn.Send(s, pattern(1000, 5000), true); n != 2000 {
					t.Fatalf("%d are taken", n)
				}
				r.in(OneRTT, appendFrame(nil, frameMaxData, 1<<20), appendFrame(nil, frameMaxStreamData, s.ID, 1<<20))
				if len(r.events) != 2 {
					t.Fatalf("%q", r.events)
				}
				if n := r.conn.Send(s, pattern(3000, 5000), true); n != 2000 {
					t.Fatalf("%d are taken", n)
				}
				got := make([]byte, 5000)
				copy(got, pattern(0, 1000))
				end := false
				for _, f := range r.out() {
					if f.kind == frameStream {
						copy(got[f.offset:], f.body)
						end = end || f.end
					}
				}
				if !end || !bytes.Equal(got, pattern(0, 5000)) {
					t.Error("other bytes")
				}
			})
		}
	}
}

// What is kept for the peer until it acknowledges is bounded, whatever windows it opens.
func TestSend_holdsNoMoreThanSendMax(t *testing.T) {
	for _, most := range []int{50_000, heldLeast, 0} {
		r := newRig(t, Server, Options{SendMax: most})
		r.peer.data, r.peer.streamRemote = integerMax, integerMax
		r.establish()
		var streams []*Stream
		sum := 0
		for range 100 {
			if full := sum == min(heldLeast, or(most, heldLeast)); full != r.conn.Full() {
				t.Errorf("%d held, full: %v", sum, !full)
			}
			s := r.open(TwoWay)
			sum += r.conn.Send(s, pattern(0, 100_000), false)
			streams = append(streams, s)
		}
		want := min(heldLeast, or(most, heldLeast)) // the window is small still
		if r.conn.Held() != want || sum != want || int(r.arena.Stats.Pages)*pageData > want+100*pageData {
			t.Errorf("%d held, %d taken, %d pages", r.conn.Held(), sum, r.arena.Stats.Pages)
		}
		for turn := 0; r.conn.Held() > 0 && turn < 100; turn++ {
			r.out()
			r.now += 10e6
			r.ack()
		}
		if len(r.events) == 0 {
			t.Error("no Sendable")
		}
		for _, s := range streams {
			r.conn.Done(s)
		}
		r.wantNothingKept()
	}
}

// RUSTSEC-2026-0185 and kin: 256 gaps a stream; a packet with one more counts as lost, and is not acknowledged.
func TestGaps_areBounded(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		id := r.theirs(TwoWay, 0)
		for i := range int64(256) {
			r.in(OneRTT, streamFrame(id, 1+2*i, 2+2*i, false))
		}
		r.out()
		refused := r.next[OneRTT]
		r.in(OneRTT, streamFrame(id, 1001, 1002, false))
		r.in(OneRTT, ping)
		r.wantOpen()
		if r.arena.Stats.Gaps != 1 {
			t.Errorf("%d packets are counted", r.arena.Stats.Gaps)
		}
		_, f := count(r.out(), frameAck)
		ranges := f.ranges()
		for first, last, ok := ranges.next(); ok; first, last, ok = ranges.next() {
			if first <= refused && refused <= last {
				t.Error("the packet is acknowledged")
			}
		}
		for i := range int64(256) {
			r.in(OneRTT, streamFrame(id, 2*i, 2*i+1, false))
		}
		r.in(OneRTT, streamFrame(id, 512, 1002, true))
		if !bytes.Equal(r.got[id], pattern(0, 1002)) || !r.ended[id] {
			t.Errorf("%d bytes", len(r.got[id]))
		}
		r.conn.Done(r.streams[id])
		if r.arena.Stats.Pages != 0 {
			t.Errorf("%d pages", r.arena.Stats.Pages)
		}
	})
}

// The memory of all streams with gaps is bounded together: see kept.
func TestGaps_ofManyStreamsAreBounded(t *testing.T) {
	r := established(t, Server, Options{})
	for n := range uint64(128) {
		for at := int64(1); at+1 < 64<<10; at += pageData {
			if r.conn.flow.taken+pageData >= 2<<20 {
				break
			}
			r.in(OneRTT, streamFrame(4*n, at, at+1, false))
		}
	}
	r.wantOpen()
	if most := uint64(2*sparseRoom/pageData + 3); r.arena.Stats.Pages > most || r.arena.Stats.Pages < most/2 {
		t.Errorf("%d pages, want %d at most", r.arena.Stats.Pages, most)
	}
	r.conn.Close(0)
	r.wantNothingKept()
}

// Done gives up what is not over: RESET_STREAM and STOP_SENDING, and no event follows.
func TestDone_givesUpTheRest(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		id := r.theirs(TwoWay, 0)
		r.in(OneRTT, streamFrame(id, 0, 10, false), streamFrame(id, 20, 30, false))
		s := r.streams[id]
		r.conn.Send(s, pattern(0, 3000), false)
		r.conn.Done(s)
		all := r.out()
		resets, f := count(all, frameResetStream)
		stops, _ := count(all, frameStopSending)
		data, _ := count(all, frameStream)
		if resets != 1 || stops != 1 || data != 0 || f.value != 3000 {
			t.Fatalf("%+v", all)
		}
		r.ack()
		r.in(OneRTT, streamFrame(id, 10, 20, false), streamFrame(id, 30, 40, true))
		if len(r.got[id]) != 10 || len(r.events) != 0 {
			t.Errorf("%d bytes, %q", len(r.got[id]), r.events)
		}
		if c := &r.conn.flow; r.conn.streams.used != 0 || c.credited != 40 {
			t.Errorf("%d streams, %+v", r.conn.streams.used, *c)
		}
		r.wantNothingKept()
	})
}

// A peer that acknowledges nothing cannot have streams pile up that this side is done with.
func TestStreams_thatAreNotAcknowledgedAreBounded(t *testing.T) {
	r := established(t, Server, Options{})
	most := 0
	r.onEvent = func(ev *Event) {
		if ev.Kind == Reset {
			r.conn.Done(ev.Stream)
			most = max(most, r.conn.streams.used)
		}
	}
	for n := uint64(0); n < 20_000 && r.conn.state == open; n += 100 {
		var frames [][]byte
		for i := range uint64(100) {
			frames = append(frames, appendFrame(nil, frameResetStream, r.theirs(TwoWay, n+i), 1, 0))
		}
		if r.in(OneRTT, frames...); r.conn.state == open {
			r.out()
		}
	}
	r.events = nil
	if most > 3*128 {
		t.Errorf("%d streams are kept", most)
	}
	r.wantFault(StreamLimitError)

	r = established(t, Server, Options{}) // one that does may go on
	r.onEvent = func(ev *Event) {
		if ev.Kind == Reset {
			r.conn.Done(ev.Stream)
		}
	}
	times := uint64(testutil.RaceRounds(20_000))
	for n := range times {
		r.in(OneRTT, appendFrame(nil, frameResetStream, r.theirs(TwoWay, n), 1, 0))
		if r.out(); n%200 == 0 {
			r.ack()
		}
	}
	r.ack()
	r.wantOpen()
	if r.conn.limit[r.conn.theirType(TwoWay)] != times+128 || r.conn.streams.used != 0 {
		t.Errorf("up to %d, %d streams", r.conn.limit[r.conn.theirType(TwoWay)], r.conn.streams.used)
	}
}

// The last bytes of a stream are readable until the next call of Next, also after Done.
func TestDone_leavesTheBodyOfTheEvent(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		id := r.theirs(OneWay, 0)
		r.in(OneRTT, streamFrame(id, 100, 3000-1900, true))
		d := r.sealed(OneRTT, streamFrame(id, 0, 100, false))
		r.conn.Receive(d, testPath, r.now)
		var got []byte
		for ev := r.conn.Next(); ev.Kind != None; ev = r.conn.Next() {
			if ev.Kind == Data {
				if ev.End {
					r.conn.Done(ev.Stream)
					r.conn.Send(r.open(TwoWay), bytes.Repeat([]byte{1}, 4000), false)
				}
				got = append(got, ev.Body...)
			}
		}
		if !bytes.Equal(got, pattern(0, 1100)) {
			t.Errorf("%d bytes, the last are %x", len(got), got[len(got)-9:])
		}
	})
}

// Streams that are not read may take up more than half of the budget: what is read of others makes room for more.
func TestFlow_unreadStreamsDoNotStopOthers(t *testing.T) {
	for _, unread := range []int64{40_000, 60_000, 90_000} {
		r := established(t, Server, Options{Budget: 100_000, StreamWindow: 1 << 20})
		r.hold = true
		give := func(id uint64, from int64) {
			t.Helper()
			if r.out(); r.conn.flow.taken+1000 > r.conn.flow.takeMax {
				t.Fatalf("%d bytes unread: no room for stream %d after %d bytes", unread, id, from)
			}
			r.in(OneRTT, streamFrame(id, from, from+1000, false))
		}
		for at := int64(0); at < unread; at += 1000 {
			give(r.theirs(TwoWay, 0), at)
		}
		read := r.theirs(TwoWay, 1)
		for at := int64(0); at < 500_000; at += 1000 {
			give(read, at)
			r.conn.Release(r.streams[read], 1000)
		}
		if f := &r.conn.flow; f.owed != unread || f.withheld > f.owed || f.takeMax > f.credited+f.budget {
			t.Errorf("%d bytes unread: %+v", unread, *f)
		}
		r.wantOpen()
	}
}
