package otlp_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/observe/otlp"
)

// A sink whose records leave as log records. Its Close waits for what is under way, so the exporter is closed after it.
func Example() {
	collector := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		fmt.Println(r.Method, r.URL, r.Header.Get("Content-Type"))
	}))
	defer collector.Close()
	endpoint, _ := url.Parse(collector.URL + "/v1/logs")
	e := otlp.New(otlp.Options{
		Signal: otlp.Logs, Endpoint: endpoint, Resource: []observe.Field{{Name: "service.name", Value: "edge"}},
	})
	sink, err := observe.Open(observe.Options{Records: e})
	if err != nil {
		fmt.Println(err)
		return
	}
	log := sink.AccessLog(observe.FormatJSON)
	log.Append(&observe.Record{Method: []byte("GET"), Path: []byte("/"), Status: 200})
	_ = sink.Close()
	_ = e.Close()
	fmt.Printf("%+v\n", e.Counts())
	// Output:
	// POST /v1/logs application/x-protobuf
	// {Sent:1 Rejected:0 Failed:0}
}
