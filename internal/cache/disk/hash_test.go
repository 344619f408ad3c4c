package disk

import (
	"encoding/binary"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// colliding returns two keys whose XXH64 are the same for each second seed: the difference of the first words is one
// bit after the first round of a lane, and the second words undo it, if it is added and not subtracted.
func colliding() (a, b []byte) {
	const prime1, prime2 = 0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f
	second := uint64(prime2)
	inverse := second // modulo 2^64, by Newton
	for range 5 {
		inverse *= 2 - second*inverse
	}
	a, b = make([]byte, 64), make([]byte, 64)
	binary.LittleEndian.PutUint64(b, 1<<63)
	first := uint64(prime1)
	binary.LittleEndian.PutUint64(b[32:], -(first<<30)*inverse)
	return a, b
}

// A client that chooses its keys does not choose which records of others it displaces, whatever the seed is.
func TestStore_hashesCannotBeMadeTheSame(t *testing.T) {
	r := begin(t)
	a, b := colliding()
	for seed := range uint64(64) {
		if r.Store.opts.Seed = seed; r.hash(a) == r.hash(b) {
			t.Fatalf("two keys have one hash with the seed %d", seed)
		}
	}
}

func TestStore_hashOfASeed(t *testing.T) {
	r := begin(t)
	one := r.hash([]byte("a"))
	if r.Store.opts.Seed++; r.hash([]byte("a")) == one {
		t.Error("another seed has the same hash")
	}
}

func TestStore_hashAllocatesNothing(t *testing.T) {
	r := begin(t)
	key := make([]byte, 200)
	if n := testutil.Allocs(100, func() { r.hash(key) }); n != 0 {
		t.Errorf("%v objects", n)
	}
}
