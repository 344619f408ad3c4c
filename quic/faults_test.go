package quic

import (
	"bytes"
	"fmt"
	"testing"
)

// faultCase is what a peer sends in one 1-RTT packet on a connection of a role. NoError: it is no fault.
type faultCase struct {
	name string
	code Code
	send func(r *rig) []byte
}

func checkFaults(t *testing.T, cases []faultCase, roles ...Role) {
	for _, role := range roles {
		for _, c := range cases {
			t.Run(fmt.Sprintf("%s/%s", []string{"server", "client"}[role], c.name), func(t *testing.T) {
				r := established(t, role, Options{})
				f := c.send(r)
				late := streamFrame(r.theirs(TwoWay, 90), 0, 5, false)
				if c.code == NoError {
					r.in(OneRTT, f)
					r.wantOpen()
					return
				}
				r.in(OneRTT, f, late)
				if r.got[r.theirs(TwoWay, 90)] != nil {
					t.Error("a frame after the fault has an effect")
				}
				r.wantFault(c.code)
			})
		}
	}
}

func integers(k frameKind, values ...uint64) func(*rig) []byte {
	return func(*rig) []byte { return appendFrame(nil, k, values...) }
}

func raw(b ...byte) func(*rig) []byte { return func(*rig) []byte { return b } }

// joined sends frames in one packet.
func joined(fs ...func(*rig) []byte) func(*rig) []byte {
	return func(r *rig) []byte {
		var all [][]byte
		for _, f := range fs {
			all = append(all, f(r))
		}
		return bytes.Join(all, nil)
	}
}

// onStreamOf makes a frame of a stream: of the test's, or of conn's, which was opened or not.
func frameOn(k frameKind, ofTest bool, kind StreamKind, n uint64, opened bool, values ...uint64) func(*rig) []byte {
	return func(r *rig) []byte {
		id := r.theirs(kind, n)
		if !ofTest {
			id = r.mine(kind, n)
			for range n + 1 {
				if opened {
					r.open(kind)
				}
			}
		}
		if k == frameStream {
			return streamFrame(id, 0, int64(values[0]), false)
		}
		return appendFrame(nil, k, append([]uint64{id}, values...)...)
	}
}

// RFC 9000 §19.4, §19.5, §19.8, §19.10, §19.13: frames of streams of the wrong direction, or of those that do not
// exist yet.
func TestFault_ofStreamStates(t *testing.T) {
	var cases []faultCase
	for _, k := range []struct {
		name   string
		kind   frameKind
		sends  bool // it is about data that the sender of the frame sends
		values []uint64
	}{
		{"STREAM", frameStream, true, []uint64{3}},
		{"RESET_STREAM", frameResetStream, true, []uint64{1, 0}},
		{"STREAM_DATA_BLOCKED", frameStreamDataBlocked, true, []uint64{3}},
		{"STOP_SENDING", frameStopSending, false, []uint64{1}},
		{"MAX_STREAM_DATA", frameMaxStreamData, false, []uint64{1 << 19}},
	} {
		for _, c := range []struct {
			name   string
			ofTest bool
			kind   StreamKind
			n      uint64
			opened bool
			code   Code
		}{
			{"its own", true, TwoWay, 0, false, NoError},
			{"ours", false, TwoWay, 0, true, NoError},
			{"ours, not opened", false, TwoWay, 0, false, StreamStateError},
			{"ours, one-way, not opened", false, OneWay, 0, false, StreamStateError},
			{"beyond the limit", true, TwoWay, 128, false, StreamLimitError},
			{"the last", true, TwoWay, 127, false, NoError},
			{"far beyond the limit", true, TwoWay, 1<<60 - 1, false, StreamLimitError},
		} {
			cases = append(cases, faultCase{k.name + " " + c.name, c.code,
				frameOn(k.kind, c.ofTest, c.kind, c.n, c.opened, k.values...)})
		}
		its, ours, limit := StreamStateError, NoError, StreamStateError
		if k.sends {
			its, ours, limit = NoError, StreamStateError, StreamLimitError
		}
		cases = append(cases,
			faultCase{k.name + " its own, one-way", its, frameOn(k.kind, true, OneWay, 0, false, k.values...)},
			faultCase{k.name + " one-way beyond the limit", limit,
				frameOn(k.kind, true, OneWay, 8, false, k.values...)},
			faultCase{k.name + " ours, one-way", ours, frameOn(k.kind, false, OneWay, 0, true, k.values...)})
	}
	checkFaults(t, cases, Server, Client)
}

