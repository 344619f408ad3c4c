package quic

import (
	"encoding/binary"

	"github.com/edge-proxy/edge/internal/base/budget"
)

// Conn is one end of a QUIC connection. Owned by its reactor; Init before use.
//
//	Receive ─► Next, Next … ─► None       datagrams come; events say what they brought
//	Send, Reset, Release …                the caller acts, also between two events
//	AppendDatagram until nothing leaves   at the end of a tick, and after Expire
//	Deadline ─► Expire                    time passes
//
//	spaces[l] is nil once its keys were dropped; OneRTT has one until c is draining or over
//	state != open => no frame takes effect any more
type Conn struct {
	o     *Options
	arena *Arena
	role  Role
	state connState
	level Level // of the space that is worked on
	flag  connFlags
	now   int64

	spaces [levels]*space
	local  *parameters // ours, until the handshake is confirmed
	peer   terms       // of the peer; the defaults until they came

	in     *arriving // the Arena's
	early  [][]byte  // packets that wait for keys
	failed int64     // packets that could not be opened

	// addresses and ids
	paths  paths
	length length
	retry  *retry // that a client has taken; nil: none
	own    ownIDs
	theirs peerIDs

	// streams and windows
	streams streamTable
	opened  [streamTypes]uint64 // how many were opened, by type: the number of the next one
	limit   [streamTypes]uint64 // how many may be opened
	ending  int                 // streams of the peer that are done and not freed
	sending streamList          // have data to send
	waiting streamList          // Send had no room for them
	control streamList          // have frames other than STREAM to send
	kept    kept                // of streams, and of the handshake
	flow    flow
	sent    recovery
	phase   phases
	buckets [abuseCount]budget.Bucket
	life    life
}

// arriving is the datagram that is read: one at a time of all connections of an Arena.
type arriving struct {
	conn    *Conn   // which reads it
	from    Path    // by which it came
	size    int     // its length
	rest    []byte  // of it
	lead    ID      // the id of its first packet
	frames  []byte  // of the packet that is read
	number  int64   // of that packet
	elicits bool    // it asks for an acknowledgement
	probing bool    // it has frames that may come by any path alone
	working bool    // frames belongs to a packet
	ordered *Stream // has more data in order
}

// flow is what both ends may send (RFC 9000 §4), in bytes of all streams.
type flow struct {
	dataMax  int64 // the peer takes so many
	dataSent int64
	held     int64 // sent, or about to be, and not acknowledged

	budget   int64 // bytes that may be owed at once
	takeMax  int64 // we take so many, as announced
	taken    int64 // came, counted by the highest offsets
	credited int64 // of these, bytes that have made room for others
	owed     int64 // delivered and not released
	withheld int64 // of owed, not credited
	due      bool  // MAX_DATA is to be sent
}

// recovery finds what was lost, and how much may be on its way (RFC 9002).
type recovery struct {
	rtt       rtt
	window    window
	sampledAt int64 // when the first sample of the round trip was taken
	ptoCount  int
	skipped   int64 // the last number that was left out
	skipAt    int64 // the next one
	since     int64 // 1-RTT packets with lower numbers went to another address: they say nothing of the present one
}

// life is the times of a connection, and its end.
type life struct {
	startedAt  int64
	heardAt    int64 // when a packet came, or the first one after it was sent
	overAt     int64 // when closing ends
	closure    Closure
	frame      frameKind // that was at fault
	answerIn   int       // datagrams until the next answer while closing
	answerStep int
}

type connState uint8

const (
	open     connState = iota
	closing            // we said CONNECTION_CLOSE, and say it again
	draining           // the peer said it, or nothing can be said
	over
)

type connFlags uint32

const (
	validated     connFlags = 1 << iota // the peer's address is
	complete                            // the handshake is
	confirmed                           // RFC 9001 §4.1.2
	heardPeer                           // a packet of the peer was opened
	gotParameters                       // of the peer
	eliciting                           // a packet that asks for an acknowledgement was sent since one came
	tellClosed                          // the event is due
	tellDone                            // Established is due
	tellRoom                            // Room is due
	roomMade                            // streams of waiting may be able to send
	closeDue                            // CONNECTION_CLOSE is to be sent
	streamsDue                          // MAX_STREAMS of two-way streams
	oneWaysDue                          // and of one-way streams
	doneDue                             // HANDSHAKE_DONE
	tellMoved                           // Moved is due
)

// controlFlags ask for frames of the connection.
const controlFlags = streamsDue | oneWaysDue | doneDue

