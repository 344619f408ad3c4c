package slab_test

import (
	"fmt"

	"github.com/edge-proxy/edge/proxy/slab"
)

var seen = slab.NewKind[int]()

func Example() {
	var set slab.Set
	var used slab.Used
	n := set.Take()
	*seen.Of(&set, n, &used)++
	*seen.Of(&set, n, &used)++
	fmt.Println(*seen.Of(&set, n, &used))
	set.Clear(n, used)
	fmt.Println(*seen.Of(&set, n, &used))
	// Output:
	// 2
	// 0
}
