package balance

import "testing"

// wayward is a picker that does what the request's key says.
type wayward struct{}

func (wayward) Pick(_ *View, _ *Local, q *Request) int {
	if q.Key == 99 {
		panic("it must not")
	}
	return int(q.Key) - 1
}

// A method of another package picks what may be picked, or none.
func TestGuarded(t *testing.T) {
	failures := 0
	m := Guarded(&Method{Name: "wayward", New: func(int, int) Picker { return wayward{} },
		Hash:    func(key []byte) uint64 { return uint64(key[0]) },
		Prepare: func(v *View) { _ = v.backends[7] },
	}, func(any) { failures++ })
	v := Weights(1, 1, 1).With(1, false)
	var q Request
	q.Tried.Add(2)
	p := m.New(0, 1)
	for key, want := range map[uint64]struct{ picked, failures int }{
		0: {-1, 0}, 1: {0, 0}, 2: {-1, 1}, 3: {-1, 1}, 4: {-1, 1}, 99: {-1, 1},
	} {
		failures, q.Key = 0, key
		if got := p.Pick(v, nil, &q); got != want.picked || failures != want.failures {
			t.Errorf("%d: picked %d with %d failures, want %+v", key, got, failures, want)
		}
	}
	failures = 0
	m.Prepare(v)
	if sum := m.Hash(nil); sum != 0 || failures != 2 || m.Hash([]byte{7}) != 7 {
		t.Errorf("%d failures and a key of %d", failures, sum)
	}
	broken := Guarded(&Method{New: func(int, int) Picker { panic("no") }}, func(any) { failures++ })
	if got := broken.New(0, 1).Pick(v, nil, &q); got != -1 || failures != 3 {
		t.Errorf("picked %d, %d failures", got, failures)
	}
}

// What the guard of a registered method costs.
func BenchmarkGuarded_roundRobin(b *testing.B) {
	v := Weights(1, 1, 1, 1)
	for name, m := range map[string]*Method{"plain": RoundRobin, "guarded": Guarded(RoundRobin, func(any) {})} {
		b.Run(name, func(b *testing.B) {
			p := m.New(0, 1)
			var q Request
			b.ReportAllocs()
			for b.Loop() {
				p.Pick(v, nil, &q)
			}
		})
	}
}

// A method that makes no picker says so: it picks none.
func TestGuarded_noPicker(t *testing.T) {
	var told []any
	m := Guarded(&Method{New: func(int, int) Picker { return nil }}, func(p any) { told = append(told, p) })
	if i := m.New(0, 1).Pick(nil, nil, nil); i != -1 || len(told) != 1 {
		t.Errorf("it has picked %d, told %v", i, told)
	}
}
