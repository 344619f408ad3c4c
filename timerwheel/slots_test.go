package timerwheel

import (
	"math"
	"reflect"
	"testing"
	"time"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// newSlots is a Slots at time now with room for n.
func newSlots(n int, now int64) *Slots {
	s := new(Slots)
	s.Init(now)
	s.Grow(n)
	return s
}

// firedBy is what an Advance to now fires, in its order.
func firedBy(s *Slots, now int64, limit int) (fired []uint32) {
	s.Advance(now, limit, func(i uint32, _ int64) { fired = append(fired, i) })
	return fired
}

func (s *Slots) want(t *testing.T, now int64, want ...uint32) {
	t.Helper()
	if got := firedBy(s, now, 1000); !reflect.DeepEqual(got, want) {
		t.Fatalf("at %d fired %v, want %v", now, got, want)
	}
}

// A cache has one for each entry: next, prev and tick of four bytes each. The garbage collector looks for pointers, so
// there is none.
func TestSlots_twelveBytesATimer(t *testing.T) {
	if size := unsafe.Sizeof(slotTimer{}); size != 12 {
		t.Fatalf("a timer takes %d bytes", size)
	}
	const n = 100_000
	var s Slots
	s.Grow(n)
	if cap(s.timers) != n || s.Cap() != n {
		t.Fatalf("room for %d of %d", cap(s.timers), n)
	}
	for field := range reflect.TypeFor[slotTimer]().Fields() {
		if field.Type.Kind() != reflect.Uint32 {
			t.Errorf("%s is %v", field.Name, field.Type)
		}
	}
	if size := unsafe.Sizeof(s); size > 2304 { // a cache has one in each of some dozen shards
		t.Errorf("a Slots without timers takes %d bytes", size)
	}
}

func TestSlots_zeroValueIsReady(t *testing.T) {
	var s Slots
	if s.Next() != -1 || s.Len() != 0 || s.Cap() != 0 || s.Advance(granule, 1, nil) != 0 {
		t.Fatal("an empty one has something to do")
	}
	s.Grow(1)
	s.Arm(0, 2*granule-1)
	if s.Next() != 2*granule || s.At(0) != 2*granule || !s.Armed(0) {
		t.Fatalf("Next %d, At %d", s.Next(), s.At(0))
	}
	s.want(t, 2*granule, 0)
	if s.Armed(0) || s.At(0) != -1 || s.Next() != -1 {
		t.Fatal("still armed")
	}
}

// Near deadlines are a granule late at most, far ones a far granule: 4.3 s of 26 days or more.
func TestSlots_firesWithinAGranule(t *testing.T) {
	for _, start := range []int64{0, 123_456_789_012_345, 1<<52 - 5, 1<<61 + 12345} {
		for shift := range 61 {
			for _, d := range []int64{-1, 0, 1} {
				at := start + 1<<shift + d
				s := newSlots(1, start)
				s.Arm(0, at)
				now := start
				for steps := 0; s.Armed(0); steps++ {
					if steps > levels {
						t.Fatalf("in 2^%d ns: %d wake-ups", shift, steps)
					}
					now = s.Next()
					s.Advance(now, 10, func(uint32, int64) {})
				}
				late := granule
				if at-start > nearMask<<granuleBits {
					late = granule << farBits
				}
				if now < at || now >= at+late && at > start+granule {
					t.Fatalf("in 2^%d ns: %d ns late", shift, now-at)
				}
			}
		}
	}
}

func TestSlots_neverFiresTheEndOfTime(t *testing.T) {
	s := newSlots(2, 0)
	s.Arm(0, math.MaxInt64)
	s.Arm(1, math.MaxInt64-granule<<farBits+2)
	if s.Next() != math.MaxInt64 || s.At(0) != math.MaxInt64 || s.At(1) != math.MaxInt64 {
		t.Fatalf("Next %d, At %d, %d", s.Next(), s.At(0), s.At(1))
	}
	s.want(t, math.MaxInt64-granule)
	s.want(t, math.MaxInt64)
	if s.Next() != math.MaxInt64 || s.Len() != 2 {
		t.Fatalf("Next %d", s.Next())
	}
}

func TestSlots_movedLaterKeepsItsEntry(t *testing.T) {
	s := newSlots(1, 0)
	s.Arm(0, 5*granule)
	s.Arm(0, 9*granule)
	if s.Next() != 5*granule || s.At(0) != 9*granule {
		t.Fatalf("Next %d, At %d", s.Next(), s.At(0))
	}
	s.want(t, 5*granule)
	if s.Next() != 9*granule {
		t.Fatalf("Next %d", s.Next())
	}
	s.Arm(0, 7*granule) // earlier: relinked
	if s.Next() != 7*granule {
		t.Fatalf("Next %d", s.Next())
	}
}

func TestSlots_leavesTheRestDue(t *testing.T) {
	s := newSlots(100, 0)
	for i := range uint32(100) {
		s.Arm(i, 70*granule) // level 1: each is touched twice
	}
	now, fired := 70*granule, 0
	for left := 200; left > 0; left -= 8 {
		if s.Next() > now {
			t.Fatalf("%d entries to touch, Next is %d after now", left, s.Next()-now)
		}
		if n := s.Advance(now, 8, func(uint32, int64) { fired++ }); n != 8 {
			t.Fatalf("touched %d with %d left", n, left)
		}
	}
	if fired != 100 || s.Next() != -1 {
		t.Fatalf("fired %d, Next %d", fired, s.Next())
	}
}

func TestSlots_armedByFireFiresInALaterAdvance(t *testing.T) {
	s := newSlots(1, 0)
	s.Arm(0, 63*granule)
	for i := range int64(3) {
		n := 0
		s.Advance((64+i)*granule, 1000, func(i uint32, now int64) {
			n++
			s.Arm(i, now-1)
		})
		if n != 1 {
			t.Fatalf("fired %d times", n)
		}
	}
}

func TestSlots_disarmedByFireDoesNotFire(t *testing.T) {
	s := newSlots(10, 0)
	for i := range uint32(10) {
		s.Arm(i, granule)
	}
	n := 0
	s.Advance(granule, 100, func(uint32, int64) {
		n++
		for i := range uint32(10) {
			s.Disarm(i)
		}
	})
	if n != 1 || s.Len() != 0 {
		t.Fatalf("fired %d, armed %d", n, s.Len())
	}
}

// A timer is the first, a middle one, and the last of its slot's list.
func TestSlots_moveTakesTheDeadlineAlong(t *testing.T) {
	for from := range uint32(3) {
		s := newSlots(5, 0)
		for i := range uint32(3) {
			s.Arm(i, 3*granule)
		}
		s.Arm(3, granule) // is dropped
		s.Move(from, 3)
		s.Move(3, 3)
		if s.Armed(from) || s.At(3) != 3*granule || s.Len() != 3 {
			t.Fatalf("after Move(%d, 3): At %d, Len %d", from, s.At(3), s.Len())
		}
		s.check()
		s.want(t, 2*granule)
		if n := len(firedBy(s, 3*granule, 10)); n != 3 {
			t.Fatalf("after Move(%d, 3): fired %d", from, n)
		}
		s.Arm(1, 9*granule)
		s.Move(0, 1) // nothing is nothing there too
		if s.Len() != 0 {
			t.Fatal("a move from a disarmed timer left one armed")
		}
	}
}

func TestSlots_growKeepsWhatIsArmed(t *testing.T) {
	s := newSlots(1, 0)
	s.Arm(0, granule)
	s.Advance(granule, 10, func(uint32, int64) {
		s.Grow(1000)
		s.Arm(999, 5*granule)
		s.Arm(0, 4*granule)
	})
	s.Grow(10) // never shrinks
	if s.Cap() != 1000 || s.Len() != 2 {
		t.Fatalf("Cap %d, Len %d", s.Cap(), s.Len())
	}
	s.want(t, 4*granule, 0)
	s.want(t, 5*granule, 999)
	testutil.Panics(t, "growth beyond SlotsMax", func() { s.Grow(SlotsMax + 1) })
}

func TestSlots_initForgets(t *testing.T) {
	s := newSlots(3, 0)
	s.Arm(1, granule)
	s.Init(100 * granule)
	if s.Armed(1) || s.Len() != 0 || s.Next() != -1 || s.Cap() != 3 {
		t.Fatal("something is left")
	}
	s.Arm(1, 0)
	s.want(t, 101*granule, 1)
}

func TestSlots_doesNotAllocate(t *testing.T) {
	s := newSlots(2, 0)
	now, fired := int64(0), 0
	if n := testutil.Allocs(1000, func() {
		s.Arm(0, now+int64(time.Second))
		s.Arm(0, now+int64(time.Minute))
		s.Disarm(0)
		s.Arm(0, now+1)
		s.Move(0, 1)
		now += 100 * granule
		s.Advance(now, 100, func(uint32, int64) { fired++ })
	}); n != 0 || fired == 0 {
		t.Fatalf("%v allocations, %d fired", n, fired)
	}
}
