package bytelog

import (
	"runtime"
	"sync/atomic"
	"testing"
)

// An entry that one reader has found is found by all that begin later: its location is the last thing that is written.
// The entry is added to the other line of its pair, so that its own line has to tell that.
func TestIndex_whatIsSeenIsFound(t *testing.T) {
	const hash = 0x1234_5600_0000_0000
	x := newIndex(1)
	own := &x.lines[x.home(hash)]
	at := slot{&x.lines[x.home(hash)^1], 3}
	var round, seen atomic.Int64
	go func() {
		for n := int64(1); n <= 20_000; n++ {
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
	for n := int64(1); n <= 20_000; n++ {
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
