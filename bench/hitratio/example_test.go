package hitratio_test

import (
	"context"
	"fmt"
	"regexp"

	"github.com/edge-proxy/edge/bench/hitratio"
)

func ExampleRun() {
	policies, err := hitratio.Find([]string{"lru", "arc"})
	if err != nil {
		fmt.Println(err)
		return
	}
	loops := hitratio.Choose(hitratio.Generated(1), regexp.MustCompile("^loop$"))
	table, err := hitratio.Run(context.Background(), hitratio.Options{Policies: policies, Workloads: loops})
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, c := range table.Cells {
		fmt.Printf("%s: lru %.1f %%, the optimum is %.1f %%\n", c.Name(), c.Hits[0], c.Optimum)
	}
	// Output:
	// loop@500: lru 0.0 %, the optimum is 24.8 %
	// loop@1500: lru 0.0 %, the optimum is 74.2 %
}
