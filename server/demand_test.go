package server

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	wanted "github.com/edge-proxy/edge/config/acme"
	"github.com/edge-proxy/edge/plugin"
)

// The service of the operator is asked once in five minutes for a name. Only 2xx is yes, redirects are not followed,
// and an answer that does not come is none.
func TestAsker(t *testing.T) {
	var mu sync.Mutex
	var queries []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		queries = append(queries, r.URL.RequestURI())
		mu.Unlock()
		switch r.URL.Query().Get("domain") {
		case "no.test":
			w.WriteHeader(http.StatusNotFound)
		case "moved.test":
			http.Redirect(w, r, "/?domain=yes.test", http.StatusFound)
		case "dead.test":
			panic(http.ErrAbortHandler)
		case "made.test":
			w.WriteHeader(http.StatusNoContent)
		}
	}))
	d := demandOf(&wanted.ACME{Ask: s.URL + "/may?key=a+b", Rate: plugin.Rate{Count: 6, Per: time.Minute}})
	if d.Every != 10*time.Second || d.Burst != 6 {
		t.Errorf("%+v", d)
	}
	for name, want := range map[string]bool{
		"yes.test": true, "made.test": true, "no.test": false, "moved.test": false, "dead.test": false,
	} {
		for range 2 {
			allowed, err := d.Allow(t.Context(), name)
			tells := err != nil && strings.Contains(err.Error(), "key")
			if allowed != want || (err != nil) != (name == "dead.test") || tells {
				t.Errorf("%s: %t, %v", name, allowed, err)
			}
		}
	}
	s.Close()
	if len(queries) != 6 || !slices.Contains(queries, "/may?domain=yes.test&key=a+b") {
		t.Errorf("%q", queries)
	}
	if demandOf(&wanted.ACME{}) != nil {
		t.Error("certificates on demand without on_demand")
	}
}

// answering is a transport that answers a second later.
type answering struct{ asked int }

func (a *answering) RoundTrip(r *http.Request) (*http.Response, error) {
	a.asked++
	select {
	case <-time.After(time.Second):
		return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

// Answers are kept for five minutes, and a bounded number of them.
func TestAsker_keeps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		over := &answering{}
		a := &asker{url: "http://a.test", known: make(map[string]askedAnswer), client: &http.Client{Transport: over}}
		for _, pause := range []time.Duration{0, 4 * time.Minute, 2 * time.Minute} {
			<-time.After(pause)
			if allowed, err := a.allow(t.Context(), "a.test"); !allowed || err != nil {
				t.Errorf("%t, %v", allowed, err)
			}
		}
		if over.asked != 2 {
			t.Errorf("asked %d times", over.asked)
		}
		for i := range askedMost {
			a.known[string(rune(i))] = askedAnswer{}
		}
		if _, err := a.allow(t.Context(), "b.test"); err != nil || len(a.known) != 1 {
			t.Errorf("%d answers are kept, %v", len(a.known), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := a.allow(ctx, "c.test"); err == nil || len(a.known) != 1 || a.logged.last.Load() != 0 {
			t.Errorf("%d answers are kept, %v, told at %d", len(a.known), err, a.logged.last.Load())
		}
		var log bytes.Buffer
		logger := slog.Default()
		slog.SetDefault(slog.New(slog.NewTextHandler(&log, nil)))
		defer slog.SetDefault(logger)
		a.client.Timeout = time.Millisecond
		for range 3 {
			a.allow(t.Context(), "c.test")
			<-time.After(25 * time.Second)
		}
		if n := strings.Count(log.String(), "on_demand.ask does not answer"); n != 1 {
			t.Errorf("told %d times:\n%s", n, &log)
		}
	})
}
