package cache

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/cache/disk"
	"github.com/edge-proxy/edge/internal/cache/policy"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// succession is two Zones, of which the new one takes over from the old one.
type succession struct {
	*testing.T
	old, new *Zone
	offer    *Offer
	gone     atomic.Bool // the new one is asked
}

func newSuccession(t *testing.T, edit func(o *Options)) *succession {
	s := &succession{T: t}
	s.old = zoneOf(t, Options{Elsewhere: s.gone.Load})
	s.follow(edit)
	return s
}

func zoneOf(t *testing.T, o Options) *Zone {
	o.Reactors = 1
	o.Memory, o.Bodies = max(o.Memory, 16<<20), max(o.Bodies, 8<<20)
	z, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(z.Close)
	z.queries.add(&Query{})
	return z
}

// follow makes the new Zone.
func (s *succession) follow(edit func(o *Options)) {
	s.Helper()
	var err error
	if s.offer, err = s.old.Offer(); err != nil {
		s.Fatal(err)
	}
	s.Cleanup(s.offer.Close)
	o := Options{From: dup(s.T, s.offer.Theirs)}
	if edit != nil {
		edit(&o)
	}
	s.new = zoneOf(s.T, o)
	s.offer.CloseTheirs()
}

// dup is what another process gets of a descriptor.
func dup(t *testing.T, f *os.File) *os.File {
	fd, err := unix.Dup(int(f.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "dup")
}

// hand hands over, and returns how many records came, and how many were dropped.
func (s *succession) hand() (taken, dropped uint64) {
	s.gone.Store(true)
	var wg sync.WaitGroup
	wg.Go(s.offer.Give)
	taken, dropped = s.new.Take()
	wg.Wait()
	return taken, dropped
}

// put stores an answer for a URL, with a body of n bytes, and returns its key.
func put(t *testing.T, z *Zone, url string, n int) []byte {
	t.Helper()
	r := record(appendHeader(nil, isAnswer, z.wallNow(), 0))
	r.setFresh(&policy.Freshness{Received: z.wallNow(), Lifetime: int64(time.Minute)})
	stamp := z.generations.next(z.wallNow())
	r.setStamps(stamp, stamp)
	body, key := bytes.Repeat([]byte(url), n/len(url)+1)[:n], []byte("key of "+url)
	if n < fileMin {
		r = append(r, body...)
		r.setBodyLen(n)
	} else {
		b := z.bodies.begin(int64(n))
		if b == nil || !b.write(body, 0) {
			t.Fatal("no room")
		}
		z.bodies.keep(b)
		b.Release()
		r = r.appendFile(b.number, int64(n))
	}
	if !z.set(key, r) {
		t.Fatal("not stored")
	}
	return key
}

// bodyUnder returns the body of the answer under a key; nil: there is none.
func bodyUnder(t *testing.T, z *Zone, key []byte) []byte {
	t.Helper()
	r := z.locals[0].get(key, z.wallNow())
	if r == nil {
		return nil
	}
	if r.file() == 0 {
		return slices.Clone(r.body())
	}
	b := z.bodies.take(r.file())
	defer b.Release()
	body := make([]byte, r.bodyLen())
	if _, err := b.file.ReadAt(body, 0); err != nil {
		t.Fatal(err)
	}
	return body
}

// dead reports whether the answer under a key, for a URL, was purged.
func dead(z *Zone, key []byte, url string) bool {
	r := z.locals[0].get(key, z.wallNow())
	return z.generations.judge(r.stamp(), r.confirmed(), subjectOf(url, url)).dead
}

func purgeURL(t *testing.T, z *Zone, url string) {
	t.Helper()
	if _, err := z.Purge(&Purge{Kind: PurgeURL, Name: url}); err != nil {
		t.Fatal(err)
	}
}

// All records come, with their bodies and times. What was purged stays so.
func TestOffer_handsOver(t *testing.T) {
	for name, edit := range map[string]func(o *Options){
		"as large": nil, "larger": func(o *Options) { o.Memory = 64 << 20 },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSuccession(t, edit)
			sizes, want := []int{0, 1000, 30_000, 40_000, 400_000}, make(map[string][]byte)
			for i := range 200 {
				url := fmt.Sprintf("http://a.test/%d", i)
				key := put(t, s.old, url, sizes[i%len(sizes)])
				want[string(key)] = bodyUnder(t, s.old, key)
				if i%10 == 0 {
					purgeURL(t, s.old, url)
				}
			}
			now := s.old.wallNow()
			s.old.set([]byte("list"), appendList(nil, now+int64(time.Minute), 7, []byte("accept")))
			s.old.set([]byte("marker"), appendMarker(nil, now+int64(time.Minute), policy.Everybody, policy.ReasonVary))
			taken, dropped := s.hand()
			if taken+dropped < 100 || dropped > 20 {
				t.Errorf("%d records came, and %d were dropped", taken, dropped)
			}
			there := 0
			for i := range 200 {
				url := fmt.Sprintf("http://a.test/%d", i)
				key := []byte("key of " + url)
				body := bodyUnder(t, s.new, key)
				if body == nil {
					continue
				}
				there++
				if !bytes.Equal(body, want[string(key)]) {
					t.Errorf("%s: %d bytes, not %d", url, len(body), len(want[string(key)]))
				}
				if dead(s.new, key, url) != (i%10 == 0) {
					t.Errorf("%s: purged is %v", url, i%10 != 0)
				}
			}
			// Some give way to others as they come: there is room for three quarters of the bodies.
			if there < int(taken)-12 || s.old.records.Len() != 0 || s.old.bodies.live.Load() != 0 {
				t.Errorf("%d of %d are there; %d are left, and %d bytes", there, taken, s.old.records.Len(),
					s.old.bodies.live.Load())
			}
			if r := s.new.locals[0].get([]byte("list"), now); string(r.names()) != "accept" || r.id() != 7 {
				t.Errorf("list %x", r)
			}
			if s.old.set([]byte("late"), appendList(nil, now+int64(time.Minute), 7, nil)) {
				t.Error("the process that has handed over stores something")
			}
		})
	}
}

