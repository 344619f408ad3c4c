package quic

import (
	"slices"
	"testing"
)

// flow of one stream that is written from time to time, so that each call of out is one packet.
func (r *rig) talk(s *Stream) int64 {
	r.t.Helper()
	r.conn.Send(s, pattern(s.out.size, s.out.size+100), false)
	n, f := count(r.out(), frameStream)
	if n != 1 {
		r.t.Fatalf("%d frames", n)
	}
	return f.number
}

// ackOf acknowledges some numbers, highest first.
func (r *rig) ackOf(numbers ...int64) {
	r.t.Helper()
	var a ranges
	for _, n := range numbers {
		a.add(&Arena{}, n)
	}
	r.in(OneRTT, a.appendAck(nil, 0, 100))
}

// calm has a conn know a round trip of 100 ms with no variance to speak of: PTO = 100 + 4 × (1 at least) + 25 ms.
func (r *rig) calm() *Stream {
	r.t.Helper()
	s := r.open(TwoWay)
	for range 60 {
		n := r.talk(s)
		r.now += 100e6
		r.ackOf(n)
	}
	r.conn.sent.rtt = rtt{sampled: true, latest: 100e6, smoothed: 100e6, least: 100e6}
	return s
}

// again returns the offsets of STREAM frames that are sent again.
func again(all []left, below int64) (offsets []int64) {
	for _, f := range all {
		if f.kind == frameStream && int64(f.offset) < below {
			offsets = append(offsets, int64(f.offset))
		}
	}
	return offsets
}

// RFC 9002 §6.1.1: three packets after it that were acknowledged.
func TestLoss_byPackets(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.calm()
		start := s.out.size
		var n []int64
		for range 6 {
			n = append(n, r.talk(s))
			r.now++
		}
		r.ackOf(n[2])
		if all := again(r.out(), s.out.size); len(all) != 0 {
			t.Fatalf("%d are sent again when the second one after it came", all)
		}
		r.ackOf(n[3])
		if all := again(r.out(), s.out.size); !slices.Equal(all, []int64{start}) {
			t.Fatalf("%d are sent again, want %d", all, start)
		}
		if r.arena.Stats.Lost != 1 {
			t.Errorf("%d lost", r.arena.Stats.Lost)
		}
		r.ackOf(n[5])
		if all := again(r.out(), s.out.size); !slices.Equal(all, []int64{start + 100}) {
			t.Fatalf("%d are sent again, want %d", all, start+100)
		}
	})
}

// RFC 9002 §6.1.2: 9/8 of the round trip after it was sent, when a later one was acknowledged.
func TestLoss_byTime(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.calm()
		start, sent := s.out.size, r.now
		r.talk(s)
		second := r.talk(s)
		r.now += 100e6
		r.ackOf(second)
		if at := r.conn.Deadline(); at != sent+112_500_000 {
			t.Fatalf("the timer is at %d, want 112.5 ms", at-sent)
		}
		if all := r.pass(12_499_999); len(again(all, s.out.size)) != 0 {
			t.Fatal("too early")
		}
		if all := again(r.pass(1), s.out.size); !slices.Equal(all, []int64{start}) {
			t.Fatalf("%d are sent again", all)
		}
	})
}

// RFC 9002 §6.2.1: PTO = smoothed + max(4 × variance, granularity) + max_ack_delay, doubled each time, and anew with
// an acknowledgement. §6.2.4: two packets at most.
func TestProbe_times(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.calm()
		r.conn.sent.rtt.variance = 10e6
		pto := int64(100e6 + 40e6 + 25e6)
		start, last := s.out.size, r.now
		n := r.talk(s)
		for turn := range 6 {
			want := pto << turn
			if at := r.conn.Deadline(); at != last+want {
				t.Fatalf("probe %d after %d, want %d", turn, at-last, want)
			}
			before := len(r.sizes)
			all := r.pass(want)
			last = r.now
			if probes := len(r.sizes) - before; probes < 1 || probes > 2 || again(all, s.out.size)[0] != start {
				t.Fatalf("probe %d: %d packets, %d", turn, probes, again(all, s.out.size))
			}
		}
		if r.conn.sent.window.size < 12000 {
			t.Error("a probe lowers the window") // §7.5, §6.2.4: only loss does
		}
		r.ackOf(n)
		if r.conn.sent.ptoCount != 0 {
			t.Error("the backoff is kept")
		}
		r.ack()
		if at := r.conn.Deadline(); at < r.now+40e9 {
			t.Errorf("a timer at %d without packets on their way", at-r.now)
		}
	})
}

