package quic

import (
	"bytes"
	mathrand "math/rand/v2"
	"slices"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// RFC 9000 §10.2.1: while closing, CONNECTION_CLOSE answers ever fewer datagrams; after three PTO there is nothing.
func TestClosing_answersEverMoreRarely(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.open(TwoWay)
		r.conn.Send(s, pattern(0, 9000), false)
		r.conn.Close(77)
		r.drive()
		all := r.out()
		if n, f := count(all, frameCloseApp); n != 1 || f.code != 77 || len(all) != 1 {
			t.Fatalf("%d frames: %+v", n, all)
		}
		if !slices.Equal(r.events, []string{"Closed <nil> 77 app true peer false"}) {
			t.Fatalf("%q", r.events)
		}
		r.wantNothingKept()
		var answered []int
		for n := 1; n <= 64; n++ {
			r.in(OneRTT, streamFrame(r.theirs(TwoWay, 0), 0, 10, false))
			if all := r.out(); len(all) > 0 {
				answered = append(answered, n)
				if len(all) != 1 || all[0].kind != frameCloseApp {
					t.Fatalf("%+v", all)
				}
			}
		}
		if !slices.Equal(answered, []int{1, 3, 7, 15, 31, 63}) {
			t.Errorf("%d are answered", answered)
		}
		least := r.now + 3*r.conn.sent.rtt.probeAfter(0)
		if at := r.conn.Deadline(); at < least || r.conn.Over() {
			t.Errorf("closing ends at %d, want %d", at, least)
		}
		r.pass(20e9)
		r.in(OneRTT, ping)
		if !r.conn.Over() || len(r.out()) != 0 || r.conn.Deadline() != 0 || len(r.events) != 1 || len(r.got) != 0 {
			t.Errorf("it goes on: %q", r.events)
		}
		if _, err := r.conn.Open(TwoWay); err != ErrOver {
			t.Error(err)
		}
	})
}

// RFC 9000 §10.2.2: after CONNECTION_CLOSE of the peer nothing is sent.
func TestDraining_sendsNothing(t *testing.T) {
	for _, app := range []bool{false, true} {
		both(t, func(t *testing.T, r *rig) {
			s := r.open(TwoWay)
			r.conn.Send(s, pattern(0, 100_000), false)
			r.in(OneRTT, streamFrame(r.theirs(TwoWay, 0), 5, 9, false),
				appendClose(nil, app, 9, frameStream, "so long"),
				streamFrame(r.theirs(TwoWay, 0), 0, 5, false))
			want := "Closed quic: closed by the peer 9 app false peer true"
			if app {
				want = "Closed quic: closed by the peer 9 app true peer true"
			}
			if !slices.Equal(r.events, []string{want}) || len(r.got) != 0 {
				t.Fatalf("%q, %d", r.events, len(r.got))
			}
			r.wantNothingKept()
			for range 20 {
				r.in(OneRTT, ping)
				if len(r.out()) > 0 || r.conn.Pending() {
					t.Fatal("an answer while draining")
				}
			}
			r.conn.Close(1)
			r.conn.Reset(s, 1)
			r.conn.Stop(s, 1)
			r.conn.Done(s)
			if r.drive(); len(r.events) != 1 || len(r.out()) > 0 {
				t.Errorf("%q", r.events)
			}
			if r.pass(20e9); !r.conn.Over() {
				t.Error("it does not end")
			}
		})
	}
}

// RFC 9000 §10.2.3: before the handshake is confirmed a fault is told at all levels that the peer may read, and an
// application's code and reason at none of Initial and Handshake.
func TestClosing_inTheHandshake(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.in(Initial, ping)
	r.keysOf(Handshake)
	r.conn.Close(0x1234)
	r.drive()
	levels := map[Level]bool{}
	for _, f := range r.out() {
		if f.kind != frameClose || f.code != uint64(ApplicationError) || len(f.body) != 0 {
			t.Errorf("%+v", f)
		}
		levels[f.level] = true
	}
	if !levels[Initial] || !levels[Handshake] {
		t.Errorf("levels %v", levels)
	}
	r = newRig(t, Client, Options{})
	r.conn.FailHandshake(CryptoError(42))
	r.drive()
	if n, f := count(r.out(), frameClose); n != 1 || f.code != 0x100+42 || f.value != 0 {
		t.Errorf("%d, %+v", n, f)
	}
	if r.sizes[0] != DatagramSize {
		t.Errorf("an Initial of a client in %d octets", r.sizes[0])
	}
}

