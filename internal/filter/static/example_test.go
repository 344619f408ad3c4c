package static_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"path/filepath"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/proxy"
)

// A program that serves a page application.
func ExampleNew() {
	dir, err := os.MkdirTemp("", "www")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if err := os.WriteFile(filepath.Join(dir, "index.html"), []byte("<p>app"), 0o644); err != nil {
		log.Fatal(err)
	}
	site, err := filterrig.Made(static.New, &static.Config{Root: dir, Try: []string{"{path}", "/index.html"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: site}}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	resp, err := http.Get("http://" + s.ListenAddr() + "/any/page")
	if err != nil {
		log.Fatal(err)
	}
	text, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.Status, string(text))
	http.DefaultClient.CloseIdleConnections()
	_ = s.Shutdown(context.Background())
	// Output: 200 OK <p>app
}