// RFC 9002 §7.6: two packets lost, three PTO apart, none between them acknowledged: the window is the least.
func TestLoss_persistent(t *testing.T) {
	for apart, collapsed := range map[int64]bool{3 * 126: false, 3*126 + 1: true} {
		r := established(t, Server, Options{})
		s := r.calm()
		r.conn.sent.window.size = 100_000
		begin := r.now
		r.talk(s)
		r.now = begin + apart*1e6
		r.conn.now = r.now
		var last int64
		for range 4 {
			last = r.talk(s)
		}
		r.now += 100e6
		r.ackOf(last)
		if got := r.conn.sent.window.size == 2*DatagramSize; got != collapsed {
			t.Errorf("%d ms apart: a window of %d", apart, r.conn.sent.window.size)
		}
		if r.arena.Stats.Lost < 2 {
			t.Fatalf("%d lost", r.arena.Stats.Lost)
		}
	}
}

// RFC 9002 §7.6: an acknowledgement of a packet in between ends the row of lost packets. Numbers that were skipped and
// packets that ask for no acknowledgement do not.
func TestLoss_persistentDespiteNumbersWithoutAnAcknowledgement(t *testing.T) {
	for name, between := range map[string]func(r *rig, s *Stream) []int64{
		"a number that was skipped": func(r *rig, _ *Stream) []int64 { r.conn.spaces[OneRTT].next++; return nil },
		"an acknowledgement": func(r *rig, _ *Stream) []int64 {
			r.in(OneRTT, ping)
			r.in(OneRTT, ping)
			if n, _ := count(r.out(), frameAck); n != 1 {
				r.t.Fatal("no acknowledgement")
			}
			return nil
		},
		"data that arrived": func(r *rig, s *Stream) []int64 { return []int64{r.talk(s)} },
	} {
		r := established(t, Server, Options{})
		s := r.calm()
		r.conn.sent.window.size = 100_000
		r.talk(s)
		r.now += 200e6
		arrived := between(r, s)
		r.now += 200e6
		r.conn.now = r.now
		var last int64
		for range 4 {
			last = r.talk(s)
		}
		r.now += 100e6
		r.ackOf(append(arrived, last)...)
		got := r.conn.sent.window.size == 2*DatagramSize
		if want := name != "data that arrived"; got != want || r.arena.Stats.Lost < 2 {
			t.Errorf("%s: a window of %d, %d lost", name, r.conn.sent.window.size, r.arena.Stats.Lost)
		}
	}
}

// RFC 9000 §13.2.1, §13.2.2: each second packet is acknowledged at once, one alone within 25 ms, a gap at
// once; packets that ask for none never alone.
func TestAck_times(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.pass(1e9)
		acks := func(all []left) int { n, _ := count(all, frameAck); return n }
		r.in(OneRTT, ping)
		if n := acks(r.out()); n != 0 {
			t.Fatal("one packet is acknowledged at once")
		}
		if at := r.conn.Deadline(); at != r.now+25e6 {
			t.Fatalf("the timer is at %d", at-r.now)
		}
		r.now += 1e6
		r.in(OneRTT, ping)
		if n := acks(r.out()); n != 1 {
			t.Fatal("the second one is not acknowledged at once")
		}
		r.in(OneRTT, ping)
		if n := acks(r.pass(25e6 - 1)); n != 0 {
			t.Fatal("too early")
		}
		all := r.pass(1)
		n, f := count(all, frameAck)
		if n != 1 || f.delay<<exponentDefault/1e3 != 25 && f.delay != 25_000>>exponentDefault {
			t.Fatalf("%d, delay %d", n, f.delay)
		}
		r.next[OneRTT]++ // a gap
		r.in(OneRTT, ping)
		if n, f := count(r.out(), frameAck); n != 1 || f.count != 1 || f.first != 0 {
			t.Fatalf("%d, %+v", n, f)
		}
		gap := r.next[OneRTT] - 2
		r.pass(1e9)
		r.datagram(r.sealedAs(OneRTT, 0, gap, &r.first, ping)) // late, and told at once
		if n, f := count(r.out(), frameAck); n != 1 || f.count != 0 {
			t.Fatalf("%d, %+v", n, f)
		}
		for range 10 {
			r.in(OneRTT, appendFrame(nil, frameAck, uint64(r.seen[OneRTT]), 0, 0, 0))
		}
		if all := r.pass(1e9); len(all) != 0 {
			t.Errorf("an acknowledgement of acknowledgements: %+v", all)
		}
		r.in(OneRTT, ping) // with the next data
		if r.talk(r.open(TwoWay)); r.conn.spaces[OneRTT].ackAt != 0 {
			t.Error("data goes without the acknowledgement that is due")
		}
	})
	for _, l := range []Level{Initial, Handshake} { // §13.2.1: at once
		r := newRig(t, Client, Options{})
		r.in(Initial, ping)
		r.keysOf(Handshake)
		r.in(Handshake, ping)
		n := 0
		for _, f := range r.out() {
			if f.kind == frameAck && f.level == l {
				n++
			}
		}
		if n != 1 {
			t.Errorf("level %d: %d", l, n)
		}
	}
}

