package server

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"sync"
	"time"

	wanted "github.com/edge-proxy/edge/internal/config/acme"
	"github.com/edge-proxy/edge/internal/tls/certs"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
	"github.com/edge-proxy/edge/internal/tls/tlsconn"
)

const (
	askMax    = 2 * time.Second
	askedLife = 5 * time.Minute
	askedMost = 10000 // answers
)

// onDemand is the certs.Source of a Set: a handshake may cause the order of a certificate.
type onDemand struct {
	*issue.Set
	renewer *issue.Renewer
}

// Wait implements certs.Source. Others have the turn of the handshake meanwhile.
func (o onDemand) Wait(hello *tls.ClientHelloInfo, name string) (found *certs.Certificate) {
	if !o.Demands(name) {
		return nil
	}
	_ = tlsconn.Await(hello, func(ctx context.Context) error {
		found = o.renewer.Obtain(ctx, o.Set, name)
		return nil
	})
	return found
}

// demandOf returns what on_demand says; nil: nothing.
func demandOf(of *wanted.ACME) *issue.Demand {
	if of.Ask == "" {
		return nil
	}
	a := &asker{url: of.Ask, known: make(map[string]askedAnswer), client: &http.Client{
		Timeout: askMax, Transport: http.DefaultTransport.(*http.Transport).Clone(),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	return &issue.Demand{Allow: a.allow, Every: of.Rate.Per / time.Duration(of.Rate.Count), Burst: of.Rate.Count}
}

// asker asks a service of the operator which names may have certificates. Safe for any goroutine.
type asker struct {
	url    string
	client *http.Client
	logged eachMinute

	mu    sync.Mutex
	known map[string]askedAnswer // guarded by mu
}

type askedAnswer struct {
	allowed bool
	until   time.Time
}

// allow asks for a name, or knows the answer. An answer other than 2xx is no.
func (a *asker) allow(ctx context.Context, name string) (bool, error) {
	now := time.Now()
	a.mu.Lock()
	known := a.known[name]
	a.mu.Unlock()
	if now.Before(known.until) {
		return known.allowed, nil
	}
	u, err := url.Parse(a.url)
	if err != nil {
		return false, err
	}
	q := u.Query()
	q.Set("domain", name)
	u.RawQuery = q.Encode()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), nil)
	if err != nil {
		return false, err
	}
	resp, err := a.client.Do(r)
	if err != nil {
		if of, is := errors.AsType[*url.Error](err); is {
			err = of.Err // without the URL, which may have a key
		}
		if ctx.Err() == nil && a.logged.begins() {
			slog.Warn("the service of on_demand.ask does not answer: new names have no certificate", "error", err)
		}
		return false, fmt.Errorf("on_demand.ask: %w", err)
	}
	resp.Body.Close() //nolint:errcheck // it is not read
	allowed := resp.StatusCode/100 == 2
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.known) >= askedMost {
		clear(a.known)
	}
	a.known[name] = askedAnswer{allowed, now.Add(askedLife)}
	return allowed, nil
}