// A handshake that this side refuses is no fault of the peer. A message of TLS after the handshake is.
func TestFailHandshake_counts(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.conn.FailHandshake(ConnectionRefused)
	if k := r.conn.Closed(); k.Code != uint64(ConnectionRefused) || r.arena.Stats.Faults != 0 {
		t.Errorf("%+v, %d faults", k, r.arena.Stats.Faults)
	}
	r = established(t, Server, Options{})
	r.conn.FailHandshake(CryptoError(10))
	r.drive()
	r.wantFault(CryptoError(10))
}

// RFC 9000 §10.1: the lesser of both times counts, 3 PTO at least; what comes, and the first packet sent after it that
// asks for an acknowledgement, begin it anew.
func TestIdle_ends(t *testing.T) {
	for _, c := range []struct{ ours, peers, want int64 }{
		{30, 0, 30}, {30, 20, 20}, {30, 40, 30}, {0, 0, 60},
	} {
		for _, role := range []Role{Server, Client} {
			r := newRig(t, role, Options{IdleTimeout: timeOf(c.ours)})
			r.peer.idle = uint64(c.peers * 1000)
			r.establish()
			r.pass(1e9) // with the last acknowledgement
			r.in(OneRTT, ping)
			r.in(OneRTT, ping)
			r.out()
			heard := r.now
			r.pass(c.want*1e9 - 1)
			r.wantOpen()
			all := r.pass(1)
			if !r.conn.Over() || r.conn.Closed().Err != ErrIdle || len(all) != 0 || r.now-heard != c.want*1e9 {
				t.Errorf("%+v, role %d: %+v", c, role, r.conn.Closed())
			}
			r.wantNothingKept()
		}
	}
}

func TestIdle_beginsAnewWithTheFirstPacketSent(t *testing.T) {
	r := newRig(t, Server, Options{IdleTimeout: timeOf(10)})
	r.establish()
	r.pass(9e9)
	s := r.open(TwoWay)
	r.conn.Send(s, []byte("a"), false)
	r.out()
	r.pass(5e9)
	r.wantOpen()
	r.conn.Send(s, []byte("b"), false) // not the first one since a packet came
	r.out()
	if r.pass(6e9); r.conn.Closed().Err != ErrIdle {
		t.Errorf("state %d", r.conn.state)
	}
}

func TestHandshake_takesTooLong(t *testing.T) {
	for _, role := range []Role{Server, Client} {
		r := newRig(t, role, Options{})
		r.in(Initial, ping)
		r.pass(10e9 - 1)
		r.wantOpen()
		if r.pass(1); r.conn.Closed().Err != ErrHandshakeTimeout {
			t.Errorf("%+v", r.conn.Closed())
		}
	}
}

// Early packets wait for keys: 10, none of them longer than ours (CVE-2025-59530). They are taken once the handshake is
// done, and a server takes none before (RFC 9001 §5.7).
func TestEarly_waitForKeys(t *testing.T) {
	for _, c := range []struct{ size, sent, want int }{
		{10, 4, 4}, {10, 10, 10}, {10, 300, 10}, {1100, 300, 10}, {2000, 30, 0},
	} {
		for _, role := range []Role{Server, Client} {
			r := newRig(t, role, Options{})
			r.in(Initial, ping)
			r.out()
			r.write[OneRTT].init(aes128GCM, rigSecret[OneRTT][0][:32])
			for n := range c.sent {
				r.datagram(r.sealed(OneRTT, streamFrame(r.theirs(TwoWay, uint64(n)), 0, int64(c.size), true)))
			}
			if len(r.conn.early) != c.want {
				t.Fatalf("%d of %+v wait", len(r.conn.early), c)
			}
			if n := r.arena.Stats.Early; n != uint64(c.sent-c.want) {
				t.Errorf("%d of %+v are counted as dropped", n, c)
			}
			r.keysOf(Handshake)
			r.in(Handshake, ping)
			r.keysOf(OneRTT)
			testutil.Must(t, r.conn.SetParameters(r.parameters()))
			if r.drive(); role == Server && len(r.got) != 0 {
				t.Fatal("data before the handshake is done")
			}
			r.conn.HandshakeDone()
			r.drive()
			if len(r.got) != c.want || r.conn.early != nil {
				t.Fatalf("%d streams of %+v", len(r.got), c)
			}
			for n := range c.want {
				if id := r.theirs(TwoWay, uint64(n)); !bytes.Equal(r.got[id], pattern(0, int64(c.size))) {
					t.Fatalf("stream %d: %d bytes", id, len(r.got[id]))
				}
			}
			if n, _ := count(r.out(), frameAck); n == 0 && c.want > 0 {
				t.Error("no acknowledgement")
			}
			r.wantOpen()
		}
	}
}

