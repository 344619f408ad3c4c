package quic

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// wireFrames are frames of each type as they are written, and what they are.
func wireFrames(t testing.TB) []struct {
	name string
	wire []byte
	want frame
} {
	token := [16]byte{1, 15: 2}
	path := [8]byte{3, 7: 4}
	ack := unhex(t, "02 40ff 05 02 03 00 01 0a 00")
	return []struct {
		name string
		wire []byte
		want frame
	}{
		{"PADDING", []byte{0, 0, 0}, frame{kind: framePadding}},
		{"PING", appendFrame(nil, framePing), frame{kind: framePing}},
		{"ACK", ack, frame{kind: frameAck, value: 255, delay: 5, count: 2, first: 3, body: ack[6:]}},
		{"ACK with ECN", unhex(t, "03 09 00 00 09 01 02 40ff"),
			frame{kind: frameAck, value: 9, first: 9, body: []byte{}}},
		{"RESET_STREAM", appendFrame(nil, frameResetStream, 4, 0x10c, 1e6),
			frame{kind: frameResetStream, stream: 4, code: 0x10c, value: 1e6}},
		{"STOP_SENDING", appendFrame(nil, frameStopSending, 8, 1),
			frame{kind: frameStopSending, stream: 8, code: 1}},
		{"CRYPTO", append(appendCrypto(nil, 70, 5), "hello"...),
			frame{kind: frameCrypto, offset: 70, body: []byte("hello")}},
		{"NEW_TOKEN", unhex(t, "07 02 4142"), frame{kind: frameNewToken, body: []byte("AB")}},
		{"STREAM", append(appendStream(nil, 4, 0, 2, false), "hi"...),
			frame{kind: frameStream, stream: 4, body: []byte("hi")}},
		{"STREAM, end", append(appendStream(nil, 4, 1<<20, 2, true), "hi"...),
			frame{kind: frameStream, stream: 4, offset: 1 << 20, end: true, body: []byte("hi")}},
		{"MAX_DATA", appendFrame(nil, frameMaxData, integerMax), frame{kind: frameMaxData, value: integerMax}},
		{"MAX_STREAM_DATA", appendFrame(nil, frameMaxStreamData, 4, 9),
			frame{kind: frameMaxStreamData, stream: 4, value: 9}},
		{"MAX_STREAMS", appendFrame(nil, frameMaxStreams, streamsMax),
			frame{kind: frameMaxStreams, value: streamsMax}},
		{"MAX_STREAMS, one-way", appendFrame(nil, frameMaxStreams|1, 3),
			frame{kind: frameMaxStreams, oneWay: true, value: 3}},
		{"DATA_BLOCKED", appendFrame(nil, frameDataBlocked, 3), frame{kind: frameDataBlocked, value: 3}},
		{"STREAM_DATA_BLOCKED", appendFrame(nil, frameStreamDataBlocked, 1, 3),
			frame{kind: frameStreamDataBlocked, stream: 1, value: 3}},
		{"STREAMS_BLOCKED", appendFrame(nil, frameStreamsBlocked|1, 3),
			frame{kind: frameStreamsBlocked, oneWay: true, value: 3}},
		{"NEW_CONNECTION_ID", appendNewID(nil, 7, 3, makeID(t, "id"), &token),
			frame{kind: frameNewID, value: 7, before: 3, body: []byte("id"), token: token[:]}},
		{"RETIRE_CONNECTION_ID", appendFrame(nil, frameRetireID, 2), frame{kind: frameRetireID, value: 2}},
		{"PATH_CHALLENGE", appendPath(nil, framePathChallenge, &path), frame{kind: framePathChallenge, body: path[:]}},
		{"PATH_RESPONSE", appendPath(nil, framePathResponse, &path), frame{kind: framePathResponse, body: path[:]}},
		{"CONNECTION_CLOSE", appendClose(nil, false, 0x12a, frameCrypto, "why"),
			frame{kind: frameClose, code: 0x12a, value: 6, body: []byte("why")}},
		{"CONNECTION_CLOSE of the application", appendClose(nil, true, 0x100, 0, ""),
			frame{kind: frameCloseApp, code: 0x100, body: []byte{}}},
		{"HANDSHAKE_DONE", appendFrame(nil, frameHandshakeDone), frame{kind: frameHandshakeDone}},
	}
}

