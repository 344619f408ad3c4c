package quic

import (
	"encoding/binary"
	mathrand "math/rand/v2"
	"net/netip"
	"slices"
	"testing"
)

// Addresses of a client: otherPort by the same NAT, the others elsewhere.
var (
	otherPort = Path{testPath.Local, netip.MustParseAddrPort("192.0.2.2:2000")}
	far       = Path{testPath.Local, netip.MustParseAddrPort("198.51.100.7:7")}
	farther   = Path{testPath.Local, netip.MustParseAddrPort("[2001:db8::1]:7")}
	farthest  = Path{testPath.Local, netip.MustParseAddrPort("203.0.113.1:7")}
)

func challengeFrame(data string) []byte {
	return appendPath(nil, framePathChallenge, (*[8]byte)([]byte(data)))
}

// answerTo returns the PATH_RESPONSE to the last challenge of all that went to p.
func answerTo(t *testing.T, all []left, p Path) []byte {
	t.Helper()
	for _, f := range slices.Backward(all) {
		if f.kind == framePathChallenge && f.path == p {
			return appendPath(nil, framePathResponse, (*[8]byte)(f.raw[1:]))
		}
	}
	t.Fatalf("no challenge to %v", p.Peer)
	return nil
}

// roaming returns a server whose client has given it ids, and sends from p now.
func roaming(t *testing.T, p Path) *rig {
	t.Helper()
	r := established(t, Server, Options{})
	r.in(OneRTT, newIDFrame(1, 0), newIDFrame(2, 0))
	r.pass(1e9)
	r.ack()
	r.out()
	r.from, r.roams = p, true
	return r
}

// RFC 9000 §8.2.1: challenges are unpredictable. A client that moves to a port of its own reads one, and answers for an
// address where it reads nothing by what a generator whose output is its state would make of that.
func TestPaths_challengesTellNothing(t *testing.T) {
	xorshift := func(x uint64) uint64 {
		x ^= x << 13
		x ^= x >> 7
		return x ^ x<<17
	}
	r := roaming(t, otherPort)
	s := r.theirs(TwoWay, 0)
	r.in(OneRTT, streamFrame(s, 0, 500, true))
	r.conn.Send(r.streams[s], pattern(0, 60_000), true)
	answer := answerTo(t, r.out(), otherPort)
	state := binary.LittleEndian.Uint64(answer[1:])
	r.in(OneRTT, answer)
	r.pass(1e9)
	r.ack()
	r.out()
	moves, sent := r.arena.Stats.Moves, 0
	r.from = far // forged
	r.in(OneRTT, ping)
	for range 64 { // the numbers that are left out are drawn from the same source
		state = xorshift(state)
		forged := appendPath(nil, framePathResponse, (*[8]byte)(binary.LittleEndian.AppendUint64(nil, state)))
		r.in(OneRTT, forged)
	}
	r.conn.Send(r.streams[s], pattern(0, 60_000), true)
	in := r.conn.paths.in
	last := none
	for _, f := range r.out() {
		if f.path == far && f.number != last {
			sent, last = sent+f.size, f.number
		}
	}
	if r.arena.Stats.Moves != moves || r.conn.flag&validated != 0 {
		t.Error("an address was validated whose client has read nothing")
	}
	if sent > 3*int(in) {
		t.Errorf("%d bytes were sent to an address that answered nothing, for %d", sent, in)
	}
}

// Each challenge, each number that is left out and the parameter without a meaning takes a number of its own of
// Options.Random.
func TestRandom_isFreshForEachUse(t *testing.T) {
	drawn := map[uint64]int{}
	source := mathrand.NewChaCha8([32]byte{1})
	r := newRig(t, Server, Options{Random: func() uint64 {
		n := source.Uint64()
		drawn[n] = 0
		return n
	}})
	r.establish()
	r.in(OneRTT, newIDFrame(1, 0), newIDFrame(2, 0), newIDFrame(3, 0))
	r.roams = true
	for _, r.from = range []Path{otherPort, far, otherPort, farther} {
		r.pass(1e9)
		r.in(OneRTT, ping)
		for _, f := range r.out() {
			if f.kind == framePathChallenge && f.path == r.from {
				drawn[binary.LittleEndian.Uint64(f.raw[1:])]++
				r.in(OneRTT, appendPath(nil, framePathResponse, (*[8]byte)(f.raw[1:])))
				break
			}
		}
	}
	used := 0
	for n, times := range drawn {
		if used += times; times > 1 {
			t.Errorf("%x was used %d times", n, times)
		}
	}
	if used != 4 || len(drawn) < 4+2 {
		t.Errorf("%d challenges of %d numbers", used, len(drawn))
	}
}

