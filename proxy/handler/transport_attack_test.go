package handler_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/internal/upstream"
)

// An answer that waits unread is not taken for one that has ended when its context does, or its body is closed.
func TestTransport_unreadAnswers(t *testing.T) {
	rt, e := newTransport(t, upstream.Options{}, serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Write(make([]byte, 10_000))
	}))
	for name, end := range map[string]func(resp *http.Response, cancel func()){
		"context": func(_ *http.Response, cancel func()) { cancel() },
		"close":   func(resp *http.Response, _ func()) { resp.Body.Close() },
	} {
		for range 20 {
			ctx, cancel := context.WithCancel(context.Background())
			req, _ := http.NewRequestWithContext(ctx, "GET", "http://a/", nil)
			resp, err := rt.RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			idle := func() bool { return e.Stats().BufBytes == 0 }
			testutil.Eventually(t, testutil.Patience, idle, "all of it has come")
			end(resp, cancel)
			if got, err := io.ReadAll(resp.Body); err == nil && len(got) != 10_000 {
				t.Fatalf("%s: %d bytes, and no error", name, len(got))
			}
			cancel()
		}
	}
}

// An answer that is cut off is none that has no body.
func TestTransport_cutAnswers(t *testing.T) {
	origin := testutil.Listen(t)
	go func() {
		for {
			c, err := origin.Accept()
			if err != nil {
				return
			}
			if _, err := http.ReadRequest(bufio.NewReader(c)); err == nil {
				io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			}
			c.Close()
		}
	}()
	rt, _ := newTransport(t, upstream.Options{}, origin.Addr().String())
	var all sync.WaitGroup
	for range 16 {
		all.Go(func() {
			for range 30 {
				resp, err := rt.RoundTrip(mustRequest("GET", func(*http.Request) {}))
				if err != nil {
					continue
				}
				if got, err := io.ReadAll(resp.Body); err == nil {
					t.Errorf("%d bytes of 10, and no error", len(got))
				}
				resp.Body.Close()
			}
		})
	}
	all.Wait()
}

// What one request says of TE, no other one does.
func TestTransport_keepsNothing(t *testing.T) {
	rt, _ := newTransport(t, upstream.Options{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header["Te"])
	}))
	for i := range 20 {
		resp, err := rt.RoundTrip(mustRequest("GET", func(r *http.Request) {
			if i == 0 {
				r.Header.Set("Te", "trailers")
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := io.ReadAll(resp.Body); i > 0 && string(got) != "[]" {
			t.Fatalf("request %d: %s", i, got)
		}
		resp.Body.Close()
	}
}

// watched is a body that says when it is closed.
type watched struct {
	io.Reader
	closed chan bool
	once   sync.Once
}

func (w *watched) Close() error {
	if c, ok := w.Reader.(io.Closer); ok {
		c.Close()
	}
	w.once.Do(func() { close(w.closed) })
	return nil
}

// reads is a body as a function.
type reads func(p []byte) (int, error)

func (f reads) Read(p []byte) (int, error) { return f(p) }

// A body that waits, or never ends, or breaks the rules of io.Reader is closed with its call, which ends.
func TestTransport_badBodies(t *testing.T) {
	testutil.CheckLeaks(t)
	rt, _ := newTransport(t, upstream.Options{}, serve(t, answers))
	pipe, _ := io.Pipe()
	var zeroes atomic.Int64
	for name, body := range map[string]io.Reader{
		"waits":    pipe,
		"too much": reads(func(p []byte) (int, error) { return len(p) + 1, nil }),
		"negative": reads(func([]byte) (int, error) { return -1, nil }),
		"nothing":  reads(func([]byte) (int, error) { zeroes.Add(1); return 0, nil }),
		"fails":    reads(func([]byte) (int, error) { return 0, errors.New("own") }),
	} {
		w := &watched{Reader: body, closed: make(chan bool)}
		ctx, cancel := context.WithTimeout(context.Background(), 100*time.Millisecond)
		req, _ := http.NewRequestWithContext(ctx, "POST", "http://a/", w)
		if resp, err := rt.RoundTrip(req); err == nil {
			t.Errorf("%s: %s", name, resp.Status)
			resp.Body.Close()
		}
		<-w.closed
		cancel()
	}
	for length, text := range map[int64]string{3: "abcdef", 9: "abcdef"} {
		for _, getBody := range []bool{true, false} {
			req, _ := http.NewRequest("POST", "http://a/", strings.NewReader(text))
			if req.ContentLength = length; !getBody {
				req.GetBody = nil
			}
			if resp, err := rt.RoundTrip(req); err == nil || !strings.Contains(err.Error(), "ContentLength") {
				t.Errorf("%d bytes of %s: %v, %v", length, text, resp, err)
			}
		}
	}
}

// A request may be used again once its answer was read, while the old body is still waited for.
func TestTransport_reusedRequest(t *testing.T) {
	rt, _ := newTransport(t, upstream.Options{}, serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/early" {
			http.NewResponseController(w).EnableFullDuplex() //nolint:errcheck // it is HTTP/1
			w.WriteHeader(503)
			return
		}
		io.Copy(w, r.Body)
	}))
	for range 20 {
		in, out := io.Pipe()
		req := mustRequest("POST", func(r *http.Request) { r.Body, r.URL.Path = in, "/early" })
		resp, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		io.ReadAll(resp.Body)
		resp.Body.Close()
		req.URL.Path, req.Body = "/", io.NopCloser(io.MultiReader(strings.NewReader("hel"), strings.NewReader("lo")))
		if resp, err = rt.RoundTrip(req); err != nil {
			t.Fatal(err)
		}
		if got, err := io.ReadAll(resp.Body); string(got) != "hello" || err != nil {
			t.Fatalf("%q, %v", got, err)
		}
		resp.Body.Close()
		out.Close()
	}
}

// What code says of its client reaches the backend: it is no client that is not trusted.
func TestTransport_forwardedFields(t *testing.T) {
	address := serve(t, func(w http.ResponseWriter, r *http.Request) {
		h := r.Header
		fmt.Fprint(w, h["X-Forwarded-For"], h["X-Forwarded-Host"], h["X-Forwarded-Proto"], h["X-Real-Ip"])
	})
	rt, _ := newTransport(t, upstream.Options{}, address)
	p := &httputil.ReverseProxy{Transport: rt, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: address})
		r.SetXForwarded()
		r.Out.Header.Set("X-Real-Ip", "192.0.2.7")
	}}
	front := serve(t, p.ServeHTTP)
	req, _ := http.NewRequest("GET", "http://"+front+"/", nil)
	req.Host = "public.example"
	if _, got := testutil.Do(t, http.DefaultClient, req); got != "[127.0.0.1] [public.example] [http] [192.0.2.7]" {
		t.Error(got)
	}
	http.DefaultClient.CloseIdleConnections()
}
