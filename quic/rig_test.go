package quic

import (
	"encoding/binary"
	"fmt"
	mathrand "math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// rig is a Conn whose peer is the test: it has the keys of all levels, so it can send whatever it wants. There is no
// TLS.
type rig struct {
	t        testing.TB
	conn     Conn
	arena    Arena
	opts     Options
	now      int64
	suite    uint16
	phase    byte // the bit of 1-RTT packets
	ours     ID   // of the test
	first    ID   // of conn
	original ID   // that the client chose for the server

	read, write [levels]keys // of the test
	next        [levels]int64
	seen        [levels]int64 // the highest number that conn has sent
	numbers     [levels]spans // that conn has sent

	hold     bool // data is not released
	owed     map[*Stream]int
	got      map[uint64][]byte
	ended    map[uint64]bool
	streams  map[uint64]*Stream
	events   []string
	sizes    []int // of the datagrams that conn has sent
	onEvent  func(ev *Event)
	peer     parameters
	from     Path     // where the test's datagrams come from
	roams    bool     // conn may send to other addresses
	resetKey [16]byte // token of ours
}

var rigSecret = [levels][2][]byte{
	Handshake: {makePattern(10, 58), makePattern(110, 158)},
	OneRTT:    {makePattern(210, 258), makePattern(310, 358)},
}

// newRig returns a Conn of a role that has got nothing yet.
func newRig(t testing.TB, role Role, o Options) *rig {
	r := &rig{t: t, opts: o, now: 1e9, from: testPath, suite: aes128GCM,
		got: map[uint64][]byte{}, ended: map[uint64]bool{},
		owed: map[*Stream]int{}, streams: map[uint64]*Stream{}, seen: [levels]int64{none, none, none}}
	r.opts.Arena = &r.arena
	if r.opts.Random == nil {
		r.opts.Random = mathrand.New(mathrand.NewPCG(5, 5)).Uint64
	}
	n := uint64(0)
	r.opts.NewID = func() (id ID, token [16]byte) {
		n++
		id, _ = MakeID(binary.BigEndian.AppendUint64(nil, n<<8))
		binary.BigEndian.PutUint64(token[:], n)
		return id, token
	}
	r.ours, _ = MakeID([]byte("the-peer"))
	r.resetKey = [16]byte([]byte("token of a reset"))
	r.peer = defaultParameters
	r.peer.data, r.peer.streamLocal, r.peer.streamRemote, r.peer.streamOneWay = 1<<20, 1<<18, 1<<18, 1<<18
	r.peer.streams, r.peer.streamsOneWay, r.peer.ids = 100, 10, 4
	var err error
	if role == Server {
		chosen, _ := MakeID([]byte("original"))
		err = r.conn.InitServer(&r.opts, &Header{Kind: InitialPacket, Dest: chosen.Bytes(), Source: r.ours.Bytes()},
			testPath, r.now)
	} else {
		err = r.conn.InitClient(&r.opts, testPath, r.now)
	}
	testutil.Must(t, err)
	r.first, r.original = r.conn.local.initialSource, r.conn.local.original
	client, server := initialSecrets(r.original.Bytes())
	if role == Server {
		client, server = server, client
	}
	r.read[Initial].init(aes128GCM, client[:32])
	r.write[Initial].init(aes128GCM, server[:32])
	return r
}

// keysOf gives both sides the keys of a level.
func (r *rig) keysOf(l Level) {
	r.t.Helper()
	n := 32
	if r.suite == aes256GCM {
		n = 48
	}
	mine, its := rigSecret[l][0][:n], rigSecret[l][1][:n]
	r.read[l].init(r.suite, its)
	r.write[l].init(r.suite, mine)
	if r.conn.SetSecret(l, true, r.suite, its) != nil || r.conn.SetSecret(l, false, r.suite, mine) != nil {
		r.t.Fatal("keys are not taken")
	}
}

// parameters returns the transport parameters of the test.
func (r *rig) parameters() []byte {
	p := r.peer
	p.present |= 1 << paramInitialSource
	p.initialSource = r.ours
	if r.conn.role == Client {
		p.present |= 1<<paramOriginal | 1<<paramResetToken
		p.original, p.resetToken = r.original, r.resetKey
	}
	return p.append(nil, 0)
}

// established returns a Conn after the handshake, which has sent all that was due.
func established(t testing.TB, role Role, o Options) *rig {
	t.Helper()
	r := newRig(t, role, o)
	r.establish()
	return r
}

func (r *rig) establish() {
	r.t.Helper()
	r.in(Initial, ping)
	r.keysOf(Handshake)
	r.in(Handshake, ping)
	r.keysOf(OneRTT)
	testutil.Must(r.t, r.conn.SetParameters(r.parameters()))
	r.conn.HandshakeDone()
	if r.conn.role == Client {
		r.in(OneRTT, appendFrame(nil, frameHandshakeDone))
	}
	r.drive()
	r.out()
	r.ack()
	if r.conn.flag&confirmed == 0 || r.conn.state != open {
		r.t.Fatalf("no handshake: %v", r.events)
	}
	r.events = nil
}

// agree gives conn the keys and the parameters of a handshake, which is not done.
func (r *rig) agree() {
	r.t.Helper()
	r.in(Initial, ping)
	r.keysOf(Handshake)
	r.keysOf(OneRTT)
	testutil.Must(r.t, r.conn.SetParameters(r.parameters()))
}

var ping = []byte{byte(framePing)}

func streamFrame(id uint64, from, to int64, end bool) []byte {
	return append(appendStream(nil, id, uint64(from), int(to-from), end), pattern(from, to)...)
}

func cryptoFrame(from, to int64) []byte {
	return append(appendCrypto(nil, uint64(from), int(to-from)), pattern(from, to)...)
}

func newIDFrame(sequence, before uint64) []byte {
	id, _ := MakeID(binary.BigEndian.AppendUint64(nil, 0xabc000+sequence))
	return appendNewID(nil, sequence, before, &id, tokenOf(sequence))
}

func tokenOf(sequence uint64) *[16]byte {
	return (*[16]byte)(binary.BigEndian.AppendUint64([]byte("a token "), sequence))
}

// sealed returns a packet with frames, and PADDING where there are too few for the sample.
func (r *rig) sealed(l Level, frames ...[]byte) []byte {
	return r.sealedAs(l, 0, r.next[l], r.dest(l), frames...)
}

// dest returns an id of conn for packets of a level.
func (r *rig) dest(l Level) *ID {
	if l == Initial && r.conn.role == Server && r.seen[Initial] == none {
		return &r.original
	}
	return &r.first
}

// sealedAs is sealed with bits in the first octet, a number and an id of the test's choice.
func (r *rig) sealedAs(l Level, bits byte, n int64, dest *ID, frames ...[]byte) []byte {
	r.next[l] = max(r.next[l], n+1)
	d := make([]byte, 0, 2*DatagramSize)
	if l == OneRTT {
		d = appendShort(d, dest, r.phase != 0)
	} else {
		d = appendLong(d, levelPackets[l], dest, &r.ours, nil)
	}
	d[0] |= bits
	number := len(d)
	d = appendNumber(d, n, 4)
	body := len(d)
	for _, f := range frames {
		d = append(d, f...)
	}
	if l != OneRTT {
		setLength(d, number, len(d)-number+tagLen)
	}
	return r.write[l].seal(d, 0, number, body, n)
}

// in has conn get a packet with frames, and takes the events.
func (r *rig) in(l Level, frames ...[]byte) {
	r.t.Helper()
	if l == Initial && r.conn.role == Server {
		size := 0
		for _, f := range frames {
			size += len(f)
		}
		frames = append(frames, make([]byte, max(DatagramSize-size, 0)))
	}
	r.datagram(r.sealed(l, frames...))
}

// datagram has conn get packets, and takes the events.
func (r *rig) datagram(packets ...[]byte) {
	r.t.Helper()
	d := slices.Concat(packets...)
	r.conn.Receive(d, r.from, r.now)
	r.drive()
	clear(d) // borrowed bytes that were kept are others now
}

// drive takes events until None.
func (r *rig) drive() {
	r.t.Helper()
	for range 100_000 {
		ev := r.conn.Next()
		switch ev.Kind {
		case None:
			return
		case Data:
			id := ev.Stream.ID
			r.streams[id] = ev.Stream
			if r.ended[id] {
				r.t.Fatalf("data of stream %d after its end", id)
			}
			r.got[id] = append(r.got[id], ev.Body...)
			r.ended[id] = ev.End
			if r.hold {
				r.owed[ev.Stream] += len(ev.Body)
			} else {
				r.conn.Release(ev.Stream, len(ev.Body))
			}
		case Crypto:
			r.events = append(r.events, fmt.Sprintf("Crypto %d %d", ev.Level, len(ev.Body)))
		case Closed:
			k := r.conn.Closed()
			r.events = append(r.events, fmt.Sprintf("Closed %v %d app %v peer %v", k.Err, k.Code, k.App, k.ByPeer))
		case Reset, Stopped:
			r.streams[ev.Stream.ID] = ev.Stream
			r.events = append(r.events, fmt.Sprintf("%s %d code %d",
				map[EventKind]string{Reset: "Reset", Stopped: "Stopped"}[ev.Kind], ev.Stream.ID, ev.Code))
		case Sendable:
			r.events = append(r.events, fmt.Sprintf("Sendable %d", ev.Stream.ID))
		case Established:
			r.events = append(r.events, "Established")
		case Moved:
			r.events = append(r.events, "Moved "+r.conn.Path().Peer.String())
		case IDRetired:
			r.events = append(r.events, fmt.Sprintf("IDRetired %x", ev.ID.Bytes()))
		}
		if r.onEvent != nil {
			r.onEvent(&ev)
		}
	}
	r.t.Fatal("events without end")
}

// left is a frame that conn has sent.
type left struct {
	frame
	level  Level
	number int64
	raw    []byte
	dest   string
	path   Path
	size   int // of its datagram
}

// out takes all datagrams that conn sends now, and returns their frames. PADDING is left out.
func (r *rig) out() (all []left) {
	r.t.Helper()
	buf := make([]byte, 0, DatagramMax)
	for range 2000 {
		d, path := r.conn.AppendDatagram(buf, r.now)
		if len(d) == 0 {
			if r.conn.Pending() {
				r.t.Fatal("pending, and nothing leaves")
			}
			return all
		}
		if len(d) > DatagramMax || &d[0] != &buf[:1][0] || path != testPath && !r.roams {
			r.t.Fatalf("a datagram of %d bytes by %v", len(d), path)
		}
		r.sizes = append(r.sizes, len(d))
		for _, f := range r.opened(slices.Clone(d)) {
			f.path, f.size = path, len(d)
			all = append(all, f)
		}
	}
	r.t.Fatal("datagrams without end")
	return nil
}

// opened returns the frames of a datagram of conn.
func (r *rig) opened(d []byte) (all []left) {
	r.t.Helper()
	for len(d) > 0 {
		h, ok := Parse(d)
		if !ok {
			r.t.Fatalf("a packet without a header: %x", d)
		}
		l := Level(slices.Index(levelPackets[:], h.Kind))
		p := d[:h.size]
		d = d[h.size:]
		octets, ok := r.read[l].unprotect(p, h.number)
		if !ok {
			r.t.Fatal("a packet without a sample")
		}
		n := decodeNumber(r.seen[l], p[h.number:h.number+octets])
		b, ok := r.read[l].open(p, h.number+octets, n)
		if !ok || reservedSet(p[0]) || n <= r.seen[l] {
			r.t.Fatalf("packet %d at level %d cannot be opened", n, l)
		}
		r.seen[l] = n
		r.numbers[l].add(n, n+1)
		for len(b) > 0 {
			var f frame
			size, err := f.parse(b)
			if err != nil || !f.kind.allowed(h.Kind, r.conn.role == Client) {
				r.t.Fatalf("frame %x of level %d: %v", b, l, err)
			}
			if f.kind != framePadding {
				all = append(all, left{frame: f, level: l, number: n, raw: b[:size], dest: string(h.Dest)})
			}
			b = b[size:]
		}
	}
	return all
}

// count returns how many frames of a kind are in all, and the last one.
func count(all []left, k frameKind) (n int, last left) {
	for _, f := range all {
		if f.kind == k {
			n, last = n+1, f
		}
	}
	return n, last
}

// ackFrame acknowledges all that conn has sent at a level.
func (r *rig) ackFrame(l Level) []byte {
	var a ranges
	var arena Arena
	for _, s := range r.numbers[l] {
		for n := s.from; n < s.to; n++ {
			a.add(&arena, n)
		}
	}
	return a.appendAck(nil, 0, 500)
}

// ack acknowledges all 1-RTT packets of conn.
func (r *rig) ack() {
	r.t.Helper()
	if f := r.ackFrame(OneRTT); len(f) > 0 {
		r.in(OneRTT, f)
	}
}

// wantFault checks that conn ends with a code, and says so.
func (r *rig) wantFault(code Code) {
	r.t.Helper()
	if k := r.conn.Closed(); r.conn.state != closing || k.Code != uint64(code) || k.App || k.ByPeer {
		r.t.Fatalf("state %d, %+v, want %v; events %q", r.conn.state, r.conn.Closed(), code, r.events)
	}
	if r.arena.Stats.Faults != 1 {
		r.t.Errorf("%d faults are counted", r.arena.Stats.Faults)
	}
	all := r.out()
	if n, f := count(all, frameClose); n == 0 || f.code != uint64(code) {
		r.t.Fatalf("%d frames of CONNECTION_CLOSE, code %d, want %v", n, f.code, code)
	}
	r.wantNothingKept()
}

func (r *rig) wantOpen() {
	r.t.Helper()
	if r.conn.state != open {
		r.t.Fatalf("ended: %+v", r.conn.Closed())
	}
}

func (r *rig) wantNothingKept() {
	r.t.Helper()
	if c := &r.conn; r.arena.Stats.Pages != 0 || c.state != open && r.arena.Lent() != 0 || c.flow.held != 0 {
		r.t.Fatalf("%d pages, %d bytes lent, %d held", r.arena.Stats.Pages, r.arena.Lent(), c.flow.held)
	}
}

// pass moves the time on by d, with all timers on the way, and returns what conn has sent meanwhile.
func (r *rig) pass(d int64) (all []left) {
	r.t.Helper()
	for until, spins := r.now+d, 0; ; spins++ {
		at := r.conn.Deadline()
		if at == 0 || at > until {
			r.now = until
			return all
		}
		if spins > 10_000 {
			r.t.Fatalf("the timer does not move on: %d", at-r.now)
		}
		r.now = max(r.now, at)
		r.conn.Expire(r.now)
		r.drive()
		all = append(all, r.out()...)
	}
}

// both runs a test for a server and for a client.
func both(t *testing.T, f func(t *testing.T, r *rig)) {
	for role, name := range map[Role]string{Server: "server", Client: "client"} {
		t.Run(name, func(t *testing.T) { f(t, established(t, role, Options{})) })
	}
}

// theirs returns the id of stream n that the test opens, and mine that of one which conn opens.
func (r *rig) theirs(k StreamKind, n uint64) uint64 {
	return n*streamTypes | uint64(r.conn.theirType(k))
}
func (r *rig) mine(k StreamKind, n uint64) uint64 { return n*streamTypes | uint64(r.conn.ourType(k)) }

// open has conn open a stream.
func (r *rig) open(k StreamKind) *Stream {
	r.t.Helper()
	s, err := r.conn.Open(k)
	testutil.Must(r.t, err)
	return s
}

func TestRig_establishes(t *testing.T) {
	both(t, func(t *testing.T, r *rig) {
		s := r.open(TwoWay)
		r.conn.Send(s, pattern(0, 3000), true)
		n, f := count(r.out(), frameStream)
		if n != 3 || !f.end || f.offset+uint64(len(f.body)) != 3000 {
			t.Errorf("%d frames, the last %+v", n, f)
		}
		r.in(OneRTT, streamFrame(s.ID, 0, 100, true))
		if len(r.got[s.ID]) != 100 || !r.ended[s.ID] {
			t.Errorf("%d bytes", len(r.got[s.ID]))
		}
	})
}

// oldStream has conn open a stream that is over at once.
func (r *rig) oldStream() {
	r.t.Helper()
	s := r.open(TwoWay)
	r.conn.Send(s, nil, true)
	r.conn.Done(s)
	r.in(OneRTT, streamFrame(s.ID, 0, 0, true))
	r.out()
	r.ack()
	if r.conn.streams.used != 0 {
		r.t.Fatal("the stream is not over")
	}
}

func timeOf(seconds int64) time.Duration { return time.Duration(seconds) * time.Second }

func itoa(n uint64) string { return strconv.FormatUint(n, 10) }
