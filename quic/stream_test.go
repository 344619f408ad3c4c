package quic

import (
	"slices"
	"testing"
)

// Streams have their turns by urgency. Of equal ones those that are not incremental go by their age, the others by
// turns.
func TestList_priorities(t *testing.T) {
	l := streamList{which: sendingLinks}
	streams := map[uint64]*Stream{}
	for i, x := range []struct {
		urgency uint8
		serial  bool
	}{{3, true}, {3, false}, {0, false}, {3, true}, {7, false}, {0, false}, {1, true}} {
		streams[uint64(i)] = &Stream{ID: uint64(i), urgency: x.urgency, serial: x.serial}
	}
	want := func(ids ...uint64) {
		t.Helper()
		var got, back []uint64
		for s := l.first; s != nil; s = s.sending.next {
			got = append(got, s.ID)
		}
		for s := l.last; s != nil; s = s.sending.prev {
			back = append(back, s.ID)
		}
		if slices.Reverse(back); !slices.Equal(got, ids) || !slices.Equal(back, ids) {
			t.Errorf("%v, %v backwards, want %v", got, back, ids)
		}
	}
	for i := range uint64(7) {
		l.push(streams[i])
		l.push(streams[i])
	}
	want(2, 5, 6, 0, 1, 3, 4)
	for _, id := range []uint64{2, 6, 0} { // each had its turn
		if !l.remove(streams[id]) || l.remove(streams[id]) {
			t.Error("it is not in the list once")
		}
		l.push(streams[id])
	}
	want(5, 2, 6, 0, 1, 3, 4)
	for _, id := range []uint64{5, 4, 3, 2, 0} {
		l.remove(streams[id])
	}
	want(6, 1)
}