func TestFrame_parse(t *testing.T) {
	for _, c := range wireFrames(t) {
		t.Run(c.name, func(t *testing.T) {
			var f frame
			n, err := f.parse(append(bytes.Clone(c.wire), 1))
			if n != len(c.wire) || err != nil || !reflect.DeepEqual(f, c.want) {
				t.Errorf("%d of %d, %v\n%+v\n%+v", n, len(c.wire), err, f, c.want)
			}
			for n := 1; n < len(c.wire) && f.kind != framePadding; n++ {
				if _, err := f.parse(c.wire[:n]); err != errFrameCut {
					t.Errorf("cut to %d: %v", n, err)
				}
			}
		})
	}
}

func TestFrame_streamWithoutLength(t *testing.T) {
	var f frame
	n, err := f.parse([]byte{0x0d, 4, 9, 'a', 'b'})
	if n != 5 || err != nil || !f.end || f.offset != 9 || string(f.body) != "ab" {
		t.Errorf("%d, %v, %+v", n, err, f)
	}
}

func TestFrame_refuses(t *testing.T) {
	big := appendInteger(nil, integerMax)
	for _, c := range []struct {
		name string
		wire []byte
		want *Error
	}{
		{"an unknown type", []byte{0x1f}, errFrameUnknown},
		{"an unknown type of four octets", unhex(t, "80 00ffff"), errFrameUnknown},
		{"PING in two octets", unhex(t, "4001"), errFrameTypeLong},
		{"an unknown type in eight octets", unhex(t, "c0000000 00001234"), errFrameTypeLong},
		{"half a type", []byte{0x40}, errFrameCut},
		{"a first range below 0", unhex(t, "02 05 00 00 06"), errAckRange},
		{"a range below 0", unhex(t, "02 09 00 01 02 03 03"), errAckRange},
		{"a gap below 0", unhex(t, "02 09 00 01 02 06 00"), errAckRange},
		{"more ranges than there are octets", unhex(t, "02 3f 00 bfffffff 00 00 00"), errFrameCut},
		{"data beyond the last offset", append(append([]byte{0x0c, 0}, big...), 'x'), errOffset},
		{"CRYPTO beyond the last offset", append(append([]byte{6}, big...), 1, 'x'), errOffset},
		{"too many streams", appendFrame(nil, frameMaxStreams, streamsMax+1), errStreamCount},
		{"too many blocked streams", appendFrame(nil, frameStreamsBlocked, streamsMax+1), errStreamCount},
		{"an empty token", []byte{7, 0}, errNewToken},
		{"an id of no octets", append([]byte{0x18, 1, 0, 0}, make([]byte, 16)...), errNewID},
		{"an id of 21 octets", append([]byte{0x18, 1, 0, 21}, make([]byte, 37)...), errNewID},
		{"ids retired that do not exist yet", append([]byte{0x18, 1, 2, 1, 9}, make([]byte, 16)...), errNewID},
	} {
		var f frame
		if _, err := f.parse(c.wire); err != c.want {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func TestFrame_ranges(t *testing.T) {
	var f frame
	if _, err := f.parse(unhex(t, "02 40ff 05 02 03 00 01 0a 00")); err != nil {
		t.Fatal(err)
	}
	var got [][2]int64
	for w := f.ranges(); ; {
		first, last, ok := w.next()
		if !ok {
			break
		}
		got = append(got, [2]int64{first, last})
	}
	if want := [][2]int64{{252, 255}, {249, 250}, {237, 237}}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestFrame_readsNoMoreRangesThanAllowed(t *testing.T) {
	b := append(appendFrame(nil, frameAck, 5000, 0, 1000, 0), make([]byte, 2000)...)
	var f frame
	if n, err := f.parse(b); n != len(b) || err != nil {
		t.Fatal(n, err)
	}
	n, w := 0, f.ranges()
	for _, _, ok := w.next(); ok; _, _, ok = w.next() {
		n++
	}
	if n != ackRangesMax {
		t.Errorf("%d ranges", n)
	}
}

// RFC 9000 §12.4, table 3: I, H, 0, 1 are the packets; N: not eliciting, P: probing.
func TestFrame_rules(t *testing.T) {
	table := map[frameKind]string{
		framePadding: "IH01NP", framePing: "IH01", frameAck: "IH1N", frameResetStream: "01", frameStopSending: "01",
		frameCrypto: "IH1", frameNewToken: "1", frameStream: "01", frameMaxData: "01", frameMaxStreamData: "01",
		frameMaxStreams: "01", frameDataBlocked: "01", frameStreamDataBlocked: "01", frameStreamsBlocked: "01",
		frameNewID: "01P", frameRetireID: "01", framePathChallenge: "01P", framePathResponse: "1P",
		frameClose: "IH01N", frameCloseApp: "01N", frameHandshakeDone: "1",
	}
	letters := map[PacketKind]string{InitialPacket: "I", ZeroRTTPacket: "0", HandshakePacket: "H", OneRTTPacket: "1"}
	for k, want := range table {
		for in, letter := range letters {
			onlyServers := k == frameNewToken || k == frameHandshakeDone
			if k.allowed(in, false) != strings.Contains(want, letter) ||
				k.allowed(in, true) != (strings.Contains(want, letter) && !onlyServers) {
				t.Errorf("frame %x in packets %s", k, letter)
			}
		}
		if k.eliciting() == strings.Contains(want, "N") || k.probing() != strings.Contains(want, "P") {
			t.Errorf("frame %x: eliciting %v, probing %v", k, k.eliciting(), k.probing())
		}
	}
}

func TestStreamRoom_isFilled(t *testing.T) {
	for room := range 1500 {
		for _, offset := range []uint64{0, 1, 1 << 40} {
			n := streamRoom(room, 4, offset)
			if d := cryptoRoom(room, offset); d >= 0 && len(appendCrypto(nil, offset, d))+d > room {
				t.Fatalf("%d of CRYPTO into %d", d, room)
			}
			if n < 0 {
				continue
			}
			if used := len(appendStream(nil, 4, offset, n, true)) + n; used > room || used < room-1 {
				t.Fatalf("%d bytes into %d at %d: %d octets", n, room, offset, used)
			}
		}
	}
}

func TestFrames_allocateNothing(t *testing.T) {
	all := wireFrames(t)
	var f frame
	out, id := make([]byte, 0, 100), makeID(t, "id")
	var token [16]byte
	if n := testutil.Allocs(100, func() {
		for i := range all {
			f.parse(all[i].wire)
		}
		out = appendFrame(out[:0], frameResetStream, 1, 2, f.value)
		out = appendNewID(appendStream(out, 4, 5, 6, true), 1, 0, id, &token)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzFrames(f *testing.F) {
	var all []byte
	for _, c := range wireFrames(f) {
		f.Add(c.wire)
		all = append(all, c.wire...)
	}
	f.Add(all)
	f.Fuzz(func(t *testing.T, b []byte) {
		for len(b) > 0 {
			var f frame
			n, err := f.parse(b)
			if err != nil {
				return
			}
			if n <= 0 || n > len(b) || f.kind >= frameKinds || len(f.body) > n {
				t.Fatalf("%d of %d: %+v", n, len(b), f)
			}
			switch f.kind {
			case frameAck:
				w, below := f.ranges(), int64(f.value)+1
				for first, last, ok := w.next(); ok; first, last, ok = w.next() {
					if first < 0 || last < first || last >= below {
						t.Fatalf("range %d-%d below %d", first, last, below)
					}
					below = first
				}
			case frameStream:
				checkAgain(t, &f, append(appendStream(nil, f.stream, f.offset, len(f.body), f.end), f.body...))
			case frameCrypto:
				checkAgain(t, &f, append(appendCrypto(nil, f.offset, len(f.body)), f.body...))
			case frameNewID:
				id, _ := MakeID(f.body)
				checkAgain(t, &f, appendNewID(nil, f.value, f.before, &id, (*[16]byte)(f.token)))
			case frameResetStream:
				checkAgain(t, &f, appendFrame(nil, f.kind, f.stream, f.code, f.value))
			}
			b = b[n:]
		}
	})
}

// checkAgain checks that a frame is f when it is written again.
func checkAgain(t *testing.T, f *frame, wire []byte) {
	t.Helper()
	var again frame
	n, err := again.parse(wire)
	if n != len(wire) || err != nil || !reflect.DeepEqual(*f, again) {
		t.Fatalf("%v\n%+v\n%+v", err, *f, again)
	}
}