// RFC 9000 §4.1, §4.5: windows and final sizes.
func TestFault_ofWindowsAndSizes(t *testing.T) {
	data := func(from, to int64, end bool) func(*rig) []byte {
		return func(r *rig) []byte { return streamFrame(r.theirs(TwoWay, 0), from, to, end) }
	}
	reset := func(size uint64) func(*rig) []byte {
		return func(r *rig) []byte { return appendFrame(nil, frameResetStream, r.theirs(TwoWay, 0), 7, size) }
	}
	const w = 64 << 10
	checkFaults(t, []faultCase{
		{"the last byte of the window", NoError, data(w-1, w, false)},
		{"a byte beyond the window", FlowControlError, data(w, w+1, false)},
		{"an end beyond the window", FlowControlError, data(w+1, w+1, true)},
		{"a reset beyond the window", FlowControlError, reset(w + 1)},
		{"a reset with the window", NoError, reset(w)},
		{"data beyond the end", FinalSizeError, joined(data(0, 10, true), data(10, 11, false))},
		{"data beyond the end, before it came", FinalSizeError, joined(data(5, 10, true), data(10, 11, false))},
		{"an end below data", FinalSizeError, joined(data(0, 10, false), data(0, 9, true))},
		{"an end below data that waits", FinalSizeError, joined(data(5, 10, false), data(0, 0, true))},
		{"another end", FinalSizeError, joined(data(0, 10, true), data(0, 9, true))},
		{"a later end", FinalSizeError, joined(data(5, 10, true), data(11, 11, true))},
		{"the same end", NoError, joined(data(0, 10, true), data(5, 10, true))},
		{"data again after the end", NoError, joined(data(0, 10, true), data(2, 8, false))},
		{"a reset below data", FinalSizeError, joined(data(0, 10, false), reset(9))},
		{"a reset with the size of data", NoError, joined(data(0, 10, false), reset(10))},
		{"a reset that differs from the end", FinalSizeError, joined(data(5, 10, true), reset(11))},
		{"a reset that differs from the end, after it", FinalSizeError, joined(data(0, 10, true), reset(11))},
		{"a reset of the end's size", NoError, joined(data(5, 10, true), reset(10))},
		{"another reset", FinalSizeError, joined(reset(5), reset(6))},
		{"the same reset", NoError, joined(reset(5), reset(5))},
		{"data after a reset", NoError, joined(reset(5), data(0, 5, false))},
		{"data beyond a reset", FinalSizeError, joined(reset(5), data(0, 6, false))},
		{"an end that differs from a reset", FinalSizeError, joined(reset(5), data(0, 4, true))},
		{"the largest offset", FlowControlError, func(r *rig) []byte {
			return append(appendStream(nil, r.theirs(TwoWay, 0), integerMax-1, 1, false), 1)
		}},
		{"beyond the largest offset", FrameEncodingError, func(r *rig) []byte {
			return append(appendStream(nil, r.theirs(TwoWay, 0), integerMax, 1, false), 1)
		}},
		{"CRYPTO beyond the largest offset", FrameEncodingError, joined(integers(frameCrypto, integerMax, 1), raw(1))},
		{"MAX_STREAMS of 2^60", NoError, integers(frameMaxStreams, 1<<60)},
		{"MAX_STREAMS above", FrameEncodingError, integers(frameMaxStreams, 1<<60+1)},
		{"MAX_STREAMS one-way above", FrameEncodingError, integers(frameMaxStreams|1, 1<<60+1)},
		{"STREAMS_BLOCKED of 2^60", NoError, integers(frameStreamsBlocked, 1<<60)},
		{"STREAMS_BLOCKED above", FrameEncodingError, integers(frameStreamsBlocked, 1<<60+1)},
		{"STREAMS_BLOCKED one-way above", FrameEncodingError, integers(frameStreamsBlocked|1, 1<<60+1)},
		{"a smaller MAX_DATA", NoError, integers(frameMaxData, 0)},
		{"the largest MAX_DATA", NoError, integers(frameMaxData, integerMax)},
		{"DATA_BLOCKED", NoError, integers(frameDataBlocked, 3)},
	}, Server, Client)
}