// An answer that came later than now is not taken: the clock was set back.
func TestOffer_clockSetBack(t *testing.T) {
	s := newSuccession(t, nil)
	key := put(t, s.old, "http://a.test/", 10)
	r := slices.Clone(s.old.locals[0].get(key, 0))
	binary.LittleEndian.PutUint64(r[8:], uint64(s.old.wallNow()+int64(time.Hour)))
	s.old.set(key, r)
	if taken, dropped := s.hand(); taken != 0 || dropped != 1 {
		t.Errorf("%d taken, %d dropped", taken, dropped)
	}
}

// Purges of one process count in all that live, whatever they store by then.
func TestNotices(t *testing.T) {
	s := newSuccession(t, nil)
	zones := []*Zone{s.old, s.new}
	for range 3 {
		s.old = zones[len(zones)-1]
		s.follow(nil)
		zones = append(zones, s.new)
	}
	for i, z := range zones {
		var keys [][]byte
		for j, other := range zones {
			keys = append(keys, put(t, other, fmt.Sprintf("http://a.test/%d/%d", i, j), 10))
		}
		for j := range zones {
			purgeURL(t, z, fmt.Sprintf("http://a.test/%d/%d", i, j))
		}
		for j, other := range zones {
			if other.Hear(); !dead(other, keys[j], fmt.Sprintf("http://a.test/%d/%d", i, j)) {
				t.Errorf("%d has purged what %d has, which does not know", i, j)
			}
			if other.generations.news() {
				t.Errorf("%d has not heard all", j)
			}
		}
		for j, other := range zones { // what comes later is alive
			url := fmt.Sprintf("http://a.test/%d/%d", i, j)
			if key := put(t, other, url, 10); dead(other, key, url) {
				t.Errorf("%d: what was asked for after the purge is dead", j)
			}
		}
	}
}

// A process that does not look for long takes all for purged.
func TestNotices_tooMany(t *testing.T) {
	s := newSuccession(t, nil)
	key := put(t, s.new, "http://a.test/", 10)
	for i := range noticesMax {
		purgeURL(t, s.old, fmt.Sprintf("http://b.test/%d", i))
	}
	if s.new.Hear(); !dead(s.new, key, "http://a.test/") {
		t.Error("it is alive")
	}
	key = put(t, s.new, "http://a.test/", 10)
	for i := range noticesMax - 1 {
		purgeURL(t, s.old, fmt.Sprintf("http://b.test/%d", i))
	}
	if s.new.Hear(); dead(s.new, key, "http://a.test/") {
		t.Error("it is dead")
	}
}

// While several processes purge and look, each purge counts once it has returned.
func TestNotices_atOnce(t *testing.T) {
	s := newSuccession(t, nil)
	rounds := testutil.Rounds(2000)
	var wg sync.WaitGroup
	for i, z := range []*Zone{s.old, s.new} {
		other := []*Zone{s.new, s.old}[i]
		for g := range 2 {
			wg.Go(func() {
				for n := range rounds {
					url := fmt.Sprintf("http://a.test/%d/%d/%d", i, g, n)
					stamp := other.generations.next(other.wallNow())
					if _, err := z.Purge(&Purge{Kind: PurgeURL, Name: url}); err != nil {
						t.Error(err)
						return
					}
					if other.Hear(); !other.generations.judge(stamp, stamp, subjectOf(url, url)).dead {
						t.Errorf("%s is alive", url)
						return
					}
				}
			})
		}
	}
	wg.Wait()
}

