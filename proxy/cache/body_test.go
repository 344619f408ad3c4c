package cache

import (
	"bytes"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Nothing begins and nothing grows above the share, and what is released is free again.
func TestBodies_share(t *testing.T) {
	const share = 16 << 20
	b := &bodies{}
	b.init(share)
	b.least = 0 // whatever this process may open
	if b.largest() != share/16 {
		t.Errorf("the largest body has %d bytes", b.largest())
	}
	var all []*body
	for one := b.begin(500_000); one != nil; one = b.begin(500_000) {
		all = append(all, one)
	}
	if n := len(all); n != share/(123*pageSize+bodyCost) {
		t.Errorf("%d bodies of %d bytes in %d", n, 500_000, share)
	}
	if all[0].grow(1 << 20) {
		t.Error("a body grows above the share")
	}
	all[1].Release()
	if !all[0].grow(600_000) || b.live.Load() > share {
		t.Errorf("no room after a release: %d of %d bytes", b.live.Load(), share)
	}
	for i, one := range all {
		if i != 1 {
			one.Release()
		}
	}
	if n := b.live.Load(); n != 0 {
		t.Errorf("%d bytes are charged for nothing", n)
	}
	b = &bodies{}
	if b.init(1 << 20); b.begin(100) != nil {
		t.Error("a share of 1 MiB has a body, which 64 KiB in a record would be")
	}
}

// By a reference the right bytes are read, while other goroutines evict the body, and close the store.
func TestBodies_concurrent(t *testing.T) {
	b := &bodies{}
	b.init(8 << 20)
	var group sync.WaitGroup
	for seed := range 4 {
		group.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(seed), 0))
			want, got := make([]byte, 100_000), make([]byte, 100_000)
			for range 300 {
				if one := b.begin(int64(len(want))); one != nil {
					for i := range want {
						want[i] = byte(one.number)
					}
					if !one.write(want, 0) {
						t.Error("it is not written")
					}
					b.keep(one)
					one.Release()
				}
				number := 1 + rng.Uint64N(b.last.Load()+1)
				one := b.take(number)
				if one == nil {
					continue
				}
				if rng.IntN(4) == 0 {
					b.store.Delete(number)
				}
				n, err := one.file.ReadAt(got, 0)
				if err != nil || n != len(got) || bytes.Count(got, []byte{byte(number)}) != n {
					t.Errorf("body %d: %d bytes, %v", number, n, err)
				}
				one.Release()
			}
			if seed == 0 {
				b.close()
			}
		})
	}
	group.Wait()
	if n := b.live.Load(); n != 0 || b.store.Len() != 0 {
		t.Errorf("%d bytes, %d bodies after the end", n, b.store.Len())
	}
}

// Clients that do not take a body which has left the store lose it when their time is over and its room is needed, and
// no earlier. What another process may have, and what the disk reads, is not cut.
func TestBodies_cut(t *testing.T) {
	b := &bodies{}
	b.init(8 << 20)
	b.least = 0
	var all []*body
	for one := b.begin(400_000); one != nil; one = b.begin(400_000) {
		if !one.write([]byte("text"), 0) {
			t.Fatal("no memory")
		}
		all = append(all, one)
	}
	over := func(one *body) {
		b.mu.Lock()
		defer b.mu.Unlock()
		one.until = time.Now().Add(-1)
	}
	for _, one := range all[:4] { // as if the store had one more reference
		if !one.Take() {
			t.Fatal("it is closed")
		}
		b.leave(one)
	}
	all[0].pin(1)
	all[1].pin(1)
	all[1].pin(-1)
	if one := b.begin(400_000); one != nil {
		t.Fatal("a body is cut before its time")
	}
	for _, one := range all[:3] {
		over(one)
	}
	for range 2 {
		one := b.begin(400_000)
		if one == nil {
			t.Fatal("clients that do not read keep the room")
		}
		all = append(all, one)
	}
	if b.begin(400_000) != nil {
		t.Error("a pinned body is cut, or one that has time")
	}
	for i, want := range []int64{4, 0, 0, 4} {
		testutil.Eventually(t, testutil.Patience, func() bool {
			size, err := all[i].file.Size()
			return err == nil && size == want
		}, "the size of body", i)
	}
	for _, one := range all {
		one.Release()
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return b.live.Load() == 0 }, "nothing is charged")
	if len(b.left) > 0 {
		t.Errorf("%d bodies are remembered", len(b.left))
	}
}

// A body that a record names again after it has left the store is the store's: it is not cut.
func TestBodies_keptAgain(t *testing.T) {
	b := &bodies{}
	b.init(8 << 20)
	b.least = 0
	one := b.begin(400_000)
	if one == nil || !one.write([]byte("text"), 0) {
		t.Fatal("no memory")
	}
	b.keep(one)
	b.store.Delete(one.number) // another reactor needs the room, while a 304 renews the record
	b.keep(one)
	one.Release()
	b.mu.Lock()
	if len(b.left) > 0 {
		one.until = time.Now().Add(-1)
	}
	b.mu.Unlock()
	if b.cut(); b.take(one.number) == nil {
		t.Fatal("the store has no body")
	}
	if size, err := one.file.Size(); err != nil || size != 4 || one.isCut {
		t.Errorf("a body in the store has %d bytes, %v", size, err)
	}
	one.Release()
	if b.close(); b.live.Load() != 0 || len(b.left) > 0 {
		t.Errorf("%d bytes, %d bodies are left", b.live.Load(), len(b.left))
	}
}
