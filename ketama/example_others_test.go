package ketama_test

import (
	"fmt"

	"github.com/edge-proxy/edge/ketama"
)

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

func ExampleRing64_With() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	more, err := ring.With(ketama.Server{Name: "10.0.0.5:8080"})
	fmt.Println(ring.Len(), more.Len(), err)
	// Output:
	// 4 5 <nil>
}

func ExampleRing64_Without() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	less := ring.Without("10.0.0.1:8080")
	fmt.Println(less.Len(), less.Server(0).Name)
	// Output:
	// 3 10.0.0.2:8080
}

func ExampleRing64_Pick() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Println(ring.Pick([]byte("user:1")), ring.Pick([]byte("user:2")))
	// Output:
	// 3 0
}

func ExampleRing64_PickString() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Println(ring.Server(ring.PickString("user:1")).Name)
	// Output:
	// unix:/run/backend.sock
}

func ExampleRing64_Hash() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Printf("%016x\n", ring.Hash([]byte("abc"))) // XXH64
	// Output:
	// 44bc2cf5ad770999
}

func ExampleRing64_HashString() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	h := ring.HashString("user:1")
	fmt.Println(ring.At(h) == ring.PickString("user:1"))
	// Output:
	// true
}

func ExampleRing64_At() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Println(ring.At(0), ring.At(1<<63))
	// Output:
	// 2 1
}

func ExampleRing64_Walk() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	for i := range ring.Walk(ring.HashString("user:1")) {
		fmt.Println(ring.Server(i).Name)
	}
	// Output:
	// unix:/run/backend.sock
	// 10.0.0.1:8080
	// 10.0.0.2:8080
	// [2001:db8::3]:8080
}

func ExampleRing64_PickFunc() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	h := ring.HashString("user:1")
	busy := ring.At(h)
	fmt.Println(busy, ring.PickFunc(h, func(i int) bool { return i != busy }))
	// Output:
	// 3 0
}

func ExampleRing64_PickBounded() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	loads := [4]int{9, 18, 9, 9}
	bound := ketama.Bound{Factor: 125, Served: 45}
	fmt.Println(ring.PickBounded(ring.HashString("user:1"), bound, func(i int) int { return loads[i] }))
	// Output:
	// 3
}

func ExampleRing64_Len() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Println(ring.Len())
	// Output:
	// 4
}

func ExampleRing64_Server() {
	ring, _ := ketama.New64(servers, ketama.Options64{})
	fmt.Println(ring.Server(1).Name, ring.Server(1).Weight)
	// Output:
	// 10.0.0.2:8080 2
}

func ExampleNewMaglev() {
	table, err := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.Len(), err)
	// Output:
	// 4 <nil>
}

func ExampleMaglev_With() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	more, err := table.With(ketama.Server{Name: "10.0.0.5:8080"})
	fmt.Println(table.Len(), more.Len(), err)
	// Output:
	// 4 5 <nil>
}

func ExampleMaglev_Without() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	less := table.Without("10.0.0.1:8080")
	fmt.Println(less.Len(), less.Server(0).Name)
	// Output:
	// 3 10.0.0.2:8080
}

func ExampleMaglev_Pick() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.Pick([]byte("user:1")), table.Pick([]byte("user:2")))
	// Output:
	// 2 1
}

func ExampleMaglev_PickString() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.Server(table.PickString("user:1")).Name)
	// Output:
	// [2001:db8::3]:8080
}

func ExampleMaglev_Hash() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Printf("%016x\n", table.Hash([]byte("abc"))) // XXH64
	// Output:
	// 44bc2cf5ad770999
}

func ExampleMaglev_HashString() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	h := table.HashString("user:1")
	fmt.Println(table.At(h) == table.PickString("user:1"))
	// Output:
	// true
}

func ExampleMaglev_At() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.At(0), table.At(1<<63))
	// Output:
	// 2 1
}

func ExampleMaglev_Walk() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	for i := range table.Walk(table.HashString("user:1")) {
		fmt.Println(table.Server(i).Name)
	}
	// Output:
	// [2001:db8::3]:8080
	// 10.0.0.1:8080
	// unix:/run/backend.sock
	// 10.0.0.2:8080
}

func ExampleMaglev_PickFunc() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	h := table.HashString("user:1")
	busy := table.At(h)
	fmt.Println(busy, table.PickFunc(h, func(i int) bool { return i != busy }))
	// Output:
	// 2 0
}

func ExampleMaglev_PickBounded() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	loads := [4]int{9, 18, 9, 9}
	bound := ketama.Bound{Factor: 125, Served: 45}
	fmt.Println(table.PickBounded(table.HashString("user:1"), bound, func(i int) int { return loads[i] }))
	// Output:
	// 2
}

func ExampleMaglev_Len() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.Len())
	// Output:
	// 4
}

func ExampleMaglev_Server() {
	table, _ := ketama.NewMaglev(servers, ketama.MaglevOptions{})
	fmt.Println(table.Server(1).Name, table.Server(1).Weight)
	// Output:
	// 10.0.0.2:8080 2
}