// Handshake packets that come before the ServerHello wait as well.
func TestEarly_handshakePackets(t *testing.T) {
	r := newRig(t, Client, Options{})
	r.write[Handshake].init(aes128GCM, rigSecret[Handshake][0][:32])
	d := r.sealed(Handshake, cryptoFrame(0, 8))
	r.datagram(d)
	r.in(Initial, ping)
	r.keysOf(Handshake)
	if r.drive(); !slices.Equal(r.events, []string{"Crypto 1 8"}) {
		t.Errorf("%q", r.events)
	}
}

// CRYPTO: 16 KiB ahead, and 32 gaps.
func TestCrypto_limits(t *testing.T) {
	for _, l := range []Level{Initial, Handshake} {
		for _, role := range []Role{Server, Client} {
			fresh := func() *rig {
				r := newRig(t, role, Options{})
				r.in(Initial, ping)
				r.keysOf(Handshake)
				if r.out(); l == Handshake {
					r.in(Handshake, ping)
					r.out()
				}
				return r
			}
			r := fresh()
			r.in(l, cryptoFrame(helloMax-1, helloMax))
			r.in(l, cryptoFrame(0, 10))
			r.in(l, cryptoFrame(helloMax, helloMax+10))
			r.wantOpen()
			r.in(l, cryptoFrame(helloMax+10, helloMax+11))
			r.wantFault(CryptoBufferExceeded)

			r = fresh()
			for i := range int64(cryptoGaps.most) {
				r.in(l, cryptoFrame(2+2*i, 3+2*i))
			}
			r.wantOpen()
			if pages := r.arena.Stats.Pages; pages > helloMax/pageData+2 {
				t.Errorf("%d pages", pages)
			}
			r.in(l, cryptoFrame(1000, 1001))
			r.wantFault(CryptoBufferExceeded)
		}
	}
	r := established(t, Client, Options{}) // after the handshake: tickets, without end but never far ahead
	for i := range int64(100) {
		r.in(OneRTT, cryptoFrame(1000*i, 1000*i+1000))
	}
	r.wantOpen()
	r.in(OneRTT, cryptoFrame(100_000+helloMax, 100_001+helloMax))
	r.wantFault(CryptoBufferExceeded)
}

// A PATH_CHALLENGE is answered with its octets, one a flush (CVE-2023-49295), in a datagram of 1200 octets (RFC 9000
// §8.2.2).
func TestPathChallenge_isAnswered(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.sizes = nil
		for n := byte(1); n < 50; n++ {
			r.in(OneRTT, appendPath(nil, framePathChallenge, &[8]byte{n}))
		}
		n, f := count(r.out(), framePathResponse)
		if n != 1 || f.body[0] != 49 {
			t.Errorf("%d answers, %v", n, f.body)
		}
		if r.sizes[0] != DatagramSize {
			t.Errorf("in %d octets", r.sizes[0])
		}
		r.in(OneRTT, appendPath(nil, framePathResponse, &[8]byte{1}))
		r.wantOpen()
	})
}

