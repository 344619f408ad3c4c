package dynamic_test

import (
	"fmt"
	"log"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/route/target"
	"github.com/edge-proxy/edge/internal/server/dynamic"
	"github.com/edge-proxy/edge/proxy"
)

// Each tenant has a service of its own.
func Example() {
	e, err := engine.New(engine.Options{})
	if err != nil {
		log.Fatal(err)
	}
	defer e.Stop()
	text, err := target.ParseTemplate("http://{host:1}.svc.internal:8080")
	if err != nil {
		log.Fatal(err)
	}
	allowed, err := target.ParseList("http://*.svc.internal:8080", "10.20.0.0/16")
	if err != nil {
		log.Fatal(err)
	}
	to := dynamic.New(e, dynamic.Options{Template: text, Allow: allowed})
	defer to.Close()

	r := proxy.Route{Host: "*.example.com"}
	to.Lead(&r)
	s, err := proxy.NewSnapshot([]proxy.Route{r}, nil)
	if err != nil {
		log.Fatal(err)
	}
	_ = proxy.New(e, s)
	fmt.Println("tenants are led to", text)
	// Output: tenants are led to http://{host:1}.svc.internal:8080
}
