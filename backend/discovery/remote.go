package discovery

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// Bounds of what is asked of a registry.
const (
	registryConnect = 5 * time.Second
	registryAnswer  = 10 * time.Second // until the head of an answer, that of a stream too
	registryMax     = 32 << 20         // bytes of an answer, or of one message of a stream
	errorMax        = 200              // bytes of what a registry says about an error
)

// remote is a registry that is asked over HTTP.
// Owned by the goroutine of its source.
type remote struct {
	bases  []string // scheme://host; the first one is asked first
	token  func() (header, value string, err error)
	client *http.Client
}

// remoteOptions say how a registry is reached.
type remoteOptions struct {
	socket string        // the path of a Unix socket in the place of an address
	ca     string        // a file of authorities; "": those of the system
	wait   time.Duration // until the head of an answer; 0: registryAnswer; never: as long as it takes
}

// never is no limit.
const never = time.Duration(-1)

// newRemote makes a remote. Nothing is asked before the first call.
func newRemote(bases []string, o remoteOptions) (*remote, error) {
	dialer := &net.Dialer{Timeout: registryConnect, KeepAliveConfig: net.KeepAliveConfig{
		Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}} // a watch is silent for long
	t := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: registryConnect, ResponseHeaderTimeout: registryAnswer,
		ForceAttemptHTTP2: true, MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
	}
	switch {
	case o.wait == never:
		t.ResponseHeaderTimeout = 0
	case o.wait > 0:
		t.ResponseHeaderTimeout = o.wait
	}
	if o.socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", o.socket)
		}
	}
	if o.ca != "" {
		text, err := os.ReadFile(o.ca)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", o.ca)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	return &remote{bases: bases, client: &http.Client{Transport: t, CheckRedirect: noRedirect}}, nil
}

// noRedirect keeps a registry from sending a token elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// close closes idle connections.
func (r *remote) close() { r.client.CloseIdleConnections() }

// statusError is an answer that is none of 200.
type statusError struct {
	code int
	text string
}

func (e *statusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s", e.code, e.text))
}

// send asks for a path, with body as JSON unless it is nil: of the bases in turn until one answers, and from then on of
// that one.
func (r *remote) send(ctx context.Context, method, path string, body any) (resp *http.Response, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	for range r.bases {
		if resp, err = r.sendTo(ctx, r.bases[0], method, path, text); err == nil || ctx.Err() != nil {
			return resp, err
		}
		r.bases = append(r.bases[1:], r.bases[0])
	}
	return nil, err
}

// sendTo asks one server. An answer that is none of 200 is an error.
func (r *remote) sendTo(ctx context.Context, base, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "edge-discovery")
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if r.token != nil {
		name, value, err := r.token()
		if err != nil {
			return nil, err
		}
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := r.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, errorMax))
		_ = resp.Body.Close()
		return nil, &statusError{resp.StatusCode, string(said)}
	}
	return resp, nil
}

// call asks for a path and decodes the answer into to. It returns its header fields.
func (r *remote) call(ctx context.Context, method, path string, body, to any) (
	field func(name string) string, err error) {
	resp, err := r.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, registryMax+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > registryMax:
		return nil, errLong
	}
	return resp.Header.Get, json.Unmarshal(raw, to)
}

var errLong = errors.New("the answer is too long")

// stream is an answer of one JSON value after another.
// Owned by the goroutine of its source.
type stream struct {
	body    io.ReadCloser
	bounded *io.LimitedReader
	decoder *json.Decoder
}

// open asks for a path whose answer does not end. ctx ends it.
func (r *remote) open(ctx context.Context, method, path string, body any) (*stream, error) {
	resp, err := r.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: resp.Body}
	return &stream{resp.Body, limited, json.NewDecoder(limited)}, nil
}

// next decodes the next value into to.
func (s *stream) next(to any) error {
	s.bounded.N = registryMax
	err := s.decoder.Decode(to)
	if errors.Is(err, io.EOF) && s.bounded.N <= 0 {
		return errLong
	}
	return err
}

func (s *stream) close() { s.body.Close() } //nolint:errcheck // nothing was written
