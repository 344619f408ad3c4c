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
