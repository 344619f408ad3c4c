package quic

import (
	"bytes"
	"testing"
)

// script is bytes that say what happens to a Conn: packets with any frames, time, and what its caller does.
type script struct {
	rig
	b     []byte
	wild  bool // bytes of streams may be others than pattern
	acts  []*Stream
	sent  map[*Stream]int64
	saved ended
}

// ended is what must not change after the end of a connection.
type ended struct {
	over    bool
	opened  [streamTypes]uint64
	limit   [streamTypes]uint64
	dataMax int64
	ids     [idsKept]peerID
	events  int
}

func (s *script) byte() byte {
	if len(s.b) == 0 {
		return 0
	}
	v := s.b[0]
	s.b = s.b[1:]
	return v
}

func (s *script) take(n int) []byte {
	n = min(n, len(s.b))
	v := s.b[:n]
	s.b = s.b[n:]
	return v
}

// number returns small numbers, mostly.
func (s *script) number() uint64 {
	v := uint64(s.byte())
	switch {
	case v < 200:
		return v & 31
	case v < 240:
		return v<<8 | uint64(s.byte())
	case v < 253:
		return (v&15)<<16 | uint64(s.byte())<<8
	}
	return integerMax - uint64(s.byte())
}

// frame returns one frame. Data is that of pattern unless the frame is only bytes.
func (s *script) frame() []byte {
	kind := s.byte()
	switch k := frameKind(kind & 0x1f); {
	case kind&0xe0 == 0xe0:
		s.wild = true
		return s.take(int(kind & 0x1f))
	case k == frameAck || k == frameAck|1:
		if kind&0x80 != 0 {
			return s.ackFrame(Level(kind >> 5 & 3 % levels))
		}
		f := appendFrame(nil, frameAck, s.number(), s.number(), uint64(kind>>5&1), s.number())
		if kind>>5&1 != 0 {
			f = appendFrame(f, frameKind(s.byte()&0x3f), s.number())
		}
		return f
	case k == frameCrypto:
		from := int64(s.number())
		return cryptoFrame(min(from, 1<<19), min(from, 1<<19)+int64(s.byte()))
	case k >= frameStream && k < frameMaxData:
		from, n := int64(s.number()), int64(s.number())
		return streamFrame(s.number(), min(from, 1<<19), min(from, 1<<19)+min(n, 1000), kind&1 != 0)
	case k == frameNewID:
		return newIDFrame(s.number(), s.number())
	case k == frameNewToken:
		return []byte{7, 1, 1}
	case k == framePathChallenge || k == framePathResponse:
		return appendPath(nil, k, &[8]byte{kind})
	case k == frameClose || k == frameCloseApp:
		if kind&0xe0 != 0 {
			return nil // else most scripts would be short
		}
		return appendClose(nil, k == frameCloseApp, s.number(), 0, "bye")
	case k == frameResetStream:
		return appendFrame(nil, k, s.number(), s.number(), s.number())
	case k == frameStopSending || k == frameMaxStreamData || k == frameStreamDataBlocked:
		return appendFrame(nil, k, s.number(), s.number())
	case k == framePing || k == framePadding || k >= frameHandshakeDone:
		return []byte{byte(k)}
	default:
		return appendFrame(nil, k, s.number())
	}
}

// act does one thing.
func (s *script) act() {
	op := s.byte()
	level := [8]Level{Initial, Handshake, OneRTT, OneRTT, OneRTT, OneRTT, OneRTT, OneRTT}[op>>5]
	switch op & 15 {
	default:
		var frames [][]byte
		size := 0
		for range op>>4&1*4 + 1 {
			if f := s.frame(); size+len(f) < DatagramSize {
				frames, size = append(frames, f), size+len(f)
			}
		}
		if s.write[level].have() {
			s.in(level, frames...)
		}
	case 8:
		s.datagram(bytes.Clone(s.take(int(s.byte()))))
	case 9:
		at := s.now + int64(s.byte())*[4]int64{1e5, 1e6, 1e7, 1e9}[op>>6]
		s.now = at
		if d := s.conn.Deadline(); d != 0 && d <= at {
			s.conn.Expire(at)
			s.drive()
		}
	case 10:
		s.out()
		s.checkTimer()
	case 11:
		if st, err := s.conn.Open(StreamKind(op >> 7)); err == nil {
			s.acts = append(s.acts, st)
		}
	case 12:
		if st := s.stream(); st != nil {
			from := s.sent[st]
			n := s.conn.Send(st, pattern(from, from+int64(s.number()&0x3fff)), op>>7 != 0)
			s.sent[st] += int64(n)
		}
	case 13:
		switch st := s.stream(); {
		case st == nil:
		case op>>5&3 == 0:
			s.conn.Reset(st, 5)
		case op>>5&3 == 1:
			s.conn.Stop(st, 6)
		default:
			s.forget(st)
			s.conn.Done(st)
		}
	case 14:
		if st := s.stream(); st != nil && s.owed[st] > 0 {
			n := min(s.owed[st], int(s.number())+1)
			s.owed[st] -= n
			s.conn.Release(st, n)
		}
	case 15:
		s.level(op >> 6)
	}
	s.drive()
}

// level has the handshake go on.
func (s *script) level(op byte) {
	c := &s.conn
	switch {
	case c.state != open:
	case op == 3:
		c.SendCrypto(Level(s.byte()%levels), pattern(0, int64(s.number()&0xfff)))
	case !s.write[Handshake].have():
		s.keysOf(Handshake)
	case !s.write[OneRTT].have() && c.spaces[Handshake] != nil:
		s.keysOf(OneRTT)
	case c.flag&gotParameters == 0 && s.write[OneRTT].have():
		c.SetParameters(s.parameters()) //nolint:errcheck // the event Closed tells
	case c.flag&complete == 0 && s.write[OneRTT].have():
		c.HandshakeDone()
	}
}

