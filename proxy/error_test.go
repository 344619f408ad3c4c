package proxy_test

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
	"github.com/edge-proxy/edge/internal/upstream"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

// unopened is a destination that cannot be connected to.
type unopened struct{ cause error }

func (u unopened) Open(*proxy.Exchange, session.Receiver) proxy.Opening {
	return proxy.Opening{Err: u.cause}
}

// What keeps a connection from being made is told apart by what the kernel says, in the words of RFC 9209 §2.3.
func TestError_ofConnecting(t *testing.T) {
	for _, c := range []struct {
		cause  error
		status int
		token  string
	}{
		{syscall.ECONNREFUSED, 502, "connection_refused"},
		{fmt.Errorf("connect: %w", syscall.ECONNREFUSED), 502, "connection_refused"},
		{syscall.ENOENT, 502, "destination_unavailable"},
		{syscall.EACCES, 502, "proxy_configuration_error"},
		{syscall.EPERM, 502, "proxy_configuration_error"},
		{syscall.ENETUNREACH, 502, "destination_ip_unroutable"},
		{syscall.EHOSTUNREACH, 502, "destination_ip_unroutable"},
		{syscall.ETIMEDOUT, 504, "connection_timeout"},
		{engine.ErrConnectTimeout, 504, "connection_timeout"},
		{syscall.EADDRNOTAVAIL, 503, "connection_limit_reached"},
		{engine.ErrNoDescriptors, 503, "connection_limit_reached"},
		{syscall.ENOBUFS, 503, "proxy_internal_response"},
		{upstream.ErrNoAddress, 503, "destination_unavailable"},
		{upstream.ErrQueueFull, 503, "connection_limit_reached"},
		{&tlsconn.HandshakeError{Reason: tlsconn.ErrTimeout}, 504, "connection_timeout"},
		{syscall.ECONNRESET, 502, "connection_refused"},
	} {
		r := newRig(t, func(*engine.Engine) []proxy.Route { return []proxy.Route{{To: unopened{c.cause}}} })
		resp, _ := testutil.Get(t, http.DefaultClient, r.url)
		got := resp.Header.Get("Proxy-Status")
		if resp.StatusCode != c.status || !strings.HasSuffix(got, "error="+c.token) {
			t.Errorf("%v: %d, %s; want %d, %s", c.cause, resp.StatusCode, got, c.status, c.token)
		}
	}
}

// What filters are told of a failure has its cause, and is found by its kind.
func TestError_Is(t *testing.T) {
	dead := testutil.FreeAddr(t)
	logged := make(chan error, 1)
	told := make(chan error, 1)
	r := newRig(t, func(e *engine.Engine) []proxy.Route { return []proxy.Route{{To: to(e, dead)}} }, &proxy.Filter{
		Error: func(_ *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			own := *e // e is borrowed
			told <- &own
			return proxy.Next
		},
		Log: func(x *proxy.Exchange, _ *observe.Record) { logged <- x.Failure() },
	})
	testutil.Get(t, http.DefaultClient, r.url)
	for at, err := range map[string]error{"Error": <-told, "Log": <-logged} {
		if !errors.Is(err, proxy.ConnectRefused) || !errors.Is(err, syscall.ECONNREFUSED) ||
			errors.Is(err, proxy.NoBackend) || errors.Is(err, proxy.Overload) {
			t.Errorf("%s: %v is something else", at, err)
		}
		e := (*proxy.Error)(nil)
		if !errors.As(err, &e) || e.Reason() != "backend:connect" || e.Retry != proxy.RetryAlways {
			t.Errorf("%s: %+v", at, err)
		}
	}
	if errors.Is(proxy.ConnectRefused, (*proxy.Error)(nil)) {
		t.Error("a failure is none")
	}
	if !errors.Is(&proxy.Error{Kind: "connect", From: proxy.SideBackend}, proxy.ConnectRefused) ||
		errors.Is(&proxy.Error{Kind: "connect", From: proxy.SideProxy}, proxy.ConnectRefused) ||
		errors.Is(&proxy.Error{Kind: "connect_timeout", From: proxy.SideBackend}, proxy.ConnectRefused) {
		t.Error("another kind, or the kind of another side, is the same failure")
	}
}

// A filter changes what a failure is answered with, but neither the log nor the failure of the next request.
func TestError_changedByFilters(t *testing.T) {
	records := make(chan string, 2)
	seen := make(chan int, 2)
	r := newRig(t, func(*engine.Engine) []proxy.Route { return nil },
		&proxy.Filter{Error: func(x *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			if x.Request.Get("X-Change") != "" {
				e.Status, e.Text, e.Token = 410, "It is gone for good.", "destination_unavailable"
			}
			return proxy.Next
		}},
		&proxy.Filter{Error: func(_ *proxy.Exchange, e *proxy.Error) proxy.Verdict {
			seen <- e.Status
			return proxy.Next
		}, Log: func(_ *proxy.Exchange, r *observe.Record) { records <- fmt.Sprint(r.Status, " ", r.Reason) }})
	for _, c := range []struct {
		change               string
		status               int
		text, token, logLine string
	}{
		{"yes", 410, "It is gone for good.", "destination_unavailable", "410 edge:route"},
		{"", 404, "There is nothing at this address.", "destination_not_found", "404 edge:route"},
	} {
		req, err := http.NewRequest("GET", r.url, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("X-Change", c.change)
		resp, body := testutil.Do(t, http.DefaultClient, req)
		if resp.StatusCode != c.status || !strings.Contains(body, c.text) ||
			!strings.HasSuffix(resp.Header.Get("Proxy-Status"), "error="+c.token) {
			t.Errorf("%d %s %s", resp.StatusCode, resp.Header.Get("Proxy-Status"), body)
		}
		if got := <-seen; got != c.status {
			t.Errorf("the next filter sees %d", got)
		}
		if got := <-records; got != c.logLine {
			t.Errorf("the log says %s", got)
		}
	}
}

// A failure of a Destination whose status is no failure's is answered as one of the proxy.
func TestError_statusOfADestination(t *testing.T) {
	wants := map[int]int{-1: 500, 0: 500, 200: 500, 399: 500, 600: 500, 70000: 500, 400: 400, 599: 599}
	for status, want := range wants {
		own := proxy.NewError(proxy.Error{Kind: "own", From: proxy.SideBackend, Status: status, Text: "It is wrong."})
		r := newRig(t, func(*engine.Engine) []proxy.Route { return []proxy.Route{{To: unopened{own}}} })
		if got, body := askFor(t, r.url); got != want || !strings.Contains(body, "It is wrong.") && want < 500 {
			t.Errorf("status %d: %d %q, want %d", status, got, body, want)
		}
	}
}
