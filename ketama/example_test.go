package ketama_test

import (
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/edge-proxy/edge/ketama"
)

var servers = []ketama.Server{
	{Name: "10.0.0.1:8080"},
	{Name: "10.0.0.2:8080", Weight: 2},
	{Name: "[2001:db8::3]:8080"},
	{Name: "unix:/run/backend.sock"},
}

func Example() {
	ring, err := ketama.New([]ketama.Server{
		{Name: "10.0.0.1:8080"},
		{Name: "10.0.0.2:8080", Weight: 2},
		{Name: "10.0.0.3:8080"},
	}, ketama.Options{})
	if err != nil {
		panic(err)
	}
	for _, uri := range []string{"/", "/index.html", "/a.png"} {
		i := ring.PickString(uri) // where nginx's "hash $request_uri consistent" sends it
		fmt.Println(uri, ring.Server(i).Name)
	}
	// Output:
	// / 10.0.0.2:8080
	// /index.html 10.0.0.1:8080
	// /a.png 10.0.0.1:8080
}

// Servers come and go while other goroutines pick.
func Example_swap() {
	var current atomic.Pointer[ketama.Ring]
	ring, err := ketama.New(servers, ketama.Options{})
	if err != nil {
		panic(err)
	}
	current.Store(ring)

	// The owner of the list, on a goroutine of its own:
	more, err := current.Load().With(ketama.Server{Name: "10.0.0.5:8080"})
	if err != nil {
		panic(err)
	}
	current.Store(more)
	current.Store(more.Without("10.0.0.1:8080"))

	// A request, on any goroutine: one ring for all of its look-ups.
	now := current.Load()
	fmt.Println(now.Len(), now.Server(now.PickString("key")).Name)
	// Output:
	// 4 10.0.0.5:8080
}

// A request goes on to other servers when some are down or have failed.
func ExampleRing_Failover() {
	ring, _ := ketama.New(servers, ketama.Options{})
	down, tried := map[int]bool{1: true}, map[int]bool{}
	h := ring.HashString("user:1234")
	for {
		i := ring.Failover(h, func(i int) bool { return !down[i] && !tried[i] })
		if i < 0 {
			fmt.Println("by round robin")
			return
		}
		fmt.Println(ring.Server(i).Name)
		tried[i] = true // it has failed
	}
	// Output:
	// unix:/run/backend.sock
	// [2001:db8::3]:8080
	// 10.0.0.1:8080
	// by round robin
}

func ExampleNew() {
	ring, err := ketama.New(servers, ketama.Options{})
	fmt.Println(ring.Len(), err)
	_, err = ketama.New(append(servers, servers[0]), ketama.Options{})
	fmt.Println(err, errors.Is(err, ketama.ErrDuplicate))
	// Output:
	// 4 <nil>
	// ketama: two servers of the same name: "10.0.0.1:8080" true
}

// The ring of pingora-ketama's Continuum: names are addresses.
func ExampleNew_pingora() {
	ring, err := ketama.New([]ketama.Server{
		{Name: "10.0.0.1:8080"},
		{Name: "[2001:db8::3]:8080"},
	}, ketama.Options{Layout: ketama.PingoraV2, Points: 160})
	if err != nil {
		panic(err)
	}
	fmt.Println(ring.Server(ring.PickString("key")).Name)
	// Output:
	// [2001:db8::3]:8080
}

func ExampleRing_With() {
	ring, _ := ketama.New(servers, ketama.Options{})
	more, err := ring.With(ketama.Server{Name: "10.0.0.5:8080"})
	fmt.Println(ring.Len(), more.Len(), more.Server(4).Name, err)
	// Output:
	// 4 5 10.0.0.5:8080 <nil>
}

func ExampleRing_Without() {
	ring, _ := ketama.New(servers, ketama.Options{})
	less := ring.Without("10.0.0.1:8080")
	fmt.Println(less.Len(), less.Server(0).Name)
	// Output:
	// 3 10.0.0.2:8080
}

func ExampleRing_Pick() {
	ring, _ := ketama.New(servers, ketama.Options{})
	fmt.Println(ring.Pick([]byte("user:1")), ring.Pick([]byte("user:2")))
	// Output:
	// 2 0
}

func ExampleRing_Hash() {
	ring, _ := ketama.New(servers, ketama.Options{})
	fmt.Printf("%08x\n", ring.Hash([]byte("123456789"))) // the CRC-32 of IEEE 802.3
	// Output:
	// cbf43926
}

func ExampleRing_At() {
	ring, _ := ketama.New(servers, ketama.Options{})
	fmt.Println(ring.At(0), ring.At(0x80000000))
	// Output:
	// 1 2
}

func ExampleRing_Walk() {
	ring, _ := ketama.New(servers, ketama.Options{})
	for i := range ring.Walk(ring.HashString("user:1")) {
		fmt.Println(ring.Server(i).Name)
	}
	// Output:
	// [2001:db8::3]:8080
	// 10.0.0.2:8080
	// unix:/run/backend.sock
	// 10.0.0.1:8080
}

func ExampleRing_Points() {
	ring, _ := ketama.New(servers, ketama.Options{Points: 2}) // ten points, of which server 1 has four
	for i := range ring.Points(0) {
		fmt.Print(i, " ")
	}
	// Output:
	// 3 1 2 0 3 2 1 1 0 1
}

func ExampleRing_PickFunc() {
	ring, _ := ketama.New(servers, ketama.Options{})
	h := ring.HashString("user:1")
	busy := ring.At(h)
	fmt.Println(busy, ring.PickFunc(h, func(i int) bool { return i != busy }))
	// Output:
	// 2 1
}

// Everybody asks for one key: its server gets a quarter more than the mean, and the next ones the rest.
func ExampleRing_PickBounded() {
	ring, _ := ketama.New(servers, ketama.Options{})
	var loads [4]int
	h := ring.HashString("the one page that everybody wants")
	for served := range 100 {
		i := ring.PickBounded(h, ketama.Bound{Factor: 125, Served: served}, func(i int) int { return loads[i] })
		loads[i]++
	}
	fmt.Println(loads) // server 1 has twice the weight of the others
	// Output:
	// [25 50 0 25]
}

// A program whose users choose keeps a Picker.
func ExamplePicker() {
	ring, _ := ketama.New(servers, ketama.Options{})
	ring64, _ := ketama.New64(servers, ketama.Options64{})
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	for _, p := range []ketama.Picker{ring, ring64, table} {
		fmt.Println(p.Server(p.PickString("user:1")).Name)
	}
	// Output:
	// [2001:db8::3]:8080
	// unix:/run/backend.sock
	// [2001:db8::3]:8080
}

func ExampleNew64() {
	ring, err := ketama.New64(servers, ketama.Options64{})
	fmt.Println(ring.Len(), err)
	// Output:
	// 4 <nil>
}

func ExampleRing64_Hash() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Printf("%016x\n", ring.Hash([]byte("abc"))) // XXH64
	// Output:
	// 44bc2cf5ad770999
}

func ExampleNewMaglev() {
	table, err := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.Len(), err)
	// Output:
	// 4 <nil>
}
