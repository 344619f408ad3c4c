package bytelog

import (
	"fmt"
	"os"
	"runtime"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// An entry that one reader has found is found by all that begin later: its location is the last thing that is written.
// The entry is added to the other line of its pair, so that its own line has to tell that.
func TestIndex_whatIsSeenIsFound(t *testing.T) {
	const hash = 0x1234_5600_0000_0000
	rounds := int64(testutil.RaceRounds(20_000))
	x := newIndex(1)
	own := &x.lines[x.home(hash)]
	at := slot{&x.lines[x.home(hash)^1], 3}
	var round, seen atomic.Int64
	go func() {
		for n := int64(1); n <= rounds; n++ {
			x.add(at, hash, locationOf(hash, location(n)))
			round.Store(n)
			for seen.Load() != n {
				runtime.Gosched()
			}
			x.remove(at, hash)
			x.add(at, hash^0xff<<40, locationOf(hash^0xff<<40, 0)) // another tag
			x.remove(at, hash^0xff<<40)
		}
	}()
	for n := int64(1); n <= rounds; n++ {
		for spins := 1; at.load().place() != location(n); spins++ {
			if spins%1000 == 0 {
				runtime.Gosched()
			}
		}
		elsewhere, tags := own[0].Load()>>elsewhereShift, at.words[0].Load()
		if elsewhere == 0 || candidates(tags, hash) == 0 {
			t.Errorf("round %d: %d are elsewhere, tags %x", n, elsewhere, tags)
		}
		seen.Store(n)
	}
}

// The copy of a record that moves inside main is counted as memory.
func TestShards_countsTheMovingRecord(t *testing.T) {
	var s Shards
	testutil.Must(t, s.Open(1<<20, 1))
	before := s.Counts().Bytes
	value := make([]byte, 100_000)
	for n := byte(0); len(s.each[0].moving) == 0 && n < 200; n++ {
		s.Set([]byte{n % 20}, value, 0, nil)
		s.Get(nil, []byte{0})
	}
	if more := s.Counts().Bytes - before; more < int64(len(value)) {
		t.Errorf("%d bytes more, with a copy of %d", more, len(value))
	}
}

// The memory goes back to the kernel when nothing refers to the shards any more.
func TestShards_giveTheMemoryBack(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("reads /proc/self/statm")
	}
	const size, rounds = 256 << 20, 20
	pages := func() (n int64) {
		text := testutil.ReadFile(t, "/proc/self/statm")
		if _, err := fmt.Sscan(string(text), &n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	before := pages()
	for range rounds {
		var s Shards
		testutil.Must(t, s.Open(size, 1))
		s.Set([]byte("key"), []byte("value"), 0, nil)
	}
	limit := before + 2*size/int64(os.Getpagesize())
	for range 10_000 {
		runtime.GC() // cleanups run in a goroutine after that
		if pages() < limit {
			return
		}
		runtime.Gosched()
	}
	t.Errorf("%d pages of address space, %d before", pages(), before)
}
