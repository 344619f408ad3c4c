package cache

import (
	"encoding/binary"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/edge-proxy/edge/internal/base/fdpass"
	"github.com/edge-proxy/edge/poller"
)

// Offer hands what a Zone has over to the Zone of another process, which has the other end of a connection. Owned by
// one goroutine.
//
// Messages are numbers of 64 bits, little endian. The first one says what comes:
//
//	hello        page, seed; notices as a descriptor
//	generations  see generations.appendTo
//	records      for each record: a checksum of the rest, uses, length of the key, length of the record; key, record.
//	             A record comes alone if its body is in a file, which is a descriptor of the message
type Offer struct {
	Theirs *os.File // is Options.From in the other process; nil: it has that
	zone   *Zone
	conn   *fdpass.Conn
	out    []byte // the message that is filled
	err    error  // why the other process takes no more
}

const (
	handsHello uint64 = 0x3265686361636465 + iota // "edcache2"
	handsGenerations
	handsRecords
)

const (
	entryHead   = 4 * word
	usesMax     = 3               // of a record, as its store counts
	messageFull = 96 << 10        // bytes after which a message is sent
	messageMax  = 192 << 10       // bytes of the largest one
	messageTime = 5 * time.Second // that the other process has for one
)

// Offer prepares to hand over. Until Give, the two processes hear of each other's purges, and no more.
func (z *Zone) Offer() (*Offer, error) {
	conn, theirs, err := fdpass.Pair("cache")
	if err != nil {
		return nil, err
	}
	_ = conn.SetWriteBuffer(messageMax) // there is more by default
	o, g := &Offer{Theirs: theirs, zone: z, conn: conn}, &z.generations
	g.writing.Lock()
	defer g.writing.Unlock()
	o.begin(handsHello, uint64(g.page+1)%noticePages, g.seed)
	if o.send(int(g.file)); o.err != nil {
		o.Close()
		return nil, o.err
	}
	return o, nil
}

// Close ends what Give has not.
func (o *Offer) Close() {
	o.CloseTheirs()
	_ = o.conn.Close()
}

// CloseTheirs closes Theirs, once the other process has it.
func (o *Offer) CloseTheirs() {
	if o.Theirs != nil {
		_ = o.Theirs.Close()
		o.Theirs = nil
	}
}

// Give hands over all that the Zone has, and returns when that is sent, or the other process takes no more. The Zone
// has it no more. The other process is asked in place of this one already, which stores nothing: Options.Elsewhere.
func (o *Offer) Give() {
	defer o.Close()
	o.zone.Hear() // a third process may have purged before the other one heard of it
	o.begin(handsGenerations)
	o.zone.generations.appendTo(o.out, messageFull, func(p []byte) {
		o.out = p
		o.send()
	})
	o.begin(handsRecords)
	if o.err == nil {
		o.zone.records.Drain(o.giveRecord)
	}
	o.flush()
}

// begin begins a message.
func (o *Offer) begin(words ...uint64) { o.out = appendWords(o.out[:0], words...) }

// send sends the message, unless an earlier one could not be sent.
func (o *Offer) send(files ...int) {
	if o.err == nil {
		o.err = o.conn.Send(o.out, files, messageTime)
	}
}

// giveRecord hands over a record, with its body where that is in a file. A body on disk the other process finds there.
// It reports whether there may be more.
func (o *Offer) giveRecord(key, value []byte, uses int) bool {
	r, bodies := record(value), &o.zone.bodies
	size := entryHead + len(key) + len(r)
	if size > messageMax-word {
		return true
	}
	if number := r.file(); number != 0 {
		b := bodies.take(number)
		if b == nil {
			return true
		}
		defer b.Release()
		defer bodies.store.Delete(number)
		if b.disk == nil {
			b.pin(1)
			o.flush()
			o.add(key, r, uses)
			o.send(int(b.file))
			o.begin(handsRecords)
		}
		return o.err == nil
	}
	if len(o.out)+size > messageFull {
		o.flush()
	}
	o.add(key, r, uses)
	return o.err == nil
}

// add adds a record to the message.
func (o *Offer) add(key []byte, r record, uses int) {
	at := len(o.out)
	o.out = appendWords(o.out, 0, uint64(uses), uint64(len(key)), uint64(len(r)))
	o.out = append(append(o.out, key...), r...)
	binary.LittleEndian.PutUint64(o.out[at:], xxhash.Sum64(o.out[at+word:]))
}

// flush sends the records that were added.
func (o *Offer) flush() {
	if len(o.out) > word {
		o.send()
	}
	o.begin(handsRecords)
}

