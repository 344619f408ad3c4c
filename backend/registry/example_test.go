package registry_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"

	"github.com/edge-proxy/edge/backend/registry"
)

// board is a Registry of one's own. Its entries have the time to live that the registry gives them.
type board struct{ puts chan registry.Entry }

func (b *board) Put(ctx context.Context, e *registry.Entry) (address string, err error) {
	select {
	case b.puts <- *e:
		return e.Address, nil
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

func (b *board) Withdraw(context.Context) error {
	fmt.Println("withdrawn")
	return nil
}

// A program makes itself known before it serves, and takes that back before it ends. With registry.Open its registry
// is etcd, Consul or a file.
func ExampleRegister() {
	b := &board{puts: make(chan registry.Entry)}
	r := registry.Register(registry.Options{
		To: "board", Registry: b, Entry: registry.Entry{Address: "10.0.0.7:8080", Weight: 2},
	})
	e := <-b.puts // and again every third of e.TTL
	fmt.Println(e.Address, "with weight", e.Weight, "for", e.TTL)
	r.Withdraw(context.Background())
	// Output:
	// 10.0.0.7:8080 with weight 2 for 15s
	// withdrawn
}

// A registry that speaks JSON is asked for its instances, and for its changes one after another.
func ExampleClient() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to := json.NewEncoder(w)
		switch r.URL.Path {
		case "/instances":
			to.Encode([]string{"10.0.0.7:8080"})
		case "/changes":
			to.Encode("10.0.0.8:8080 came")
			to.Encode("10.0.0.7:8080 went")
		}
	}))
	defer server.Close()
	c, err := registry.NewClient([]string{server.URL}, registry.ClientOptions{Agent: "example"})
	if err != nil {
		log.Fatal(err)
	}
	defer c.Close()
	ctx := context.Background()
	var instances []string
	if _, err := c.Call(ctx, "GET", "/instances", nil, &instances); err != nil {
		log.Fatal(err)
	}
	fmt.Println(instances)

	changes, err := c.Open(ctx, "GET", "/changes", nil)
	if err != nil {
		log.Fatal(err)
	}
	defer changes.Close()
	for change := ""; changes.Next(&change) == nil; { // an error at the end of the answer
		fmt.Println(change)
	}
	// Output:
	// [10.0.0.7:8080]
	// 10.0.0.8:8080 came
	// 10.0.0.7:8080 went
}