// The window of the connection: many streams, each within its own window.
func TestFault_ofTheWindowOfTheConnection(t *testing.T) {
	for _, more := range []int64{0, 1} {
		r := established(t, Server, Options{Budget: 200_000})
		r.hold = true
		for n := range uint64(3) {
			r.in(OneRTT, streamFrame(r.theirs(TwoWay, n), 60_000, 60_001, false))
		}
		r.wantOpen()
		r.in(OneRTT, streamFrame(r.theirs(TwoWay, 3), 200_000-3*60_001-1, 200_000-3*60_001+more, false))
		if more == 0 {
			r.wantOpen()
		} else {
			r.wantFault(FlowControlError)
		}
	}
	// RFC 9000 §4.5: a reset uses the window up to its final size.
	r := established(t, Server, Options{Budget: 100_000})
	r.in(OneRTT, appendFrame(nil, frameResetStream, r.theirs(TwoWay, 0), 1, 60_000),
		appendFrame(nil, frameResetStream, r.theirs(TwoWay, 1), 1, 60_000))
	r.wantFault(FlowControlError)
}

// RFC 9000 §12.4 and §19: types and encodings.
func TestFault_ofEncodings(t *testing.T) {
	checkFaults(t, []faultCase{
		{"unknown type", FrameEncodingError, raw(0x1f, 0, 0, 0)},
		{"unknown type of two octets", FrameEncodingError, raw(0x40, 0x52, 0, 0)},
		{"unknown type of eight octets", FrameEncodingError, raw(0xc0, 0, 0, 1, 0, 0, 0, 0)},
		{"PING in two octets", ProtocolViolation, raw(0x40, 0x01)},
		{"PADDING in two octets", ProtocolViolation, raw(0x40, 0x00)},
		{"STREAM in four octets", ProtocolViolation, raw(0x80, 0, 0, 0x08, 0, 0)},
		{"NEW_CONNECTION_ID without an id", FrameEncodingError, joined(raw(0x18, 1, 0, 0), raw(make([]byte, 16)...))},
		{"NEW_CONNECTION_ID with 21 octets", FrameEncodingError, joined(raw(0x18, 1, 0, 21), raw(make([]byte, 37)...))},
		{"NEW_CONNECTION_ID that retires itself", FrameEncodingError, func(*rig) []byte { return newIDFrame(1, 2) }},
		{"ACK below 0", FrameEncodingError, integers(frameAck, 0, 0, 0, 1)},
		{"ACK with a range below 0", FrameEncodingError, integers(frameAck, 1, 0, 1, 0, 0, 0)},
		{"ACK with ECN", NoError, integers(frameAck|1, 0, 0, 0, 0, 5, 5, 5)},
		{"ACK of an unsent number", ProtocolViolation, integers(frameAck, 1000, 0, 0, 0)},
		{"ACK of the largest number", ProtocolViolation, integers(frameAck, integerMax, 0, 0, 0)},
	}, Server, Client)
	var cuts []faultCase
	for _, f := range [][]byte{
		appendFrame(nil, frameAck, 0, 0, 0, 0), appendFrame(nil, frameResetStream, 1, 2, 3),
		appendFrame(nil, frameStopSending, 1, 2), append(appendCrypto(nil, 0, 3), 1, 2, 3),
		append(appendStream(nil, 4, 100, 3, false), 1, 2, 3), appendFrame(nil, frameMaxData, 1<<40),
		appendFrame(nil, frameMaxStreamData, 4, 100), appendFrame(nil, frameMaxStreams, 100),
		appendFrame(nil, frameDataBlocked, 1), appendFrame(nil, frameStreamDataBlocked, 1, 2),
		appendFrame(nil, frameStreamsBlocked, 1), newIDFrame(1, 0), appendFrame(nil, frameRetireID, 500),
		appendPath(nil, framePathChallenge, &[8]byte{}), appendPath(nil, framePathResponse, &[8]byte{}),
		appendClose(nil, false, 1, 2, "why"), appendClose(nil, true, 1, 0, "why"),
	} {
		for n := 1; n < len(f); n++ {
			cuts = append(cuts, faultCase{fmt.Sprintf("cut %x", f[:n]), FrameEncodingError, raw(f[:n]...)})
		}
	}
	// The frames stand last in their packets, so none of them goes on in the next one.
	for _, c := range cuts {
		r := established(t, Server, Options{})
		r.in(OneRTT, ping, ping, ping, c.send(r))
		if r.conn.Closed().Code != uint64(FrameEncodingError) {
			t.Errorf("%s: %+v", c.name, r.conn.Closed())
		}
	}
}