// RFC 9000 §9.3: a packet that is no probe moves the server, which challenges the address, and the one before, sends
// three times what came at most, and has no limit after the answer.
func TestPaths_aClientMoves(t *testing.T) {
	for name, p := range map[string]Path{"port": otherPort, "address": far} {
		t.Run(name, func(t *testing.T) {
			r := roaming(t, p)
			s := r.theirs(TwoWay, 0)
			window, rtt := r.conn.sent.window.size, r.conn.sent.rtt.smoothed
			r.in(OneRTT, streamFrame(s, 0, 500, true))
			r.conn.Send(r.streams[s], pattern(0, 60_000), true)
			all := r.out()
			came, sent, id := int(r.conn.paths.in), 0, ""
			for i, f := range all {
				if f.path == testPath && f.kind != framePathChallenge {
					t.Errorf("frame %#x to the address before", f.kind)
				}
				if f.path == p && (i == 0 || all[i-1].number != f.number) {
					sent, id = sent+f.size, f.dest
				}
			}
			if sent == 0 || sent > 3*came {
				t.Errorf("%d bytes left for %d", sent, came)
			}
			if old := answerTo(t, all, testPath); id == string(r.ours.Bytes()) || len(old) == 0 {
				t.Errorf("the id %x is used at both addresses", id)
			}
			if moved := r.conn.sent.rtt.smoothed != rtt; moved != (p == far) {
				t.Errorf("the round trip was %d, is %d", rtt, r.conn.sent.rtt.smoothed)
			}
			if p == otherPort && r.conn.sent.window.size < window {
				t.Errorf("a window of %d became %d", window, r.conn.sent.window.size)
			}
			if len(r.events) != 0 {
				t.Errorf("%q before the answer", r.events)
			}
			if n, _ := count(all, frameStream); n != 0 {
				t.Error("data to an address that has not answered")
			}
			r.in(OneRTT, answerTo(t, all, p), r.ackFrame(OneRTT))
			if want := "Moved " + p.Peer.String(); !slices.Contains(r.events, want) || r.conn.Path() != p {
				t.Errorf("%q, at %v", r.events, r.conn.Path())
			}
			end, retired := uint64(0), 0
			for range 100 {
				for _, f := range r.out() {
					if f.kind == frameRetireID && f.value == 0 {
						retired++
					}
					if f.kind == frameStream && f.path == p {
						end = max(end, f.offset+uint64(len(f.body)))
					}
				}
				r.pass(2e6)
				r.ack()
			}
			if retired != 1 || end != 60_000 || r.arena.Stats.Moves != 1 || r.conn.paths.trial != nil {
				t.Errorf("%d bytes, %d ids retired, %+v", end, retired, r.arena.Stats)
			}
		})
	}
}

// RFC 9000 §9.1: a probe is answered where it came from, in a datagram of 1200 octets if enough came, and moves nobody.
func TestPaths_probes(t *testing.T) {
	r := roaming(t, far)
	r.in(OneRTT, challengeFrame("12345678"), newIDFrame(3, 0), make([]byte, DatagramSize))
	all := r.out()
	n, f := count(all, framePathResponse)
	if n != 1 || f.path != far || f.size != DatagramSize || string(f.raw[1:]) != "12345678" {
		t.Errorf("%d answers, %+v", n, f)
	}
	if f.dest == string(r.ours.Bytes()) {
		t.Error("the id of the path in use")
	}
	for _, f := range all {
		if f.path == far && f.kind != framePathResponse {
			t.Errorf("frame %#x for the probe", f.kind)
		}
	}
	if r.conn.Path() != testPath || r.conn.flag&validated == 0 {
		t.Errorf("at %v", r.conn.Path())
	}
	// A short probe gets no more than three times its bytes, and of four addresses three have answers.
	r.in(OneRTT, challengeFrame("abcdefgh"))
	r.from = farther
	r.in(OneRTT, challengeFrame("abcdefgh"))
	r.from = farthest
	r.in(OneRTT, challengeFrame("abcdefgh"))
	r.from = otherPort
	r.in(OneRTT, challengeFrame("abcdefgh"))
	if r.arena.Stats.Strays != 1 {
		t.Errorf("%d answers were not sent", r.arena.Stats.Strays)
	}
	n, f = count(r.out(), framePathResponse)
	if n != 3 || f.size > 3*(1+IDLen+4+9+tagLen) {
		t.Errorf("%d answers, the last of %d bytes", n, f.size)
	}
}

