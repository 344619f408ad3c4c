package admin

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/edge-proxy/edge/internal/config"
)

// ErrNoAnswer says that no process serves at the address of a Client.
var ErrNoAnswer = errors.New("no edge answers")

// Refused is an answer of the API that is an error.
type Refused struct {
	Status int
	Problem
}

// Error returns what the process says.
func (r *Refused) Error() string { return r.Problem.Error }

// Target says where a Client finds a process, and what it shows.
type Target struct {
	Address string // unix:/path, host:port, :port, http://host:port or https://host:port
	Token   string // for TCP; "": none
	Trust   string // the file of the process's certificate, which is trusted; "": the authorities of the system
}

// Client asks the API of a process.
// Safe for any goroutine.
type Client struct {
	target Target
	base   string // of URLs, without a path
	http   *http.Client
}

const (
	dialTime  = 3 * time.Second
	dialPause = time.Millisecond // while the queue of a Unix socket is full: many others connect to it
)

// NewClient returns a Client. It does not connect yet.
func NewClient(t Target) (*Client, error) {
	c := &Client{target: t}
	transport := &http.Transport{ResponseHeaderTimeout: writeTime + headTime, MaxIdleConns: 1}
	dialer := &net.Dialer{Timeout: dialTime}
	if path, found := strings.CutPrefix(t.Address, "unix:"); found {
		c.base = "http://edge"
		transport.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
			for begun := time.Now(); ; time.Sleep(dialPause) {
				conn, err := dialer.DialContext(ctx, "unix", path)
				if !errors.Is(err, syscall.EAGAIN) || ctx.Err() != nil || time.Since(begun) > dialTime {
					return conn, err
				}
			}
		}
		c.http = &http.Client{Transport: transport}
		return c, nil
	}
	if c.base = t.Address; !strings.Contains(t.Address, "://") {
		at := reachable(t.Address)
		scheme := "https" // [admin] takes no other address without a certificate than a loopback one
		if t.Trust == "" && isLocal(at) {
			scheme = "http"
		}
		c.base = scheme + "://" + at
	}
	u, err := url.Parse(c.base)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || strings.Trim(u.Path, "/") != "" {
		return nil, fmt.Errorf("%q is no address of an admin surface: write unix:/path, host:port or https://host:port",
			t.Address)
	}
	c.base = u.Scheme + "://" + u.Host
	transport.DialContext = dialer.DialContext
	if t.Trust != "" {
		if transport.TLSClientConfig, err = trusting(t.Trust); err != nil {
			return nil, err
		}
	}
	c.http = &http.Client{Transport: transport}
	return c, nil
}

// reachable makes of an address to listen on one to connect to.
func reachable(address string) string {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return address
	}
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return net.JoinHostPort(host, port)
}

// isLocal reports whether an address to connect to is one of this machine: a token is not sent in clear to others.
func isLocal(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// trusting trusts the certificate in a file, by the name that it has.
func trusting(path string) (*tls.Config, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	own := x509.NewCertPool()
	own.AppendCertsFromPEM(text)
	for block, rest := pem.Decode(text); block != nil; block, rest = pem.Decode(rest) {
		leaf, err := x509.ParseCertificate(block.Bytes)
		if block.Type != "CERTIFICATE" || err != nil {
			continue
		}
		name := leaf.Subject.CommonName
		if len(leaf.DNSNames) > 0 {
			name = strings.Replace(leaf.DNSNames[0], "*", "edge", 1)
		} else if len(leaf.IPAddresses) > 0 {
			name = leaf.IPAddresses[0].String()
		}
		return &tls.Config{RootCAs: own, ServerName: name, MinVersion: tls.VersionTLS12}, nil
	}
	return nil, fmt.Errorf("%s holds no certificate", path)
}

// Address returns where c asks.
func (c *Client) Address() string { return c.target.Address }

// Do asks an operation with the body in, nil for none, and reads its answer into out, nil for none. The error is a
// *Refused where the process answers with one, wraps ErrNoAnswer where no process serves, and says what helps where the
// user may not connect. out is filled for status 422 too: that is what a failed reload answers.
func (c *Client) Do(ctx context.Context, method, path string, in, out any) error {
	var body io.Reader
	if in != nil {
		text, err := json.Marshal(in)
		if err != nil {
			return err
		}
		body = bytes.NewReader(text)
	}
	req, err := http.NewRequestWithContext(ctx, method, c.base+path, body)
	if err != nil {
		return err
	}
	if method != http.MethodGet {
		req.Header.Set("Content-Type", "application/json")
	}
	if c.target.Token != "" {
		req.Header.Set("Authorization", "Bearer "+c.target.Token)
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return c.explain(err)
	}
	defer resp.Body.Close() //nolint:errcheck // it was read as far as it is of use
	if resp.StatusCode >= http.StatusBadRequest && (resp.StatusCode != http.StatusUnprocessableEntity || out == nil) {
		r := &Refused{Status: resp.StatusCode}
		text, _ := io.ReadAll(io.LimitReader(resp.Body, bodyMost))
		if json.Unmarshal(text, &r.Problem) != nil || r.Problem.Error == "" {
			r.Problem = Problem{Error: strings.TrimSpace(string(text)), Code: "fault"}
		}
		return r
	}
	if out == nil {
		return nil
	}
	if err := json.NewDecoder(resp.Body).Decode(out); err != nil {
		return fmt.Errorf("the answer of %s: %w", c.target.Address, err)
	}
	return nil
}

// explain says what an error of a connection means.
func (c *Client) explain(err error) error {
	var inner *url.Error
	if errors.As(err, &inner) {
		err = inner.Err
	}
	switch {
	case errors.Is(err, os.ErrPermission):
		return fmt.Errorf("%s: this user may not connect: try again with sudo, or as a member of its group",
			c.target.Address)
	case errors.Is(err, os.ErrNotExist), errors.Is(err, syscall.ECONNREFUSED):
		return fmt.Errorf("%w at %s", ErrNoAnswer, c.target.Address)
	}
	return fmt.Errorf("%s: %w", c.target.Address, err)
}

// TargetOf returns where the surface of a process listens whose configuration is cfg: a Unix socket before an address.
// given is false where cfg does not say, and off where it says that there is none.
func TargetOf(cfg *config.Config) (t Target, given, off bool) {
	a, _ := settingsOf(cfg)
	if a.Listen.Off || len(a.Listen.Addresses) == 0 {
		return Target{}, a.Listen.Off, a.Listen.Off
	}
	best := &a.Listen.Addresses[0]
	for i := range a.Listen.Addresses {
		if one := &a.Listen.Addresses[i]; one.Network == "unix" {
			best = one
			break
		}
	}
	t = Target{Address: best.Text, Token: a.Token, Trust: a.Cert}
	if best.Network == "unix" {
		t.Token, t.Trust = "", ""
		t.Address = "unix:" + cfg.Global.FromWorkingDirectory(best.Path)
	}
	return t, true, false
}

// CredentialsOf returns the token of cfg, and the file of its certificate, for an address that is named otherwise; "":
// none.
func CredentialsOf(cfg *config.Config) (token, trust string) {
	a, _ := settingsOf(cfg)
	return a.Token, a.Cert
}
