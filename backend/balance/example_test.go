package balance_test

import (
	"fmt"

	"github.com/edge-proxy/edge/backend/balance"
)

func Example() {
	backends := []string{"a", "b", "c"}
	view := balance.Weights(3, 1, 1)
	rr := balance.RoundRobin.New(0, 1)

	var q balance.Request
	for range 5 {
		fmt.Print(backends[rr.Pick(view, nil, &q)])
	}
	fmt.Println()

	view = view.With(0, false) // a health check failed
	for range 4 {
		fmt.Print(backends[rr.Pick(view, nil, &q)])
	}
	fmt.Println()

	// A request that fails everywhere.
	for i := rr.Pick(view, nil, &q); i >= 0; i = rr.Pick(view, nil, &q) {
		q.Tried.Add(i)
		fmt.Print(backends[i])
	}
	fmt.Println(" none left")
	// Output:
	// abaca
	// bcbc
	// bc none left
}

// One reactor sends requests to three backends, the second of which answers fifty times slower.
func ExampleLocal() {
	loads := balance.NewLoads()
	view := balance.NewView([]balance.Backend{
		{Name: "10.0.0.1:80", Weight: 1},
		{Name: "10.0.0.2:80", Weight: 1},
		{Name: "10.0.0.3:80", Weight: 1},
	}, loads)
	local, adaptive := balance.NewLocal(loads, 1), balance.Adaptive.New(0, 1)
	micros := []uint32{2_000, 100_000, 2_000}

	var q balance.Request
	counts := make([]int, view.Len())
	for tick := range uint32(1000) {
		i := adaptive.Pick(view, local, &q)
		local.Enter(i, false)
		local.Answered(i, micros[i], tick) // and the time in milliseconds
		local.Leave(i, false)
		local.Publish()
		counts[i]++
	}
	fmt.Println("to the slow one at most a few of 1000:", counts[1] < 10)
	requests, tunnels := loads.InFlight(0)
	fmt.Println("under way:", requests, tunnels)
	// Output:
	// to the slow one at most a few of 1000: true
	// under way: 0 0
}

// The requests of one user go to one backend; when that is closed, they go to another one, until it is back.
func ExampleMethod() {
	view := balance.NewView([]balance.Backend{
		{Name: "10.0.0.1:80", Weight: 1},
		{Name: "10.0.0.2:80", Weight: 1},
		{Name: "10.0.0.3:80", Weight: 2},
	}, nil)
	m := balance.ByName("ketama")
	m.Prepare(view) // else the first pick makes the ring
	p := m.New(0, 1)

	q := balance.Request{Key: m.Hash([]byte("user 4711")), Keyed: true}
	first := p.Pick(view, nil, &q)
	other := p.Pick(view.With(first, false), nil, &q)
	fmt.Println(first == p.Pick(view, nil, &q), first == other)
	// Output: true false
}
