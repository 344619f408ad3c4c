package proxy_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
)

// A filter answers with a file.
func ExampleRespondFile() {
	_ = func() (*proxy.Filter, error) {
		report, err := proxy.OpenFile("/srv/report.pdf")
		if err != nil {
			return nil, err
		}
		return &proxy.Filter{Request: func(*proxy.Exchange) proxy.Verdict {
			return proxy.RespondFile(200, report).Type("application/pdf")
		}}, nil
	}
}

// A filter of a route with ReadBody takes JSON alone.
func ExampleExchange_Body() {
	_ = proxy.Route{ReadBody: 64 << 10, Filters: []*proxy.Filter{{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			begin, whole := x.Body()
			if !whole || !json.Valid(begin) {
				return proxy.Respond(422, "a JSON text of up to 64 KiB is wanted here")
			}
			return proxy.Next
		},
	}}}
}

// A destination with conditions, a time for each try and a budget of its own.
func ExampleToOptions() {
	_ = func(u *edge.Upstream) (proxy.Destination, error) {
		on, err := proxy.RetryOn("connect", "reset", "503")
		if err != nil {
			return nil, err
		}
		return proxy.To(u, &proxy.ToOptions{Retry: &proxy.RetryPolicy{
			On: on, PerTry: 2 * time.Second, Budget: proxy.NewRetryBudget(u.Reactors(), 20),
		}}), nil
	}
}

// A request that a backend has not processed, or that may be repeated, goes to a standby by a filter.
func ExampleResend() {
	_ = func(standby proxy.Destination) *proxy.Filter {
		return &proxy.Filter{Error: func(x *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			if e.From != proxy.SideBackend || proxy.Times(x).Total > time.Second {
				return proxy.Next
			}
			x.SetDestination(standby) // without it: another backend of the same upstream
			return proxy.Resend
		}}
	}
}

// token is what an authentication filter keeps of a token that it has verified.
type token struct {
	sub    []byte
	groups [][]byte
}

// Claim is asked for auth.claim.sub, auth.claim.groups and whatever else a text names.
func (t *token) Claim(name string, dst [][]byte) [][]byte {
	switch name {
	case "sub":
		return append(dst, t.sub)
	case "groups":
		return append(dst, t.groups...)
	}
	return dst
}

var tokens = proxy.NewLocal[token]()

// A filter that makes sure of users tells texts of the configuration what it knows of them.
func ExampleSetClaims() {
	verify := func(bearer string, t *token) bool {
		t.sub, t.groups = []byte("alice"), [][]byte{[]byte("dev"), []byte("ops")}
		return bearer != ""
	}
	_ = &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		t := tokens.Of(x)
		if !verify(x.Request.Get("Authorization"), t) {
			return proxy.Respond(401, "Who are you?\n")
		}
		proxy.SetUser(x, string(t.sub))
		proxy.SetClaims(x, t)
		return proxy.Next
	}}
}

func Example() {
	hello := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintln(w, "hello from", r.URL.Path)
	})
	polite := &proxy.Filter{Request: func(x *proxy.Exchange) proxy.Verdict {
		if x.Request.Get("X-Please") == "" {
			return proxy.Respond(403, "say please\n")
		}
		return proxy.Next
	}}
	s := &edge.Server{
		Addr:    "127.0.0.1:0",
		Routes:  []proxy.Route{{To: handler.FromHTTP(hello)}},
		Filters: []*proxy.Filter{polite},
	}
	if err := s.Start(); err != nil {
		log.Fatal(err)
	}
	for _, please := range []string{"", "yes"} {
		req, _ := http.NewRequest("GET", "http://"+s.ListenAddr()+"/here", nil)
		req.Header.Set("X-Please", please)
		req.Close = true
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			log.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		fmt.Print(resp.StatusCode, " ", string(body))
	}
	fmt.Println(s.Shutdown(context.Background()))
	// Output:
	// 403 say please
	// 200 hello from /here
	// <nil>
}
