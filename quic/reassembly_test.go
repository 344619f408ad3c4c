package quic

import (
	"bytes"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func TestPage_isFourKiB(t *testing.T) {
	if unsafe.Sizeof(page{}) != pageSize || unsafe.Sizeof(table{}) != pageSize {
		t.Errorf("%d, %d: charges are made by 4 KiB", unsafe.Sizeof(page{}), unsafe.Sizeof(table{}))
	}
	if len(table{}) < streamGaps.most {
		t.Error("a stream may have more gaps than a table")
	}
}

// pattern returns the bytes of a stream from from to below to: each place has another neighbourhood.
func pattern(from, to int64) []byte {
	if to <= int64(len(patternStart)) {
		return patternStart[from:to:to]
	}
	return makePattern(from, to)
}

var patternStart = makePattern(0, 1<<20)

func makePattern(from, to int64) []byte {
	b := make([]byte, to-from)
	for i := range b {
		at := from + int64(i)
		b[i] = byte(at ^ at>>8*7 ^ at>>16*3)
	}
	return b
}

// reading is a stream that is put together, and what came out of it.
type reading struct {
	assembly
	arena Arena
	kept  kept
	out   []byte
}

func (r *reading) keeps() memory { return memory{&r.arena, &r.kept} }

func (r *reading) frame(from, to int64, end bool, limit gapLimit) *Error {
	now, err := r.take(r.keeps(), uint64(from), pattern(from, to), end, limit)
	r.out = append(r.out, now...)
	for more := r.more(r.keeps()); more != nil; more = r.more(r.keeps()) {
		r.out = append(r.out, more...)
	}
	return err
}

// checkPages checks that the Arena has got all back that is not charged.
func (r *reading) checkPages(t *testing.T) {
	t.Helper()
	if r.charged() != int(r.arena.Stats.Pages)*pageSize {
		t.Fatalf("%d charged, %d pages in use", r.charged(), r.arena.Stats.Pages)
	}
	if len(r.gaps) == 0 && r.charged() != 0 {
		t.Fatalf("%d charged for nothing", r.charged())
	}
}

func TestAssembly_deliversOnceAndInOrder(t *testing.T) {
	for seed := range uint64(testutil.RaceRounds(400)) {
		rnd := rand.New(rand.NewPCG(seed, 3))
		var r reading
		size := 1 + rnd.Int64N(60_000)
		came := make([]bool, size)
		inOrder := int64(0)
		for steps := 0; !r.ended(); steps++ {
			from := rnd.Int64N(size + 1)
			if steps > 60 {
				from = inOrder // so that it comes to an end
			}
			to := min(from+rnd.Int64N(1+rnd.Int64N(6000)), size)
			if err := r.frame(from, to, to == size, streamGaps); err != nil {
				t.Fatal(err)
			}
			for i := from; i < to; i++ {
				came[i] = true
			}
			for inOrder < size && came[inOrder] {
				inOrder++
			}
			if int64(len(r.out)) != inOrder || !bytes.Equal(r.out, pattern(0, inOrder)) {
				t.Fatalf("seed %d: %d bytes came out, want %d", seed, len(r.out), inOrder)
			}
			if most := (int(size-inOrder)/pageData + 3) * pageSize; r.charged() > most {
				t.Fatalf("%d charged for a window of %d", r.charged(), size-inOrder)
			}
			r.checkPages(t)
		}
		if inOrder != size || r.charged() != 0 {
			t.Fatalf("%d of %d, %d charged", inOrder, size, r.charged())
		}
	}
}

func TestAssembly_passesOnWhatComesInOrder(t *testing.T) {
	var s assembly
	k := memory{new(Arena), new(kept)}
	b := pattern(0, 100)
	now, err := s.take(k, 0, b, false, streamGaps)
	if err != nil || &now[0] != &b[0] || len(now) != 100 || s.more(k) != nil || s.charged() != 0 {
		t.Errorf("%v, %d bytes", err, len(now))
	}
	now, err = s.take(k, 90, pattern(90, 120), true, streamGaps)
	if err != nil || !bytes.Equal(now, pattern(100, 120)) || !s.ended() {
		t.Errorf("%v, %d bytes", err, len(now))
	}
}

func TestAssembly_differingBytes(t *testing.T) {
	var r reading
	if _, err := r.take(r.keeps(), 5, []byte("first"), false, streamGaps); err != nil {
		t.Fatal(err)
	}
	if _, err := r.take(r.keeps(), 8, []byte("other"), false, streamGaps); err != nil {
		t.Fatal(err)
	}
	now, _ := r.take(r.keeps(), 0, []byte("01234F"), false, streamGaps)
	if string(now) != "01234F" || string(r.more(r.keeps())) != "irother" || r.more(r.keeps()) != nil {
		t.Errorf("%q: each offset comes out once", now)
	}
	if now, _ := r.take(r.keeps(), 0, []byte("delivered"), false, streamGaps); now != nil {
		t.Errorf("%q came out again", now)
	}
}

func TestAssembly_finalSize(t *testing.T) {
	type step struct {
		from, to int64
		end      bool
		want     *Error
	}
	for name, steps := range map[string][]step{
		"moves":            {{0, 10, true, nil}, {0, 11, true, errFinalSize}, {0, 9, true, errFinalSize}},
		"data beyond it":   {{5, 10, true, nil}, {10, 11, false, errFinalSize}, {0, 10, false, nil}},
		"below what came":  {{5, 10, false, nil}, {0, 9, true, errFinalSize}, {10, 10, true, nil}},
		"an end alone":     {{0, 10, false, nil}, {10, 10, true, nil}},
		"an end far ahead": {{1e9, 1e9, true, nil}, {1e9, 1e9 + 1, false, errFinalSize}},
		"nothing":          {{0, 0, true, nil}, {0, 1, false, errFinalSize}},
	} {
		var r reading
		for i, s := range steps {
			if err := r.frame(s.from, s.to, s.end, streamGaps); err != s.want {
				t.Errorf("%s, step %d: %v", name, i, err)
			}
			r.checkPages(t)
		}
	}
	var s assembly
	if s.reach(100, true) != nil || s.reach(99, true) != errFinalSize || s.reach(100, true) != nil || s.ended() {
		t.Error("by RESET_STREAM")
	}
}

// Tiny pieces: what they cost is charged, and their number is bounded (RUSTSEC-2026-0185).
func TestAssembly_boundsGaps(t *testing.T) {
	for _, limit := range []gapLimit{streamGaps, cryptoGaps} {
		for _, distance := range []int64{2, 250} {
			var r reading
			for i := range int64(limit.most) {
				if err := r.frame(10+i*distance, 11+i*distance, false, limit); err != nil {
					t.Fatalf("%d gaps: %v", i, err)
				}
			}
			beyond := 10 + int64(limit.most)*distance
			if err := r.frame(beyond, beyond+1, false, limit); err != limit.fault {
				t.Errorf("%v", err)
			}
			if err := r.frame(1, 2, false, limit); err != limit.fault {
				t.Errorf("before the others: %v", err)
			}
			if err := r.frame(11, 12, false, limit); err != nil {
				t.Errorf("a piece that joins another is no gap more: %v", err)
			}
			r.checkPages(t)
			if most := (2 + int(int64(limit.most)*distance/pageData) + 1) * pageSize; r.charged() > most {
				t.Errorf("%d charged, want at most %d", r.charged(), most)
			}
			if err := r.frame(0, beyond, false, limit); err != nil || r.charged() != 0 {
				t.Errorf("%v, %d charged", err, r.charged())
			}
		}
	}
}

// A byte in each page: no more is kept than a share of what came, by all streams of a connection. What comes side by
// side is kept, however much of it is late.
func TestKept_boundsEmptyPages(t *testing.T) {
	const streams, each = 32, 15
	r := established(t, Server, Options{})
	for id := range uint64(streams) {
		for n := range int64(each) {
			at := (n+1)*pageData - 3
			r.in(OneRTT, streamFrame(r.theirs(TwoWay, id), at, at+1, false))
		}
	}
	most := sparseRoom/pageData + 1
	if tables := 1 + most/each; int(r.arena.Stats.Pages) > most+tables {
		t.Errorf("%d pages are kept for %d bytes", r.arena.Stats.Pages, streams*each)
	}
	if want := uint64(streams*each - most); r.arena.Stats.Gaps != want {
		t.Errorf("%d packets counted as lost, want %d", r.arena.Stats.Gaps, want)
	}
	r.wantOpen()
	id := r.theirs(TwoWay, 0)
	if r.in(OneRTT, streamFrame(id, 0, each*pageData, false)); len(r.got[id]) != each*pageData {
		t.Errorf("%d bytes came out of a stream whose gaps are filled", len(r.got[id]))
	}
}

func TestKept_takesAllThatComesDense(t *testing.T) {
	const streams, size, piece = 32, 40_000, 1150
	for seed := range uint64(20) {
		rnd := rand.New(rand.NewPCG(seed, 7))
		r := established(t, Server, Options{})
		var late [][]byte
		for id := range uint64(streams) {
			for at := int64(piece); at < size; at += piece { // the first piece of each is lost
				late = append(late, streamFrame(r.theirs(TwoWay, id), at, min(at+piece, size), at+piece >= size))
			}
		}
		rnd.Shuffle(len(late), func(i, j int) { late[i], late[j] = late[j], late[i] })
		for _, f := range late {
			r.in(OneRTT, f)
		}
		if r.arena.Stats.Gaps != 0 {
			t.Fatalf("seed %d: %d packets counted as lost", seed, r.arena.Stats.Gaps)
		}
		for id := range uint64(streams) {
			r.in(OneRTT, streamFrame(r.theirs(TwoWay, id), 0, piece, false))
		}
		for id := range uint64(streams) {
			if got := r.got[r.theirs(TwoWay, id)]; !bytes.Equal(got, pattern(0, size)) {
				t.Fatalf("seed %d: %d bytes of stream %d", seed, len(got), id)
			}
		}
		if k := r.conn.kept; k.pages != 0 || k.bytes != 0 {
			t.Fatalf("seed %d: %d pages and %d bytes are kept", seed, k.pages, k.bytes)
		}
	}
}

// What a peer has us hold is told to the caller, by what it costs.
func TestArena_lentToPeers(t *testing.T) {
	r := established(t, Server, Options{})
	before := r.arena.Lent()
	r.in(OneRTT, streamFrame(r.theirs(TwoWay, 127), 0, 1, false)) // opens all before it
	if n := r.arena.Lent() - before; n != 128*streamSize {
		t.Errorf("%d bytes for 128 streams of %d", n, streamSize)
	}
	half := newRig(t, Server, Options{})
	half.in(Initial, ping)
	half.write[OneRTT].init(aes128GCM, rigSecret[OneRTT][0][:32])
	before = half.arena.Lent()
	for n := range uint64(earlyMax) {
		half.datagram(half.sealed(OneRTT, streamFrame(half.theirs(TwoWay, n), 0, 1000, true)))
	}
	if n := half.arena.Lent() - before; n < earlyMax*1000 {
		t.Errorf("%d bytes for %d packets that wait for keys", n, earlyMax)
	}
	for _, r := range []*rig{r, half} {
		r.conn.Close(0)
		r.drive()
		for _, s := range r.conn.streams.slots {
			if s != nil {
				r.conn.Done(s)
			}
		}
		r.pass(1e11)
		if n := r.arena.Lent(); n != 0 {
			t.Errorf("%d bytes are lent after the end", n)
		}
	}
}

func TestAssembly_dropGivesPagesBack(t *testing.T) {
	var r reading
	for i := range int64(20) {
		if err := r.frame(1000+i*3000, 2000+i*3000, false, streamGaps); err != nil {
			t.Fatal(err)
		}
	}
	r.drop(r.keeps())
	if r.charged() != 0 || r.arena.Stats.Pages != 0 {
		t.Errorf("%d charged", r.charged())
	}
}

func TestAssembly_allocatesNothing(t *testing.T) {
	var s assembly
	k := memory{new(Arena), new(kept)}
	b, at := make([]byte, 1100), uint64(0)
	if n := testutil.Allocs(200, func() {
		_, _ = s.take(k, at+1100, b, false, streamGaps) // two frames change places
		_, _ = s.take(k, at, b, false, streamGaps)
		for s.more(k) != nil {
		}
		at += 2200
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzReassembly(f *testing.F) {
	f.Add([]byte{0, 10, 20, 1, 0, 10, 0, 5, 5})
	f.Add([]byte{1, 200, 100, 0, 0, 255, 2, 200, 3, 4, 4, 4})
	f.Fuzz(func(t *testing.T, script []byte) {
		var r reading
		var model []bool
		inOrder := 0
		for script = script[:min(len(script), 600)]; len(script) >= 3; script = script[3:] {
			from := int64(script[0])<<6 | int64(script[1]&63)
			to := from + int64(script[2])*3
			end := script[1] >= 240
			sized, size, high := r.sized, r.size, r.high
			err := r.frame(from, to, end, streamGaps)
			wrong := sized && (to > size || end && to != size) || end && to < high
			if wrong != (err == errFinalSize) {
				t.Fatalf("%d-%d, end %v: %v", from, to, end, err)
			}
			r.checkPages(t)
			if err != nil {
				continue
			}
			for int64(len(model)) < to {
				model = append(model, false)
			}
			for i := from; i < to; i++ {
				model[i] = true
			}
			before := inOrder
			for inOrder < len(model) && model[inOrder] {
				inOrder++
			}
			if len(r.out) != inOrder || !bytes.Equal(r.out[before:], pattern(int64(before), int64(inOrder))) {
				t.Fatalf("%d bytes came out, want %d", len(r.out), inOrder)
			}
		}
		r.drop(r.keeps())
		r.checkPages(t)
	})
}
