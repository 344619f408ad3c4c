package server_test

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
)

// parse returns a configuration, or ends the program with a report of what is wrong with it.
func parse(text string) *config.Config {
	c, report := config.Parse("edge.toml", []byte(text))
	if !report.OK() {
		_ = report.Render(os.Stderr)
		log.Fatal("the configuration is wrong")
	}
	return c
}

func ask(s *server.Server) {
	resp, err := http.Get("http://" + s.Addresses()[0].Addr.String() + "/")
	if err != nil {
		log.Fatal(err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	fmt.Println(resp.StatusCode, err)
}

// A configuration comes to life, and another one takes its place while connections stay.
func Example() {
	const text = `
routes = [{ name = "all", pattern = "/", dest = "status:%d" }]
[http]
listen = "127.0.0.1:0"

[log]
output = []

`
	s, err := server.New(parse(fmt.Sprintf(text, 204)), server.Options{})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	ask(s)
	diff, err := s.Apply(parse(fmt.Sprintf(text, 404)))
	fmt.Println(diff.Changed, err)
	ask(s)
	http.DefaultClient.CloseIdleConnections()
	fmt.Println(s.Drain(10*time.Second), s.Stop())
	// Output:
	// 204 <nil>
	// [route all] <nil>
	// 404 <nil>
	// true <nil>
}
