package sticky_test

import (
	"fmt"
	"log"
	"net/http"
	"time"

	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/forward/sticky"
)

// A client that comes back with the cookie that it was given finds its backend again.
func Example() {
	set := backend.Of("10.0.0.11:8080", "10.0.0.12:8080")
	c, err := sticky.New(set, sticky.Options{Service: "api", Name: "edge_sid", TTL: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Stop()

	answered := set.Members()[1]
	field := c.Append(nil, answered, true, time.Now())

	cookie, err := http.ParseSetCookie(string(field)) // the client does this
	if err != nil {
		log.Fatal(err)
	}
	m, renew := c.Find([]byte(cookie.Value), time.Now())
	fmt.Println(m.Address(), renew)
	// Output: 10.0.0.12:8080 false
}