// InitServer begins a connection with the first Initial of a client, whose header is h; after a Retry, with the first
// that has its token. The datagram itself is given to Receive. o is kept.
func (c *Conn) InitServer(o *Options, h *Header, p Path, now int64) error {
	c.init(o, Server, p, now)
	c.theirs.take(h.Source)
	c.local.present |= 1<<paramOriginal | 1<<paramResetToken
	c.local.original, _ = MakeID(h.Dest)
	if o.Retried != (ID{}) { // RFC 9000 §7.3, §8.1.2: its token shows that the client is at its address
		c.local.present |= 1 << paramRetrySource
		c.local.original, c.local.retrySource = o.Retried, c.local.original
		c.flag |= validated
	}
	return c.spaces[Initial].initialKeys(c.role, h.Dest)
}

// InitClient begins a connection to a server at p.Peer. o is kept.
func (c *Conn) InitClient(o *Options, p Path, now int64) error {
	c.init(o, Client, p, now)
	id := binary.LittleEndian.AppendUint64(nil, c.o.random()) // no attacker can guess this key of the Initial packets
	c.local.original, _ = MakeID(id)
	c.theirs.take(id)
	c.flag |= validated
	return c.spaces[Initial].initialKeys(c.role, id)
}

func (c *Conn) init(o *Options, role Role, p Path, now int64) {
	if o == nil {
		o = &defaultOptions
	}
	*c = Conn{o: o, role: role, arena: o.Arena, paths: paths{used: p}, now: now}
	c.life.startedAt, c.life.heardAt = now, now
	if c.arena == nil {
		c.arena = &Arena{}
	}
	c.in = &c.arena.in
	for l := range c.spaces {
		c.spaces[l] = newSpace()
	}
	c.sending.which, c.waiting.which, c.control.which = sendingLinks, waitingLinks, controlLinks
	c.sent.rtt.reset()
	c.sent.window.reset(DatagramSize)
	c.length.reset()
	c.sent.skipped = none
	c.sent.chooseSkip(0, c.o.random())
	id, token := o.NewID()
	c.own.add(id)
	c.own.told = c.own.next
	c.peer = defaultParameters.terms
	c.flow.budget = int64(o.budget())
	c.flow.takeMax = c.flow.budget
	c.local = &parameters{terms: defaultParameters.terms}
	c.local.present = 1 << paramInitialSource
	c.local.initialSource, c.local.resetToken = id, token
	c.local.idle = uint64(o.idle() / 1e6)
	c.local.data = uint64(c.flow.takeMax)
	w := uint64(o.streamWindow())
	c.local.streamLocal, c.local.streamRemote, c.local.streamOneWay = w, w, w
	c.local.streams, c.local.streamsOneWay = uint64(o.streams()), uint64(o.oneWayStreams())
	c.local.ids = idsKept
	c.limit[c.theirType(TwoWay)], c.limit[c.theirType(OneWay)] = c.local.streams, c.local.streamsOneWay
}

// initialKeys makes the keys of Initial packets by the id that the client chose.
func (s *space) initialKeys(of Role, id []byte) error {
	read, write := initialSecrets(id)
	if of == Client {
		read, write = write, read
	}
	if !s.read.init(aes128GCM, read[:]) || !s.write.init(aes128GCM, write[:]) {
		return errSuite
	}
	return nil
}

// chooseSkip chooses by random bits the next number that is left out: a peer that acknowledges it lies.
func (s *recovery) chooseSkip(after int64, random uint64) {
	s.skipAt = after + 1 + int64(random%(2*skipMean))
}

// memory is where the streams and the handshake keep data that is late.
func (c *Conn) memory() memory { return memory{c.arena, &c.kept} }

// Lent returns how many bytes of memory c holds for the peer: its part of Arena.Lent, but for what Held counts and for
// packets that wait for keys.
func (c *Conn) Lent() int { return int(c.kept.pages)*pageSize + c.streams.used*streamSize }

// Held returns how many bytes of streams are kept until the peer acknowledges them.
func (c *Conn) Held() int { return int(c.flow.held) }

// Silence returns for how long the peer has answered nothing at a time, in ns; 0 before three PTOs are over.
func (c *Conn) Silence(now int64) int64 {
	if c.sent.ptoCount < 2 { // the second probe waits for twice the time of the first
		return 0
	}
	return now - c.life.heardAt
}

// Path returns the addresses that are in use.
func (c *Conn) Path() Path { return c.paths.used }

// Closed returns how the connection ended, after the event Closed.
func (c *Conn) Closed() Closure { return c.life.closure }

// Over reports whether nothing is left to be done: no datagram is answered any more.
func (c *Conn) Over() bool { return c.state == over }

// ourType is the type of the streams of kind that this side opens: the lowest bits of their IDs.
func (c *Conn) ourType(k StreamKind) int {
	t := int(k) * oneWayBit
	if c.role == Server {
		t |= byServerBit
	}
	return t
}

// theirType is the type of those that the peer opens.
func (c *Conn) theirType(k StreamKind) int { return c.ourType(k) ^ byServerBit }