// Frames without effect have a budget.
func TestBudget_idleFrames(t *testing.T) {
	for name, f := range map[string]func(r *rig) []byte{
		"PING":                 raw(1),
		"PADDING":              raw(0, 0, 0),
		"MAX_DATA":             integers(frameMaxData, 5),
		"MAX_STREAM_DATA":      frameOn(frameMaxStreamData, true, TwoWay, 0, false, 1),
		"MAX_STREAMS":          integers(frameMaxStreams, 1),
		"DATA_BLOCKED":         integers(frameDataBlocked, 1),
		"STREAM_DATA_BLOCKED":  frameOn(frameStreamDataBlocked, true, TwoWay, 0, false, 1),
		"STREAMS_BLOCKED":      integers(frameStreamsBlocked, 1),
		"PATH_CHALLENGE":       func(r *rig) []byte { return appendPath(nil, framePathChallenge, &[8]byte{}) },
		"PATH_RESPONSE":        func(r *rig) []byte { return appendPath(nil, framePathResponse, &[8]byte{}) },
		"NEW_CONNECTION_ID":    func(r *rig) []byte { return newIDFrame(1, 0) },
		"RETIRE":               integers(frameRetireID, 1),
		"an empty STREAM":      func(r *rig) []byte { return streamFrame(r.theirs(TwoWay, 0), 0, 0, false) },
		"STREAM of an old one": func(r *rig) []byte { return streamFrame(r.mine(TwoWay, 0), 0, 0, false) },
		"RESET_STREAM again":   frameOn(frameResetStream, true, TwoWay, 0, false, 1, 0),
		"STOP_SENDING again":   frameOn(frameStopSending, true, TwoWay, 0, false, 1),
		"CRYPTO of nothing":    func(r *rig) []byte { return cryptoFrame(0, 0) },
	} {
		t.Run(name, func(t *testing.T) {
			r := established(t, Server, Options{})
			r.oldStream()
			for n := 0; n < 10_400; {
				if r.conn.state != open {
					break
				}
				r.out()
				most := 1000
				if name == "PADDING" {
					most = 1 // a run of it counts as one
				}
				var all [][]byte
				for size := 0; size < most; n++ {
					b := f(r)
					all = append(all, b)
					size += len(b)
				}
				r.in(OneRTT, all...)
			}
			r.wantFault(ProtocolViolation)
			if r.arena.Stats.IdleFrames != 1 {
				t.Error("it is not counted")
			}
		})
	}
	r := established(t, Server, Options{}) // a thousand a second are allowed, for ever
	for range 60 {
		for range 990 {
			r.in(OneRTT, ping)
		}
		r.pass(1e9)
	}
	r.wantOpen()
}

// Closing lasts three PTO from the first CONNECTION_CLOSE, however long ago the last datagram came.
func TestClosing_lastsThreeProbesAfterSilence(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.pass(1e9)
		r.now += 20e9
		r.conn.Close(1)
		r.drive()
		if n, _ := count(r.out(), frameCloseApp); n != 1 || r.conn.Deadline() < r.now+3*r.conn.sent.rtt.probeAfter(0) {
			t.Fatalf("%d frames; closing ends at %d, now is %d", n, r.conn.Deadline(), r.now)
		}
		at := r.conn.Deadline()
		for range 7 {
			r.now += 1e3
			r.in(OneRTT, ping)
			r.out()
		}
		if r.conn.Deadline() != at {
			t.Errorf("answers prolong it by %d", r.conn.Deadline()-at)
		}
	})
}

// RFC 9001 §6.6: too many packets that cannot be opened end the connection.
func TestBudget_packetsThatCannotBeOpened(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		r.conn.failed = r.read[OneRTT].suite.failMax - 2
		for range 2 {
			r.wantOpen()
			d := r.sealed(OneRTT, ping, make([]byte, 30))
			d[len(d)-1] ^= 1
			r.datagram(d)
		}
		r.wantFault(AEADLimitReached)
	})
}