// takeover is the other end of an Offer. Owned by one goroutine, of New, then of Take; conn and the counters by any.
type takeover struct {
	conn  *fdpass.Conn // nil: there is none
	in    []byte       // the last message
	files []int        // that have come with it, and have no owner
	value []byte       // that is not looked at

	mu             sync.Mutex    // is held by Take
	taken, dropped atomic.Uint64 // records
}

// begin begins to take over by f, Theirs of an Offer; nil: there is none. A disk has a seed, 0: none has, and names of
// purges mean nothing to a process with another one. It returns the notices of the other process, and its seed; or nil,
// and seed: nothing is taken over.
func (t *takeover) begin(f *os.File, seed uint64) (*notices, uint64) {
	if f == nil {
		return nil, seed
	}
	var err error
	if t.conn, err = fdpass.Open(f); err != nil {
		return nil, seed
	}
	t.in = make([]byte, messageMax)
	p := t.receive(time.Now().Add(time.Second)) // it has been sent
	if len(p) == 3*word && wordOf(p, 0) == handsHello && wordOf(p, 1) < noticePages && len(t.files) == 1 {
		if theirs := wordOf(p, 2); seed == 0 || seed == theirs {
			if of, err := joinNotices(t.file(), int(wordOf(p, 1))); err == nil {
				return of, theirs
			}
		}
	}
	t.closeFiles()
	t.end()
	return nil, seed
}

// end ends the connection, if there is one.
func (t *takeover) end() {
	if t.conn != nil {
		_ = t.conn.Close()
	}
}

// receive returns the next message, which is borrowed until the next call; nil: there is none.
func (t *takeover) receive(until time.Time) []byte {
	t.closeFiles()
	n, files, err := t.conn.Receive(t.in, until)
	if err != nil {
		return nil
	}
	t.files = files
	return t.in[:n]
}

func (t *takeover) closeFiles() {
	for len(t.files) > 0 {
		t.file().Close()
	}
}

// file returns a file that has come, and that the caller owns.
func (t *takeover) file() (f poller.File) {
	f, t.files = poller.File(t.files[0]), t.files[1:]
	return f
}

// Take stores what the process of Options.From gives, and returns when that is all: how many records are stored, and
// how many are not, since they were damaged, had no room, or were older than others here. Without such a process, or
// when it has ended, it returns at once.
func (z *Zone) Take() (taken, dropped uint64) {
	t := &z.takeover
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.conn == nil {
		return 0, 0
	}
	taken, dropped = t.taken.Load(), t.dropped.Load()
	for p := t.receive(time.Time{}); len(p) >= word; p = t.receive(time.Time{}) {
		switch wordOf(p, 0) {
		case handsGenerations:
			z.generations.take(p[word:])
		case handsRecords:
			z.takeRecords(p[word:])
		}
	}
	t.closeFiles()
	t.in = nil
	t.end()
	return t.taken.Load() - taken, t.dropped.Load() - dropped
}

// takeRecords stores the records of a message.
func (z *Zone) takeRecords(p []byte) {
	t := &z.takeover
	for len(p) > 0 {
		key, r, uses, rest := parseEntry(p)
		if p = rest; r.kind() == 0 || !z.takeRecord(key, r) {
			t.dropped.Add(1)
			continue
		}
		t.taken.Add(1)
		for range min(uses, usesMax) { // it is worth as much as it was
			t.value, _ = z.records.Get(t.value[:0], key)
		}
	}
}

// parseEntry returns the record with which p begins, nil where it is damaged, and what comes after it.
func parseEntry(p []byte) (key []byte, r record, uses uint64, rest []byte) {
	if len(p) < entryHead {
		return nil, nil, 0, nil
	}
	keyLen, size := wordOf(p, 2), wordOf(p, 3)
	if room := uint64(len(p) - entryHead); keyLen > room || size > room-keyLen {
		return nil, nil, 0, nil
	}
	at := entryHead + keyLen
	if xxhash.Sum64(p[word:at+size]) != wordOf(p, 0) {
		return nil, nil, 0, p[at+size:]
	}
	return p[entryHead:at], record(p[at : at+size]), wordOf(p, 1), p[at+size:]
}

// takeRecord stores r under a key, with its body where that has come with it. It reports false where it does not.
func (z *Zone) takeRecord(key []byte, r record) bool {
	t := &z.takeover
	switch {
	case r.kind() == isAnswer && r.until() > z.wallNow(): // it came later than now: the clock was set back
		return false
	case r.file() == 0:
		return z.set(key, r)
	case len(t.files) == 0:
		return false
	}
	b := z.bodies.adoptFile(t.file(), int64(r.bodyLen()))
	if b == nil {
		return false
	}
	defer b.Release()
	r.setFile(b.number)
	z.bodies.keep(b)
	ok := z.set(key, r)
	if !ok {
		z.bodies.store.Delete(b.number)
	}
	return ok
}
