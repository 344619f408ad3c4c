// Command traces is a proxy whose requests are spans in an OpenTelemetry collector.
//
//	go run ./examples/traces -from 127.0.0.1:8080 -to 127.0.0.1:3000 -collector http://127.0.0.1:4318
//
// A tenth of the traces that begin here is recorded, and each request that is answered with a 5xx. A backend that has
// the SDK of OpenTelemetry goes on with the same trace.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"net/url"
	"os/signal"
	"syscall"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
)

func main() {
	from := flag.String("from", "127.0.0.1:8080", "the `address` to listen on")
	to := flag.String("to", "127.0.0.1:3000", "the `address` of the backend")
	collector := flag.String("collector", "http://127.0.0.1:4318", "the `URL` of the collector, by HTTP")
	share := flag.Float64("share", 0.1, "the share of traces that is recorded")
	flag.Parse()
	if err := run(*from, *to, *collector, *share); err != nil {
		log.Fatal(err)
	}
}

func run(from, to, collector string, share float64) error {
	endpoint, err := url.Parse(collector + "/v1/traces")
	if err != nil {
		return err
	}
	exporter := edge.NewOTLP(edge.OTLPOptions{
		Signal: edge.OTLPTraces, Endpoint: endpoint, Resource: []edge.Field{{Name: "service.name", Value: "front"}},
	})
	defer exporter.Close()
	s := &edge.Server{
		Addr:   from,
		Routes: []proxy.Route{{Name: "api", Path: "/", To: edge.Backends(to)}},
		Traces: &edge.Traces{Exporter: exporter, Share: share, Tracing: proxy.Tracing{
			Status: []proxy.StatusRange{{From: 500, To: 599}}, // in any case
		}},
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := s.Start(); err != nil {
		return err
	}
	fmt.Println("listening on", s.ListenAddr())
	<-ctx.Done()
	end, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.Shutdown(end)
}