// A peer that acknowledges late stretches the PTO, but not the times of idle, closing and draining without end.
func TestLife_lateAcknowledgementsDoNotStretchIt(t *testing.T) {
	for _, c := range []struct{ smoothed, variance, idle, closing int64 }{
		{1e9, 0, 3.078e9, 3.078e9}, {8e9, 0, 24.078e9, 10e9}, {100e9, 50e9, 30e9, 10e9},
	} {
		for name, end := range map[string]func(r *rig){
			"closing":  func(r *rig) { r.conn.Close(1); r.drive(); r.out() },
			"draining": func(r *rig) { r.in(OneRTT, appendClose(nil, true, 9, 0, "")) },
		} {
			r := newRig(t, Server, Options{IdleTimeout: timeOf(1)})
			r.establish()
			r.pass(1e8)
			r.in(OneRTT, ping)
			r.conn.sent.rtt = rtt{sampled: true, latest: c.smoothed, smoothed: c.smoothed, variance: c.variance}
			if got := r.conn.idleAt() - r.now; got != c.idle {
				t.Errorf("%+v: idle after %d", c, got)
			}
			if end(r); r.conn.Deadline()-r.now != c.closing {
				t.Errorf("%+v: %s for %d", c, name, r.conn.Deadline()-r.now)
			}
		}
	}
}

// The Arena has the datagram that is read. Other connections of the Arena may end meanwhile, and a panic may leave a
// datagram half read.
func TestReceive_besideOthersOfTheArena(t *testing.T) {
	for _, role := range []Role{Server, Client} {
		r, other := established(t, role, Options{}), established(t, role, Options{})
		other.conn.arena, other.conn.in = &r.arena, &r.arena.in
		first, second := r.theirs(TwoWay, 0), r.theirs(TwoWay, 1)
		d := r.sealed(OneRTT, streamFrame(first, 0, 100, false), streamFrame(second, 0, 100, false))
		r.conn.Receive(d, r.from, r.now)
		if ev := r.conn.Next(); ev.Kind != Data || ev.Stream.ID != first {
			t.Fatalf("%+v", ev)
		}
		other.conn.FailHandshake(ConnectionRefused)
		if ev := r.conn.Next(); ev.Kind != Data || ev.Stream.ID != second {
			t.Errorf("after the end of another: %+v", ev)
		}
		other = established(t, role, Options{})
		other.conn.arena, other.conn.in = &r.arena, &r.arena.in
		d = r.sealed(OneRTT, streamFrame(first, 100, 200, false), streamFrame(second, 100, 200, false))
		r.conn.Receive(d, r.from, r.now)
		r.conn.Next()
		if ev := other.conn.Next(); ev.Kind != None || other.conn.streams.used != 0 {
			t.Errorf("another one reads the rest: %+v", ev)
		}
		if ev := r.conn.Next(); ev.Kind != None {
			t.Errorf("what was given up comes back: %+v", ev)
		}
	}
}

// A client drops the keys of a level when a packet leaves. The datagram that another connection reads stays whole.
func TestSend_besideAReaderOfTheArena(t *testing.T) {
	r, other := established(t, Server, Options{}), newRig(t, Client, Options{})
	other.conn.arena, other.conn.in = &r.arena, &r.arena.in
	other.out()
	other.in(Initial, cryptoFrame(0, 4))
	other.keysOf(Handshake)
	other.conn.SendCrypto(Handshake, []byte("finished"))
	first, second := r.theirs(TwoWay, 0), r.theirs(TwoWay, 1)
	r.conn.Receive(r.sealed(OneRTT, streamFrame(first, 0, 9, false), streamFrame(second, 0, 9, false)), r.from, r.now)
	if ev := r.conn.Next(); ev.Kind != Data || ev.Stream.ID != first {
		t.Fatalf("%+v", ev)
	}
	if other.out(); other.conn.spaces[Initial] != nil {
		t.Fatal("no keys were dropped")
	}
	if ev := r.conn.Next(); ev.Kind != Data || ev.Stream.ID != second {
		t.Errorf("after a packet of another: %+v", ev)
	}
}

