package balance_test

import (
	"fmt"

	"github.com/edge-proxy/edge/backend/balance"
)

// standby is a Picker of a program's own: the first backend that is open gets all requests.
type standby struct{}

func (standby) Pick(v *balance.View, _ *balance.Local, q *balance.Request) int {
	for place := range v.Count() {
		if i := v.OpenAt(place); !q.Tried.Has(i) {
			return i
		}
	}
	return -1
}

func init() {
	balance.Register(&balance.Method{
		Name: "standby",
		New:  func(reactor, reactors int) balance.Picker { return standby{} },
	})
}

func ExampleRegister() {
	p := balance.ByName("standby").New(0, 1)
	view := balance.Weights(1, 1, 1)
	var q balance.Request
	fmt.Println(p.Pick(view, nil, &q), p.Pick(view.With(0, false), nil, &q))
	// Output: 0 1
}
