package docs

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/backend"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/proxy/handler"
	"github.com/edge-proxy/edge/session"
)

// What follows is compiled and not run: docs/filters.md shows parts of it.

func serveTLS(pair tls.Certificate) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	s := &edge.Server{
		Addr:   ":8443",
		TLS:    &tls.Config{Certificates: []tls.Certificate{pair}}, // or GetCertificate
		Routes: []proxy.Route{{To: edge.Backends("127.0.0.1:3000")}},
	}
	if err := s.Run(ctx); err != nil {
		log.Fatal(err)
	}
}

func parked(lookUp func(string, func(ok bool))) *proxy.Filter {
	return &proxy.Filter{
		Request: func(x *proxy.Exchange) proxy.Verdict {
			ref := x.Ref()
			lookUp(x.Request.Get("Authorization"), func(ok bool) { // calls back from any goroutine
				if ok {
					ref.Resume(proxy.Next)
					return
				}
				ref.Resume(proxy.Respond(401, "who are you?\n"))
			})
			return proxy.Park
		},
	}
}

func blocking(askTheDatabase func(*proxy.Exchange) proxy.Verdict) *proxy.Filter {
	slow := &proxy.Filter{Request: askTheDatabase, Blocking: proxy.PhaseRequest}
	return slow
}

var bodies = &proxy.Filter{
	ResponseBody: func(x *proxy.Exchange, in []byte, end bool) proxy.Verdict {
		// A match may be cut in two by the end of a piece.
		x.Emit(bytes.ReplaceAll(in, []byte("http://"), []byte("https://")))
		return proxy.Next
	},
}

var started = proxy.NewLocal[time.Time]()

var timed = &proxy.Filter{
	Request: func(x *proxy.Exchange) proxy.Verdict {
		*started.Of(x) = time.Now()
		return proxy.Next
	},
	Log: func(x *proxy.Exchange, r *edge.Record) { log.Println(r.Status, time.Since(*started.Of(x))) },
}

var changing = &proxy.Filter{
	UpstreamRequest: func(x *proxy.Exchange) {
		x.Request.Set("X-Real-IP", x.ClientIP().String())
		x.Request.Del("Cookie")
	},
	Error: func(x *proxy.Exchange, e *proxy.Error) proxy.Verdict {
		if errors.Is(e, proxy.ConnectRefused) || errors.Is(e, proxy.NoBackend) {
			e.Status, e.Text = 503, "We are changing the wheels. Back in a minute."
		}
		return proxy.Next
	},
}

// onStandby has what a backend fails at sent to another destination, and logs what failed nevertheless.
func onStandby(standby proxy.Destination) *proxy.Filter {
	return &proxy.Filter{
		Error: func(x *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			if e.From != proxy.SideBackend || proxy.Times(x).Total > time.Second {
				return proxy.Next
			}
			x.SetDestination(standby) // without it: another backend of the same upstream
			return proxy.Resend
		},
		Log: func(x *proxy.Exchange, _ *edge.Record) {
			if e, t := x.Failure(), proxy.Times(x); e != nil {
				slog.Warn("failed", "reason", e.Reason(), "cause", e.Cause, "queue", t.Queue, "dns", t.DNS,
					"connect", t.Connect, "tls", t.TLS, "first_byte", t.FirstByte, "body", t.Body, "total", t.Total)
			}
		},
	}
}

func slowDown(*proxy.Exchange) proxy.Verdict {
	return proxy.Respond(429, `{"error":"slow down"}`).Type("application/json").With("Retry-After", "2")
}

func watched(slow *atomic.Int64, closedForNow string) *proxy.Filter {
	return &proxy.Filter{
		Error: func(x *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			slog.Warn("failed", "request", x.ID(), "status", e.Status, "reason", e.Reason(),
				"backend", x.Backend(), "cause", e.Cause)
			if e.Status < 500 {
				return proxy.Next
			}
			return proxy.Respond(503, closedForNow).Type("text/html; charset=utf-8").With("Retry-After", "30")
		},
		Log: func(x *proxy.Exchange, r *edge.Record) {
			if r.Dur > int64(time.Second) {
				slow.Add(1)
			}
		},
	}
}

var destination interface {
	Open(x *proxy.Exchange, to session.Receiver) proxy.Opening
} = proxy.Destination(nil)

func changeBackends() {
	set := backend.Of("10.0.0.1:80", "10.0.0.2:80")
	route := proxy.Route{To: edge.To(edge.UpstreamOptions{Backends: set}, nil)}
	// Later, on any goroutine:
	set.Update([]backend.Spec{{Address: "10.0.0.1:80"}, {Address: "10.0.0.3:80", Weight: 2}})
	serve(route)
}

func checkBackends(s *edge.Server, set *backend.Set) {
	s.Check(set, edge.HealthOptions{Path: "/healthz", Rules: edge.HealthRules{Start: edge.HealthStartChecked}})
}

func pagesOfOnesOwn() *edge.Server {
	down, err := proxy.NewPage("text/html; charset=utf-8", "<h1>Back in a moment</h1><p>{request_id}</p>")
	if err != nil {
		log.Fatal(err)
	}
	pages := &proxy.Pages{}
	if err := pages.Add("5xx", down); err != nil {
		log.Fatal(err)
	}
	s := &edge.Server{
		Listener: proxy.Listener{Pages: pages},
		Routes:   []proxy.Route{{To: edge.Backends("127.0.0.1:3000")}},
	}
	return s
}

func redirected(pair tls.Certificate) *edge.Server {
	s := &edge.Server{
		Addr:      ":8443",
		TLS:       &tls.Config{Certificates: []tls.Certificate{pair}},
		Listeners: []edge.Listener{{Addr: ":8080", Listener: proxy.Listener{RedirectToHTTPS: 8443}}},
		AccessLog: os.Stdout,
		Routes:    []proxy.Route{{To: edge.Backends("127.0.0.1:3000")}},
	}
	return s
}

func mixed(mux *http.ServeMux) error {
	return edge.Serve("127.0.0.1:8080",
		proxy.Route{Path: "/api", To: edge.Backends("127.0.0.1:3000")},
		proxy.Route{To: handler.FromHTTP(mux)},
	)
}

func serve(...proxy.Route) {}

var _ = []any{
	serveTLS, parked, blocking, bodies, timed, slowDown, watched, destination, changeBackends, redirected, mixed,
	pagesOfOnesOwn,
}

// The table of phases has each function of a Filter in its form.
func TestFilters_phases(t *testing.T) {
	page := testutil.ReadFile(t, filepath.Join(testutil.Root(t), "docs", "filters.md"))
	for _, f := range reflect.VisibleFields(reflect.TypeFor[proxy.Filter]()) {
		form := strings.NewReplacer("uint8", "byte", "observe.", "edge.").Replace(f.Type.String())
		row := "\n| `" + f.Name + "` | `" + form + "` |"
		phase := f.Name != "When" && f.Name != "Explain"
		if f.Type.Kind() == reflect.Func && f.IsExported() && phase && !strings.Contains(string(page), row) {
			t.Errorf("docs/filters.md has no row %s", row)
		}
	}
}