// Late mail: whatever is called after the end, in any order, does nothing.
func TestLife_callsAfterTheEnd(t *testing.T) {
	ends := map[string]func(r *rig, l Level){
		"closed":    func(r *rig, _ Level) { r.conn.Close(7) },
		"handshake": func(r *rig, _ Level) { r.conn.FailHandshake(ConnectionRefused) },
		"peer":      func(r *rig, l Level) { r.in(l, appendClose(nil, false, 3, 0, "")) },
		"time":      func(r *rig, _ Level) { r.now += 3600e9; r.conn.Expire(r.now) },
		"closing is over": func(r *rig, _ Level) {
			r.conn.Close(7)
			r.now += 3600e9
			r.conn.Expire(r.now)
		},
	}
	begin := map[string]func(r *rig) Level{
		"fresh":       func(*rig) Level { return Initial },
		"handshake":   func(r *rig) Level { r.in(Initial, ping); r.keysOf(Handshake); return Handshake },
		"established": func(r *rig) Level { r.establish(); return OneRTT },
	}
	for name, end := range ends {
		for at, until := range begin {
			for seed := range uint64(40) {
				r := newRig(t, Role(seed&1), Options{})
				level, rng := until(r), mathrand.New(mathrand.NewPCG(seed, 9))
				var streams []*Stream
				if at == "established" {
					r.in(OneRTT, streamFrame(r.theirs(TwoWay, 0), 5, 900, false),
						streamFrame(r.theirs(TwoWay, 1), 0, 9, true))
					streams = append(streams, r.open(TwoWay), r.open(OneWay), r.streams[r.theirs(TwoWay, 1)])
					for _, s := range []*Stream{streams[0], streams[2]} {
						r.conn.Send(s, pattern(0, 5000), true)
					}
					r.out()
				}
				end(r, level)
				if r.drive(); r.conn.state == open {
					t.Fatalf("%s, %s: no end", name, at)
				}
				events := len(r.events)
				for range 60 {
					r.anything(rng, streams)
				}
				r.drive()
				held, pages := r.conn.Held(), r.arena.Stats.Pages
				if len(r.events) != events || held != 0 || pages != 0 || r.conn.state == open {
					t.Errorf("%s, %s, seed %d: %q, %d held, %d pages", name, at, seed, r.events, held, pages)
				}
			}
		}
	}
}

// anything calls a method of the connection by chance.
func (r *rig) anything(rng *mathrand.Rand, streams []*Stream) {
	c, l := &r.conn, Level(rng.IntN(levels))
	switch k := rng.IntN(16); k {
	case 0:
		r.read[OneRTT].init(aes128GCM, rigSecret[OneRTT][1][:32])
		//nolint:errcheck // ErrOver, or nothing
		c.SetSecret(OneRTT, rng.IntN(2) == 0, aes128GCM, rigSecret[OneRTT][1][:32])
	case 1:
		c.SendCrypto(l, []byte("late"))
	case 2:
		c.SetParameters(r.parameters()) //nolint:errcheck // as above
	case 3:
		c.HandshakeDone()
	case 4:
		c.FailHandshake(InternalError)
	case 5:
		c.Close(9)
	case 6:
		r.now += rng.Int64N(1e9)
		c.Expire(r.now)
	case 7:
		if at := c.Deadline(); at != 0 {
			r.now = max(r.now, at)
		}
	case 8:
		r.out()
	case 9:
		r.write[OneRTT].init(aes128GCM, rigSecret[OneRTT][0][:32])
		r.datagram(r.sealed(OneRTT, streamFrame(r.theirs(TwoWay, 2), 0, 100, true)))
	case 10:
		r.drive()
	default:
		if len(streams) > 0 {
			r.anythingOf(rng, streams[rng.IntN(len(streams))], k)
		}
	}
}

func (r *rig) anythingOf(rng *mathrand.Rand, s *Stream, k int) {
	c := &r.conn
	switch {
	case s.flag&streamDone != 0:
	case k == 11:
		c.Send(s, pattern(0, 100), rng.IntN(2) == 0)
	case k == 12:
		c.Reset(s, 3)
		c.Stop(s, 3)
	case k == 13:
		c.Await(s)
		c.Prioritise(s, uint8(rng.IntN(8)), rng.IntN(2) == 0)
	case k == 14:
		c.Release(s, 1)
	case rng.IntN(10) == 0:
		c.Done(s)
	}
}
