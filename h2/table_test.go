package h2

import (
	"math/rand/v2"
	"testing"
)

// The table beside a map, with streams that come and go in any order.
func TestTable_isAMap(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	var tab table
	model := map[uint32]*Stream{}
	var ids []uint32
	next := uint32(1)
	for range 20000 {
		if len(ids) < 200 && rng.IntN(2) == 0 {
			s := &Stream{ID: next}
			next += 2 * (1 + uint32(rng.IntN(3)/2*rng.IntN(500)))
			tab.put(s)
			model[s.ID], ids = s, append(ids, s.ID)
		} else if len(ids) > 0 {
			i := rng.IntN(len(ids))
			tab.del(model[ids[i]])
			delete(model, ids[i])
			ids[i] = ids[len(ids)-1]
			ids = ids[:len(ids)-1]
		}
		if tab.count != len(model) {
			t.Fatalf("%d in the table, %d in the map", tab.count, len(model))
		}
		for range 5 {
			id := uint32(rng.IntN(int(next)+10)) | 1
			if tab.get(id) != model[id] {
				t.Fatalf("stream %d", id)
			}
		}
	}
	for id, s := range model {
		if tab.get(id) != s {
			t.Errorf("stream %d is lost", id)
		}
	}
	if len(tab.slots) > 1024 {
		t.Errorf("%d slots for 200 streams", len(tab.slots))
	}
}

func TestHistory_forgetsTheOldest(t *testing.T) {
	var h history
	if h.find(1) != unknown {
		t.Error("knows what never was")
	}
	for id := uint32(1); id < 2*historyLen+101; id += 2 {
		h.note(id, ending(1+id/2%3))
	}
	for id := uint32(1); id < 2*historyLen+101; id += 2 {
		want := ending(1 + id/2%3)
		if id < 101 {
			want = unknown
		}
		if got := h.find(id); got != want {
			t.Errorf("stream %d: %d, want %d", id, got, want)
		}
	}
	h.note(idMax, peerReset)
	if h.find(idMax) != peerReset {
		t.Error("the highest number")
	}
}
