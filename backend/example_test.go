package backend_test

import (
	"fmt"
	"log"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/backend/balance"
	"github.com/edge-proxy/edge/engine"
)

// A service has two backends, one with twice the weight of the other. Then an operator takes the first one out.
func Example() {
	set := backend.NewSet(
		backend.Spec{Address: "10.0.0.1:80", Weight: 2},
		backend.Spec{Address: "10.0.0.2:80"},
	)
	view := set.View(1, balance.RoundRobin) // for an engine with one reactor

	e, err := engine.New(engine.Options{Reactors: 1})
	if err != nil {
		log.Fatal(err)
	}
	e.Start()
	defer e.Stop()

	pick := func(requests int) { // a server picks in a callback, which is on a reactor already
		done := make(chan struct{})
		e.Reactors()[0].Post(&engine.Task{Run: func(r *engine.Reactor) {
			defer close(done)
			for range requests {
				fmt.Println(view.Pick(r, nil).Address()) // nil instead of a member: none serves
			}
		}})
		<-done
	}
	pick(3)

	first := set.Members()[0]
	first.Down(backend.Operator)
	fmt.Println(first.Address(), "is down:", first.Reasons())
	pick(2)
	// Output:
	// 10.0.0.1:80
	// 10.0.0.2:80
	// 10.0.0.1:80
	// 10.0.0.1:80 is down: admin
	// 10.0.0.2:80
	// 10.0.0.2:80
}