// RFC 9000 §12.5, table 3: frames by packet kinds.
func TestFault_ofFramesInPackets(t *testing.T) {
	handshakeToo := map[frameKind]bool{framePadding: true, framePing: true, frameAck: true, frameCrypto: true,
		frameClose: true}
	frames := map[frameKind][]byte{
		framePadding: {0}, framePing: ping, frameAck: appendFrame(nil, frameAck, 0, 0, 0, 0),
		frameAck | 1: appendFrame(nil, frameAck|1, 0, 0, 0, 0, 0, 0, 0), frameCrypto: cryptoFrame(0, 4),
		frameClose: appendClose(nil, false, 0, 0, ""), frameCloseApp: appendClose(nil, true, 0, 0, ""),
		frameResetStream: appendFrame(nil, frameResetStream, 0, 0, 0),
		frameStopSending: appendFrame(nil, frameStopSending, 0, 0),
		frameNewToken:    append(appendFrame(nil, frameNewToken, 1), 9), frameStream: streamFrame(0, 0, 1, false),
		frameMaxData: appendFrame(nil, frameMaxData, 9), frameMaxStreamData: appendFrame(nil, frameMaxStreamData, 0, 9),
		frameMaxStreams:        appendFrame(nil, frameMaxStreams, 9),
		frameMaxStreams | 1:    appendFrame(nil, frameMaxStreams|1, 9),
		frameDataBlocked:       appendFrame(nil, frameDataBlocked, 9),
		frameStreamDataBlocked: appendFrame(nil, frameStreamDataBlocked, 0, 9),
		frameStreamsBlocked:    appendFrame(nil, frameStreamsBlocked, 9), frameNewID: newIDFrame(1, 0),
		frameRetireID:      appendFrame(nil, frameRetireID, 0),
		framePathChallenge: appendPath(nil, framePathChallenge, &[8]byte{}),
		framePathResponse:  appendPath(nil, framePathResponse, &[8]byte{}), frameHandshakeDone: {0x1e},
	}
	for _, role := range []Role{Server, Client} {
		for _, l := range []Level{Initial, Handshake} {
			for k, f := range frames {
				r := newRig(t, role, Options{})
				r.in(Initial, ping)
				r.keysOf(Handshake)
				if r.pass(answerWait); l == Handshake {
					r.in(Handshake, ping)
					r.pass(answerWait)
				}
				r.in(l, f)
				if handshakeToo[k] || k == frameAck|1 {
					if err := r.conn.Closed().Err; err != nil && err != ErrPeer {
						t.Errorf("role %d, level %d, frame %x: %v", role, l, k, err)
					}
				} else {
					r.wantFault(ProtocolViolation)
				}
			}
		}
	}
	checkFaults(t, []faultCase{
		{"HANDSHAKE_DONE", ProtocolViolation, raw(0x1e)},
		{"NEW_TOKEN", ProtocolViolation, raw(0x07, 1, 1)},
	}, Server)
	checkFaults(t, []faultCase{
		{"HANDSHAKE_DONE again", NoError, raw(0x1e)},
		{"NEW_TOKEN", NoError, raw(0x07, 1, 1)},
		{"NEW_TOKEN without a token", FrameEncodingError, raw(0x07, 0)},
	}, Client)
}

