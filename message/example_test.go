package message_test

import (
	"fmt"

	"github.com/edge-proxy/edge/message"
)

// A head is changed by appending. Names are found in any case, and known ones by their number, too.
func Example() {
	var h message.Head
	h.SetMethod("GET")
	h.SetTarget("/search?q=edge")
	h.SetAuthority("example.org")
	h.Add("Accept", "text/html")
	h.Add("X-Tenant", "acme")
	h.Set("x-tenant", "umbrella")

	fmt.Printf("%s %s, query %s\n", h.MethodBytes(), h.Path(), h.Query())
	fmt.Printf("%s, %q\n", h.Peek(message.Accept), h.Get("Cookie"))
	for i := range h.Fields {
		if !h.Fields[i].Dropped() {
			fmt.Printf("%s: %s\n", h.Name(i), h.Value(i))
		}
	}
	// Output:
	// GET /search, query q=edge
	// text/html, ""
	// Accept: text/html
	// x-tenant: umbrella
}

// A codec lends its head. Its next owner moves it into a buffer of its own.
func ExampleHead_MoveTo() {
	var scratch, mine message.Head
	scratch.SetTarget("/one")
	scratch.MoveTo(&mine)
	scratch.Reset()
	scratch.SetTarget("/two")

	fmt.Printf("%s %s\n", mine.Path(), scratch.Path())
	// Output: /one /two
}