// RFC 9000 §9.3: a packet from another address moves the server if it has the highest number, not if it came late.
func TestPaths_aLatePacketMovesNobody(t *testing.T) {
	r := roaming(t, far)
	late := r.sealed(OneRTT, ping)
	r.from = testPath
	r.in(OneRTT, ping)
	r.from = far
	r.datagram(late)
	if r.conn.Path() != testPath {
		t.Errorf("at %v", r.conn.Path())
	}
}

// RFC 9000 §9.3.2: where nothing answers, the address before is in use again, and no event told another.
func TestPaths_aForgedAddress(t *testing.T) {
	r := roaming(t, far)
	r.in(OneRTT, ping, make([]byte, 100))
	came := int(r.conn.paths.in)
	if r.conn.Path() != far {
		t.Fatalf("at %v", r.conn.Path())
	}
	all := append(r.out(), r.pass(20e9)...)
	sent := map[int64]int{}
	for _, f := range all {
		if f.path == far {
			sent[f.number] = f.size
		}
	}
	sum := 0
	for _, n := range sent {
		sum += n
	}
	if answerTo(t, all, far); sum > 3*came {
		t.Errorf("%d bytes left for %d", sum, came)
	}
	if r.conn.Path() != testPath || len(r.events) != 0 || r.arena.Stats.MovesFailed != 1 {
		t.Errorf("at %v, %q, %+v", r.conn.Path(), r.events, r.arena.Stats)
	}
	r.from = testPath
	s := r.theirs(TwoWay, 0)
	r.in(OneRTT, streamFrame(s, 0, 10, true))
	r.conn.Send(r.streams[s], pattern(0, 5000), true)
	if n, f := count(r.out(), frameStream); n < 4 || f.path != testPath {
		t.Errorf("%d frames", n)
	}
}

// The next packet of a client from its own address brings the server back at once: RFC 9000 §9.3.3, a packet that an
// attacker has sent on from elsewhere. More moves than one a round trip are not made.
func TestPaths_back(t *testing.T) {
	r := roaming(t, far)
	r.in(OneRTT, ping)
	r.from = testPath
	r.in(OneRTT, ping)
	if r.conn.Path() != far || r.arena.Stats.Strays != 1 {
		t.Fatalf("two moves in a round trip, at %v", r.conn.Path())
	}
	r.pass(400e6)
	r.in(OneRTT, ping)
	if r.conn.Path() != testPath || r.conn.flag&validated == 0 || r.conn.paths.trial != nil || len(r.events) != 0 {
		t.Fatalf("at %v, %q", r.conn.Path(), r.events)
	}
	if all := r.pass(10e9); r.arena.Stats.MovesFailed != 0 {
		t.Errorf("%v", all)
	}
}

// RFC 9000 §9.3.3: packets of a client were sent on from another address, with the id that they had. The answer to the
// challenge of the old path, by that path, brings the server back, without any other packet of the client. An answer by
// the new path does not: a NAT may lead both addresses to the client.
func TestPaths_theOldPathAnswers(t *testing.T) {
	for name, c := range map[string]struct {
		by   Path
		want Path
	}{"by itself": {testPath, testPath}, "by the new path": {far, far}} {
		t.Run(name, func(t *testing.T) {
			r := roaming(t, far)
			r.in(OneRTT, ping)
			all := r.out()
			r.from = c.by
			r.in(OneRTT, answerTo(t, all, testPath))
			back := c.want == testPath
			if r.conn.Path() != c.want || (r.conn.paths.trial == nil) != back || (r.conn.flag&validated != 0) != back {
				t.Fatalf("at %v, flags %b", r.conn.Path(), r.conn.flag)
			}
			if len(r.events) != 0 || r.arena.Stats.Moves != 0 || r.arena.Stats.MovesFailed > 0 != back {
				t.Errorf("%q, %+v", r.events, r.arena.Stats)
			}
		})
	}
}

