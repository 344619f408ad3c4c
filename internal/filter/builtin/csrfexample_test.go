package builtin_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"strings"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/builtin"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/proxy"
)

// A form of another site is refused, one of the site itself is not.
func ExampleCSRF() {
	protect, err := filterrig.Made(builtin.NewCSRF, &builtin.CSRF{TrustedOrigins: []string{"https://pay.example"}}, nil)
	if err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{
		{To: proxy.Answer(200, "text/plain", "transferred"), Filters: []*proxy.Filter{protect}},
	}}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	defer s.Shutdown(context.Background())
	for _, from := range []string{"http://" + s.ListenAddr(), "https://evil.example", "https://pay.example"} {
		r, err := http.NewRequest("POST", "http://"+s.ListenAddr()+"/transfer", strings.NewReader("to=me"))
		if err != nil {
			log.Fatal(err)
		}
		r.Header.Set("Origin", from)
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			log.Fatal(err)
		}
		resp.Body.Close()
		fmt.Println(resp.Status)
	}
	http.DefaultClient.CloseIdleConnections()
	// Output:
	// 200 OK
	// 403 Forbidden
	// 200 OK
}
