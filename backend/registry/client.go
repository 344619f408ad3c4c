package registry

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
	"net/netip"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/internal/discovery/locator"
)

// Bounds of what is asked of a registry.
const (
	registryConnect = 5 * time.Second
	registryAnswer  = 10 * time.Second // until the head of an answer, of a stream too
	registryMax     = 32 << 20         // bytes of an answer, or of one message of a stream
	errorMax        = 200              // bytes of what a registry says about an error
)

// Client asks one registry, which may be several servers. Safe for any goroutine.
type Client struct {
	// Token returns a field of the head that goes with each request, and its value; "": it goes without. nil: there is
	// none.
	Token func() (field, value string, err error)

	bases  []string      // scheme://host
	first  atomic.Uint32 // index of the base that is asked first, modulo their number
	client *http.Client
	agent  string
	local  atomic.Pointer[net.TCPAddr] // stored by goroutines of client
}

// ClientOptions say how a registry is reached. The zero value is good.
type ClientOptions struct {
	Agent  string        // the User-Agent
	Socket string        // the path of a Unix socket in the place of an address
	CA     string        // a file of authorities; "": the authorities of the system
	Wait   time.Duration // until the head of an answer; 0: 10 s; Never: as long as it takes
}

// Never is no limit.
const Never = time.Duration(-1)

// NewClient makes a Client of servers, such as "http://10.0.0.5:2379". Nothing is asked before the first call. The
// error is about the file of authorities.
func NewClient(bases []string, o ClientOptions) (*Client, error) {
	alive := net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3}
	dialer := &net.Dialer{Timeout: registryConnect, KeepAliveConfig: alive} // a watch is silent for long
	c := &Client{bases: bases, agent: o.Agent}
	t := &http.Transport{
		DialContext: c.noting(dialer.DialContext), TLSHandshakeTimeout: registryConnect,
		ResponseHeaderTimeout: registryAnswer, ForceAttemptHTTP2: true,
		MaxIdleConnsPerHost: 2, IdleConnTimeout: time.Minute,
	}
	switch {
	case o.Wait == Never:
		t.ResponseHeaderTimeout = 0
	case o.Wait > 0:
		t.ResponseHeaderTimeout = o.Wait
	}
	if o.Socket != "" {
		t.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			return dialer.DialContext(ctx, "unix", o.Socket)
		}
	}
	if o.CA != "" {
		text, err := os.ReadFile(o.CA)
		if err != nil {
			return nil, err
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("%s has no certificate", o.CA)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	}
	c.client = &http.Client{Transport: t, CheckRedirect: noRedirect}
	return c, nil
}

// dialFunc makes a connection.
type dialFunc func(ctx context.Context, network, address string) (net.Conn, error)

// noting notes the address of this machine on each connection.
func (c *Client) noting(dial dialFunc) dialFunc {
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := dial(ctx, network, address)
		if err == nil {
			if at, ok := conn.LocalAddr().(*net.TCPAddr); ok {
				c.local.Store(at)
			}
		}
		return conn, err
	}
}

// Local returns the address of this machine on the last connection to the registry; the zero Addr before there was one.
func (c *Client) Local() netip.Addr {
	at := c.local.Load()
	if at == nil {
		return netip.Addr{}
	}
	return at.AddrPort().Addr().Unmap()
}

// noRedirect keeps a registry from sending a token elsewhere.
func noRedirect(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// Close closes idle connections.
func (c *Client) Close() { c.client.CloseIdleConnections() }

// StatusError is an answer that is none of 200.
type StatusError struct {
	Code int
	Text string // the begin of what the registry says
}

// Error is the number and the text.
func (e *StatusError) Error() string {
	return strings.TrimSpace(fmt.Sprintf("status %d %s", e.Code, e.Text))
}

// send asks for a path, with body as JSON unless it is nil: of the bases in turn until one answers, and from then on of
// that one.
func (c *Client) send(ctx context.Context, method, path string, body any) (resp *http.Response, err error) {
	var text []byte
	if body != nil {
		if text, err = json.Marshal(body); err != nil {
			return nil, err
		}
	}
	for range c.bases {
		at := c.first.Load()
		base := c.bases[int(at)%len(c.bases)]
		if resp, err = c.sendTo(ctx, base, method, path, text); err == nil || ctx.Err() != nil {
			return resp, err
		}
		c.first.CompareAndSwap(at, at+1)
	}
	return nil, err
}

// sendTo asks one server. An answer that is none of 200 is an error.
func (c *Client) sendTo(ctx context.Context, base, method, path string, body []byte) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.agent)
	if body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.Token != nil {
		name, value, err := c.Token()
		if err != nil {
			return nil, err
		}
		if value != "" {
			req.Header.Set(name, value)
		}
	}
	resp, err := c.client.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusOK {
		said, _ := io.ReadAll(io.LimitReader(resp.Body, errorMax))
		_ = resp.Body.Close()
		return nil, &StatusError{resp.StatusCode, string(said)}
	}
	return resp, nil
}

// Call asks for a path, with body as JSON unless it is nil, and decodes the answer into to; nil: it is not looked at.
// It returns the header fields of the answer.
func (c *Client) Call(ctx context.Context, method, path string, body, to any) (
	field func(name string) string, err error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was read
	raw, err := io.ReadAll(io.LimitReader(resp.Body, registryMax+1))
	switch {
	case err != nil:
		return nil, err
	case len(raw) > registryMax:
		return nil, ErrLong
	case to == nil:
		return resp.Header.Get, nil
	}
	return resp.Header.Get, json.Unmarshal(raw, to)
}

// ErrLong is an answer, or a message of a stream, of more than 32 MiB.
var ErrLong = errors.New("the answer is too long")

// Stream is an answer of one JSON value after another.
// Owned by the goroutine that opened it.
type Stream struct {
	body    io.ReadCloser
	bounded *io.LimitedReader
	decoder *json.Decoder
}

// Open asks for a path whose answer does not end. ctx ends it.
func (c *Client) Open(ctx context.Context, method, path string, body any) (*Stream, error) {
	resp, err := c.send(ctx, method, path, body)
	if err != nil {
		return nil, err
	}
	limited := &io.LimitedReader{R: resp.Body}
	return &Stream{resp.Body, limited, json.NewDecoder(limited)}, nil
}

// Next decodes the next value into to.
func (s *Stream) Next(to any) error {
	s.bounded.N = registryMax
	err := s.decoder.Decode(to)
	if errors.Is(err, io.EOF) && s.bounded.N <= 0 {
		return ErrLong
	}
	return err
}

// Close ends the answer.
func (s *Stream) Close() { s.body.Close() } //nolint:errcheck // nothing was written

// Bases returns the servers of a registry as the begins of URLs. A file of authorities means TLS.
func Bases(l *locator.Locator) []string {
	scheme := "http://"
	if l.Params.Get("tls") == "true" || l.Params.Has("ca") && l.Params.Get("tls") != "false" {
		scheme = "https://"
	}
	all := make([]string, len(l.Hosts))
	for i, host := range l.Hosts {
		all[i] = scheme + host
	}
	return all
}

// Secret returns the text of a file, or of a variable of the environment where no file is named.
func Secret(file, variable string) (string, error) {
	if file == "" {
		return os.Getenv(variable), nil
	}
	text, err := os.ReadFile(file)
	return strings.TrimSpace(string(text)), err
}