// RFC 9000 §9.3.3: a path that is viable but not desired any more gets probing frames alone. A client that changed its
// id meant to move, and stays where it went, also where its old address answers first.
func TestPaths_aClientThatMeantToMove(t *testing.T) {
	r := roaming(t, far)
	r.first = r.conn.own.ids[1].id
	r.in(OneRTT, ping)
	all := r.out()
	r.from = testPath
	r.in(OneRTT, answerTo(t, all, testPath))
	if r.conn.Path() != far {
		t.Fatalf("at %v", r.conn.Path())
	}
	r.from = far
	r.in(OneRTT, answerTo(t, all, far))
	if r.conn.Path() != far || r.arena.Stats.Moves != 1 {
		t.Errorf("at %v, %+v", r.conn.Path(), r.arena.Stats)
	}
}

// RFC 9000 §9.5: an id of the client goes to one address alone, also where the server comes back to the address before,
// and where the client tries several addresses.
func TestPaths_anIDForEachAddress(t *testing.T) {
	r := roaming(t, far)
	r.in(OneRTT, newIDFrame(3, 0))
	r.out()
	at := map[string]Path{}
	sent := func(all []left) {
		t.Helper()
		for _, f := range all {
			if p, ok := at[f.dest]; ok && p != f.path {
				t.Fatalf("%x goes to %v and %v", f.dest, p.Peer, f.path.Peer)
			}
			at[f.dest] = f.path
		}
	}
	r.in(OneRTT, ping) // moves
	sent(r.out())
	for _, r.from = range []Path{farther, farthest} {
		r.in(OneRTT, challengeFrame("12345678"))
	}
	sent(r.out())
	all := r.pass(20e9) // nothing answers at far
	if r.from = testPath; r.conn.Path() != testPath {
		t.Fatalf("at %v", r.conn.Path())
	}
	r.in(OneRTT, ping, ping)
	all = append(all, r.out()...)
	if sent(all); len(at) != 4 {
		t.Errorf("%d ids were used", len(at))
	}
	var retired []uint64
	for _, f := range all {
		if f.kind == frameRetireID {
			retired = append(retired, f.value)
		}
	}
	if slices.Sort(retired); !slices.Equal(retired, []uint64{1, 2, 3}) { // the client gives others for them
		t.Errorf("%d were retired", retired)
	}
}

// A client that tried as many addresses as it gave ids has these retired, and gives others for the next address.
func TestPaths_idsOfAddressesThatWereTried(t *testing.T) {
	r := roaming(t, far)
	for i, want := range []int{1, 1, 0, 1} {
		r.from = []Path{far, farther, farthest, farthest}[i]
		r.first = r.conn.own.ids[1].id
		r.in(OneRTT, challengeFrame("12345678"))
		all := r.out()
		if n, _ := count(all, framePathResponse); n != want {
			t.Fatalf("%d answers to probe %d", n, i)
		}
		if n, _ := count(all, frameRetireID); i == 2 {
			if n != 2 {
				t.Fatalf("%d ids were retired", n)
			}
			r.in(OneRTT, challengeFrame("abcdefgh"), newIDFrame(3, 0))
		}
	}
}

// A wrong answer validates nothing, and an answer that nobody asked for does nothing.
func TestPaths_aWrongAnswer(t *testing.T) {
	r := roaming(t, far)
	wrong := appendPath(nil, framePathResponse, &[8]byte{1})
	r.in(OneRTT, wrong)
	r.in(OneRTT, ping)
	r.out()
	r.in(OneRTT, wrong)
	if r.conn.flag&validated != 0 || len(r.events) != 0 {
		t.Error("validated")
	}
	r.wantOpen()
}

// RFC 9000 §9: during the handshake a client stays where it is, and a server has one address.
func TestPaths_noneDuringTheHandshake(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.in(Initial, ping)
	before := r.conn.paths.in
	r.from = far
	r.in(Initial, cryptoFrame(0, 10))
	if len(r.events) != 0 || r.conn.paths.in != before || r.arena.Stats.Strays != 1 {
		t.Errorf("%q, %d bytes, %+v", r.events, r.conn.paths.in, r.arena.Stats)
	}
	r = established(t, Client, Options{})
	r.from = far
	r.in(OneRTT, ping)
	if r.conn.Path() != testPath || r.arena.Stats.Strays != 1 {
		t.Errorf("at %v, %+v", r.conn.Path(), r.arena.Stats)
	}
}