// 64 ranges are told at most, and 256 are read.
func TestAck_rangesAreBounded(t *testing.T) {
	r := established(t, Server, Options{})
	for range 200 {
		r.next[OneRTT]++
		r.in(OneRTT, ping)
	}
	if _, f := count(r.out(), frameAck); f.count != rangesMax-1 {
		t.Errorf("%d ranges", f.count+1)
	}
	old := r.next[OneRTT] - 300
	r.datagram(r.sealedAs(OneRTT, 0, old, &r.first, streamFrame(0, 0, 5, true)))
	if len(r.got[0]) != 0 {
		t.Error("a packet that may be a duplicate is taken")
	}
	// CVE-2025-4820: numbers are left out, about one in 256. Their acknowledgement is a lie.
	both(t, func(t *testing.T, r *rig) {
		s := r.open(TwoWay)
		var skipped int64 = none
		for range 20_000 {
			n := r.talk(s)
			if !r.numbers[OneRTT].has(n-1) && n > 1 {
				skipped = n - 1
				break
			}
			r.now += 1e6
			r.ackOf(n)
		}
		if skipped == none {
			t.Fatal("no number is left out")
		}
		r.wantOpen()
		r.in(OneRTT, appendFrame(nil, frameAck, uint64(skipped+1), 0, 0, 2))
		r.wantFault(ProtocolViolation)
	})
}

// Of an acknowledgement 256 ranges are read (CVE-2025-4821 and kin): the packets of the others are sent again.
func TestAck_rangesThatAreRead(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.open(TwoWay)
		r.conn.sent.window.size = 1 << 20
		for range 600 {
			r.now += 1e5
			r.talk(s)
		}
		top := int64(r.seen[OneRTT])
		if r.conn.sent.skipped%2 == top%2 {
			top-- // the number that was skipped is between the ranges
		}
		was := r.conn.spaces[OneRTT].flying
		r.in(OneRTT, append(appendFrame(nil, frameAck, uint64(top), 0, 259, 0), make([]byte, 2*259)...))
		r.wantOpen()
		if n := r.arena.Stats.Unread; n != 1 {
			t.Errorf("%d acknowledgements are counted", n)
		}
		low := top - 2*(ackRangesMax-1)
		space := r.conn.spaces[OneRTT]
		for i := range space.sent.n {
			p := space.sent.at(i)
			if read := p.number >= low && p.number <= top && p.number%2 == top%2; read != (p.state == sentAcked) {
				t.Fatalf("packet %d: state %d, %d of %d fly", p.number, p.state, space.flying, was)
			}
		}
	})
}

// HANDSHAKE_DONE is sent until it is acknowledged.
func TestHandshakeDone_isSentAgain(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.agree()
	r.conn.HandshakeDone()
	r.drive()
	if n, _ := count(r.out(), frameHandshakeDone); n != 1 {
		t.Fatal(n)
	}
	done, s := 0, r.open(TwoWay)
	for range 5 {
		r.pass(1e9)
		for range 4 {
			r.conn.Send(s, []byte("x"), false)
			m, _ := count(r.out(), frameHandshakeDone)
			done += m
		}
		r.now += 50e6
		r.ackOf(r.seen[OneRTT])
		m, _ := count(r.out(), frameHandshakeDone)
		done += m
	}
	if done == 0 {
		t.Error("it is not sent again")
	}
}

// RFC 9002 §7.8 and §7: no more than the window is on its way.
func TestWindow_boundsWhatIsOnItsWay(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.open(TwoWay)
		for range 10 {
			r.conn.Send(s, pattern(0, 100_000), false)
			w := &r.conn.sent.window
			before := w.flight
			if r.out(); w.flight > w.size && w.flight > before {
				t.Fatalf("%d on their way, the window is %d", w.flight, w.size)
			}
			if w.flight == 0 {
				t.Fatal("nothing is on its way")
			}
			r.now += 20e6
			r.ackOf(r.seen[OneRTT])
		}
	})
}