func (s *script) stream() *Stream {
	if len(s.acts) == 0 {
		return nil
	}
	return s.acts[int(s.byte())%len(s.acts)]
}

func (s *script) forget(st *Stream) {
	delete(s.owed, st)
	delete(s.sent, st)
	for i, a := range s.acts {
		if a == st {
			s.acts = append(s.acts[:i], s.acts[i+1:]...)
			return
		}
	}
}

// checkTimer checks that a timer that has rung has something happen, or waits.
func (s *script) checkTimer() {
	for range 100 {
		at := s.conn.Deadline()
		if at == 0 || at > s.now {
			return
		}
		s.conn.Expire(s.now)
		s.drive()
		s.out()
	}
	s.t.Fatalf("the timer rings again and again: %+v", s.conn.life)
}

// check checks what holds at any time.
func (s *script) check() {
	s.t.Helper()
	c := &s.conn
	f := &c.flow
	if f.held < 0 || f.owed < 0 || f.withheld < 0 || f.withheld > f.owed || int64(s.arena.Stats.Pages) < 0 {
		s.t.Fatalf("%+v, %d pages", *f, int64(s.arena.Stats.Pages))
	}
	if c.flag&validated == 0 && c.paths.out > 3*c.paths.in {
		s.t.Fatalf("%d bytes sent for %d", c.paths.out, c.paths.in)
	}
	for id, b := range s.got {
		if !s.wild && !bytes.Equal(b, pattern(0, int64(len(b)))) {
			s.t.Fatalf("stream %d has other bytes", id)
		}
	}
	if c.state != open {
		s.checkEnded()
		return
	}
	if f.taken > f.takeMax || f.credited > f.taken || f.dataSent > f.dataMax || f.held > f.dataSent {
		s.t.Fatalf("%+v", *f)
	}
	held, refs := 0, map[*Stream]int32{}
	for _, st := range c.streams.slots {
		if st != nil {
			held += st.out.held()
			if st.in.high > st.recvMax && st.flag&recvOver == 0 ||
				st.out.size > st.sendMax || st.delivered < st.released {
				s.t.Fatalf("stream %d: %+v", st.ID, st)
			}
			refs[st] = st.refs
		}
	}
	flight := 0
	for _, sp := range c.spaces {
		if sp == nil {
			continue
		}
		flying := 0
		for i := range sp.sent.n {
			p := sp.sent.at(i)
			for k := range int(p.count) {
				if st := sp.frame(p, k).stream; st != nil {
					refs[st]--
				}
			}
			if p.state == sentFlying {
				flight += int(p.size)
				flying++
			}
		}
		if flying != sp.flying {
			s.t.Fatalf("%d packets on their way, %d are counted", flying, sp.flying)
		}
	}
	for st, n := range refs {
		if n != 0 {
			s.t.Fatalf("stream %d: %d frames too many", st.ID, n)
		}
	}
	if int64(held) != f.held || flight != c.sent.window.flight {
		s.t.Fatalf("%d held, %d in streams; %d on their way, %d counted", f.held, held, flight, c.sent.window.flight)
	}
}

// checkEnded checks that nothing has an effect after the end.
func (s *script) checkEnded() {
	c := &s.conn
	now := ended{true, c.opened, c.limit, c.flow.dataMax, c.theirs.ids, len(s.events)}
	now.limit[c.theirType(TwoWay)], now.limit[c.theirType(OneWay)] = 0, 0 // Done has these grow
	if !s.saved.over {
		s.saved = now
		s.saved.events = now.events
	} else if s.saved != now {
		s.t.Fatalf("%+v became %+v", s.saved, now)
	}
	s.wantNothingKept()
}

func FuzzConn(f *testing.F) {
	f.Add([]byte{0, 0x2f, 0x0f, 0x4f, 0x8f, 0x4f, 10, 0x80, 8, 0, 31, 0, 10, 9, 90})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) > 4096 {
			return
		}
		s := &script{b: b, sent: map[*Stream]int64{}}
		first := s.byte()
		s.rig = *newRig(t, Role(first&1), Options{Budget: 40_000, StreamWindow: 2000, StreamWindowMax: 8000,
			Streams: 12, OneWayStreams: 3, SendMax: 20_000})
		s.peer.data, s.peer.streamLocal, s.peer.streamRemote, s.peer.streamOneWay = 9000, 3000, 2000, 1000
		s.peer.streams, s.peer.streamsOneWay = 5, 2
		s.conn.arena = &s.arena
		s.hold = first&2 != 0
		s.onEvent = func(ev *Event) {
			if ev.Stream != nil {
				for _, a := range s.acts {
					if a == ev.Stream {
						return
					}
				}
				s.acts = append(s.acts, ev.Stream)
			}
		}
		if first&4 == 0 {
			s.establish()
		}
		for len(s.b) > 0 {
			s.act()
			s.check()
		}
		s.out()
		s.checkTimer()
		s.check()
		s.conn.Close(1)
		s.drive()
		s.out()
		s.wantNothingKept()
		s.now = max(s.now, s.conn.Deadline())
		s.conn.Expire(s.now)
		if s.conn.Deadline() != 0 || !s.conn.Over() || len(s.out()) != 0 {
			t.Fatalf("it does not end: %d", s.conn.state)
		}
	})
}