// A process that takes nothing, or ends, costs no more than what it has got.
func TestOffer_nobodyTakes(t *testing.T) {
	s := newSuccession(t, nil)
	for i := range 100 {
		put(t, s.old, fmt.Sprintf("http://a.test/%d", i), 20_000)
	}
	s.new.Close()
	s.offer.Give()
	if n := s.old.records.Len(); n == 0 {
		t.Error("all is lost")
	}
	if taken, dropped := s.new.Take(); taken+dropped != 0 {
		t.Errorf("%d, %d", taken, dropped)
	}
}

// A process whose disk has another seed takes nothing: it cannot know what a purge of the other process names.
func TestOffer_anotherDisk(t *testing.T) {
	o := disk.Options{Path: t.TempDir(), Size: 64 << 20}
	before := zoneOf(t, Options{Disk: o})
	if err := before.OpenDisk(); err != nil {
		t.Fatal(err)
	}
	before.Close()
	s := newSuccession(t, func(new *Options) { new.Disk = o })
	put(t, s.old, "http://a.test/", 10)
	if taken, dropped := s.hand(); taken+dropped != 0 || s.new.generations.seed == s.old.generations.seed {
		t.Errorf("%d taken, %d dropped", taken, dropped)
	}
	if err := s.new.OpenDisk(); err != nil {
		t.Error(err)
	}
}

// What is no offer makes an empty Zone.
func TestNew_fromNoOffer(t *testing.T) {
	for name, hello := range map[string]string{
		"nothing": "", "another version": strings.Repeat("x", 3*word),
		"short":         string(appendWords(nil, handsHello)),
		"no descriptor": string(appendWords(nil, handsHello, 1, 2)),
		"another page":  string(appendWords(nil, handsHello, noticePages, 2)),
	} {
		fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := unix.Write(fds[1], []byte(hello)); err != nil {
			t.Fatal(err)
		}
		_ = unix.Close(fds[1])
		z := zoneOf(t, Options{From: os.NewFile(uintptr(fds[0]), name)})
		if taken, dropped := z.Take(); taken+dropped != 0 {
			t.Errorf("%s: %d, %d", name, taken, dropped)
		}
		put(t, z, "http://a.test/", 10)
	}
	f, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	put(t, zoneOf(t, Options{From: f}), "http://a.test/", 10)
}

// FuzzTake gives a Zone whatever messages. A record that it stores has the sum that its sender has computed.
func FuzzTake(f *testing.F) {
	o := &Offer{}
	r := record(appendList(nil, 1<<62, 7, []byte("accept")))
	o.begin(handsRecords)
	o.add([]byte("key"), r, 1)
	o.add([]byte("other"), r, 0)
	f.Add(slices.Clone(o.out))
	o.begin(handsGenerations)
	f.Add(append(slices.Clone(o.out), make([]byte, tableHead+2*tableRow)...))
	f.Fuzz(func(t *testing.T, p []byte) {
		if len(p) < word || len(p) > 1<<16 {
			return
		}
		z := newZone(t)
		switch binary.LittleEndian.Uint64(p) {
		case handsGenerations:
			z.generations.take(p[word:])
		case handsRecords:
			z.takeRecords(p[word:])
		}
	})
}

// A record that was damaged on its way is dropped, and counted; those beside it are stored.
func TestZone_takesNothingDamaged(t *testing.T) {
	var o Offer
	now := time.Now().UnixNano()
	r := record(appendList(nil, now+int64(time.Minute), 7, []byte("accept")))
	o.begin(handsRecords)
	o.add([]byte("key"), r, 1)
	one := len(o.out)
	o.add([]byte("key"), r, 1)
	for i := word; i < one; i++ {
		z := newZone(t)
		p := slices.Clone(o.out[:one])
		p[i] ^= 1 << (i % 8)
		z.takeRecords(p[word:])
		if s := z.Stats(); s.Objects != 0 || s.Taken != 0 || s.Dropped == 0 {
			t.Fatalf("byte %d: %d objects, %d taken, %d dropped", i, s.Objects, s.Taken, s.Dropped)
		}
		z.takeRecords(o.out[one:])
		if z.locals[0].get([]byte("key"), now) == nil {
			t.Fatal("a good one is not stored after that")
		}
		z.takeRecords(o.out[word:i])
	}
	file := newZone(t)
	r = record(appendHeader(nil, isAnswer, now, 0)).appendFile(1, 100)
	o.begin(handsRecords)
	o.add([]byte("file"), r, 1)
	file.takeRecords(o.out[word:]) // its body has not come
	if s := file.Stats(); s.Objects != 0 || s.Dropped != 1 {
		t.Errorf("%+v", s)
	}
}