// A peer that gave no other id has the one in use at the new address as well.
func TestPaths_withoutASpareID(t *testing.T) {
	r := established(t, Server, Options{})
	r.from, r.roams = far, true
	r.in(OneRTT, ping, make([]byte, 100))
	all := r.out()
	if n, _ := count(all, frameRetireID); n != 0 {
		t.Error("the only id was retired")
	}
	r.in(OneRTT, answerTo(t, all, far))
	if r.arena.Stats.Moves != 1 {
		t.Errorf("%+v", r.arena.Stats)
	}
}

// RFC 9000 §9.5: a client that has changed its id, and gave no other one for its new address, has nothing sent there by
// the id of the address before. It is followed once it gave an id.
func TestPaths_withoutASpareIDForAnotherID(t *testing.T) {
	r := established(t, Server, Options{})
	r.from, r.roams = far, true
	r.first = r.conn.own.ids[1].id
	r.in(OneRTT, challengeFrame("12345678"))
	r.in(OneRTT, ping, make([]byte, 100))
	for _, f := range append(r.out(), r.pass(1e9)...) {
		if f.path == far {
			t.Fatalf("frame %#x by id %q", f.kind, f.dest)
		}
	}
	r.in(OneRTT, newIDFrame(1, 0))
	r.in(OneRTT, ping)
	if all := r.out(); r.conn.Path() != far || len(answerTo(t, all, far)) == 0 {
		t.Errorf("at %v", r.conn.Path())
	}
}

// A client whose ids have no octets gives no others, and is followed.
func TestPaths_withAnEmptyID(t *testing.T) {
	r := established(t, Server, Options{})
	r.conn.theirs.ids[0].id = ID{}
	r.from, r.roams = far, true
	r.first = r.conn.own.ids[1].id
	r.in(OneRTT, ping)
	if r.conn.Path() != far {
		t.Errorf("at %v", r.conn.Path())
	}
}

// What the peer does with addresses is bounded: challenges cost the budget of frames without effect.
func TestPaths_challengesAreBounded(t *testing.T) {
	r := roaming(t, far)
	for range 12_000 {
		if r.in(OneRTT, challengeFrame("12345678"), challengeFrame("12345678")); r.conn.state != open {
			break
		}
	}
	if r.conn.state == open || r.arena.Stats.IdleFrames != 1 {
		t.Errorf("state %d, %+v", r.conn.state, r.arena.Stats)
	}
}

// A connection that ends at an address that is challenged says so once the client has sent enough from there.
func TestPaths_anEndAtAChallengedAddress(t *testing.T) {
	r := roaming(t, far)
	r.in(OneRTT, ping)
	r.out()
	for r.conn.paths.room() >= leastRoom { // acknowledgements use it up
		r.in(OneRTT, ping, ping)
		r.out()
	}
	r.conn.Close(7)
	r.drive()
	if n, _ := count(r.out(), frameCloseApp); n != 0 {
		t.Fatal("more than three times what came")
	}
	n := 0
	for range 8 {
		r.in(OneRTT, ping, make([]byte, 50))
		k, f := count(r.out(), frameCloseApp)
		if n += k; k > 0 && f.path != far {
			t.Errorf("to %v", f.path.Peer)
		}
	}
	if n == 0 {
		t.Error("the client does not hear of the end")
	}
}

// RFC 9000 §10.2.1: a client that has moved before it hears of the end is answered where it is, by three times what
// came from there at most.
func TestPaths_anEndThatTheClientMissed(t *testing.T) {
	r := roaming(t, testPath)
	r.conn.Close(7)
	r.drive()
	r.out()
	r.from = otherPort
	r.in(OneRTT, ping, make([]byte, 50))
	r.in(OneRTT, ping, make([]byte, 50))
	n, f := count(r.out(), frameCloseApp)
	if n != 1 || f.path != otherPort || f.size > 2*3*(50+1+IDLen+4+1+tagLen) {
		t.Errorf("%d answers, the last to %v", n, f.path.Peer)
	}
	if f.dest == string(r.ours.Bytes()) { // §9.5
		t.Errorf("the id %q goes to both addresses", f.dest)
	}
}