// RFC 9000 §17.2, §17.3.1, §12.4: reserved bits and empty packets, after the packet was opened.
func TestFault_ofPackets(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		for _, bits := range []byte{0x08, 0x10, 0x18} {
			r := established(t, r.conn.role, Options{})
			r.datagram(r.sealedAs(OneRTT, bits, r.next[OneRTT], &r.first, ping, make([]byte, 20)))
			r.wantFault(ProtocolViolation)
		}
		r.datagram(r.sealed(OneRTT))
		r.wantFault(ProtocolViolation)
	})
	for _, l := range []Level{Initial, Handshake} {
		for _, bits := range []byte{0x04, 0x08, 0x0c} {
			r := newRig(t, Server, Options{})
			r.in(Initial, ping)
			r.keysOf(Handshake)
			r.datagram(r.sealedAs(l, bits, r.next[l], &r.first, ping, make([]byte, DatagramSize)))
			r.wantFault(ProtocolViolation)
		}
	}
	both(t, func(t *testing.T, r *rig) { // forged: nothing follows from them
		d := r.sealed(OneRTT, ping, make([]byte, 30))
		for i := range 8 * len(d) {
			forged := bytes.Clone(d)
			forged[i/8] ^= 1 << (i % 8)
			r.datagram(forged)
		}
		r.wantOpen()
		if n, _ := count(r.pass(1e9), frameAck); n != 0 {
			t.Error("a forged packet is acknowledged")
		}
	})
}

// RFC 9000 §12.3: duplicates have no effect, and numbers may be left out.
func TestPackets_doubledAreDropped(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		d := r.sealed(OneRTT, streamFrame(r.theirs(TwoWay, 0), 0, 100, false))
		for range 3 {
			r.datagram(bytes.Clone(d))
		}
		r.datagram(r.sealedAs(OneRTT, 0, r.next[OneRTT]+1000, &r.first,
			streamFrame(r.theirs(TwoWay, 0), 100, 200, true)))
		if id := r.theirs(TwoWay, 0); !bytes.Equal(r.got[id], pattern(0, 200)) || !r.ended[id] {
			t.Errorf("%d bytes", len(r.got[id]))
		}
		if r.conn.flow.taken != 200 {
			t.Errorf("%d bytes are counted", r.conn.flow.taken)
		}
	})
}

// RFC 9000 §12.2: coalesced packets of another id are dropped, others are read whatever becomes of those before them.
func TestPackets_coalesced(t *testing.T) {
	r := newRig(t, Server, Options{})
	r.in(Initial, ping)
	r.pass(answerWait)
	r.keysOf(Handshake)
	r.keysOf(OneRTT)
	other, _ := MakeID([]byte("another!"))
	first := r.sealed(Initial, make([]byte, DatagramSize))
	first[len(first)-1] ^= 1 // it cannot be opened
	r.datagram(first, r.sealedAs(Handshake, 0, r.next[Handshake], &other, cryptoFrame(0, 5)),
		r.sealed(Handshake, cryptoFrame(0, 7)), []byte("rubbish that is no packet at all, and long enough"))
	if len(r.events) != 1 || r.events[0] != "Crypto 1 7" {
		t.Errorf("%q", r.events)
	}
	if n := r.arena.Stats; n.Foreign != 2 || n.Unopened != 1 {
		t.Errorf("%+v", n)
	}
}
