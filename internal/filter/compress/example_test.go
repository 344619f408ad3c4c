package compress_test

import (
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"strings"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/compress"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/proxy"
)

// A program that compresses its answers.
func ExampleNew() {
	small, err := filterrig.Made(compress.New, &compress.Config{Encodings: []string{"gzip"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Filters: []*proxy.Filter{small}, Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/html", strings.Repeat("<p>hello</p>", 100))},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableCompression: true}}
	req, _ := http.NewRequest("GET", "http://"+s.ListenAddr(), nil)
	req.Header.Set("Accept-Encoding", "gzip")
	resp, err := client.Do(req)
	if err != nil {
		log.Fatal(err)
	}
	body, err := gzip.NewReader(resp.Body)
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(body)
	fmt.Println(resp.Header.Get("Content-Encoding"), len(text), resp.Header.Get("Vary"))
	client.CloseIdleConnections()
	_ = s.Shutdown(context.Background())
	// Output: gzip 1200 Accept-Encoding
}
