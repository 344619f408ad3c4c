package balance_test

import (
	"fmt"

	"github.com/edge-proxy/edge/balance"
)

func Example() {
	backends := []string{"a", "b", "c"}
	view := balance.NewView([]int{3, 1, 1})
	rr := balance.NewRoundRobin(0)

	for range 5 {
		fmt.Print(backends[rr.Pick(view, 0, nil)])
	}
	fmt.Println()

	view = view.With(0, false) // a health check failed
	for range 4 {
		fmt.Print(backends[rr.Pick(view, 0, nil)])
	}
	fmt.Println()

	var tried balance.Tried // a request that fails everywhere
	for i := rr.Pick(view, 0, &tried); i >= 0; i = rr.Pick(view, 0, &tried) {
		tried.Add(i)
		fmt.Print(backends[i])
	}
	fmt.Println(" none left")
	// Output:
	// abaca
	// bcbc
	// bc none left
}
