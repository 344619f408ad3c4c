package acme

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/edge-proxy/edge/internal/base/printable"
	"github.com/edge-proxy/edge/internal/tls/certs/issue"
)

const (
	answerBytesMax = 1 << 20 // of an authority; a chain has some 4 KiB
	answerMax      = 30 * time.Second
	proofMax       = 2 * time.Minute    // for one name, from the authority's yes to its verdict
	removeMax      = 30 * time.Second   // for one proof, and for all together once their order was given up
	pollMax        = time.Minute        // between two looks at an order, whatever Retry-After says
	earlyMax       = 7 * 24 * time.Hour // a longer Retry-After is a mistake
	textMax        = 500                // bytes of an error
	directoryLife  = 12 * time.Hour
)

// authority is what the calls of an Issuer share. Immutable but for seen and used.
type authority struct {
	o        Options
	key      string
	agent    string
	bindings string // where ZeroSSL tells an EAB; "": it tells none
	web      *http.Transport
	seen     atomic.Pointer[directory]
	used     atomic.Pointer[acme.Account] // of the last call
}

// call is one call of an Issuer, and the transport and the solver of acmez for that. Owned by the caller's goroutine.
type call struct {
	*authority
	client    *acmez.Client
	known     *directory
	presented []func(ctx context.Context) // remove proofs
	records   map[string]Record           // that are presented, by the token of the challenge
	settled   time.Time                   // when other processes have the proofs

	status int           // of the last answer with an error and Retry-After
	after  time.Duration // its Retry-After
}

// begin makes a call with these kinds of proofs, which end ends.
func (a *authority) begin(kinds []string) *call {
	c := &call{authority: a, records: make(map[string]Record)}
	solvers := make(map[string]acmez.Solver)
	for _, kind := range kinds {
		solvers[kind] = c
	}
	c.client = &acmez.Client{ChallengeSolvers: solvers, Client: &acme.Client{
		Directory: a.o.Directory, UserAgent: a.agent, Logger: a.o.Logger, PollTimeout: proofMax,
		HTTPClient: &http.Client{Transport: c, Timeout: answerMax},
	}}
	return c
}

// end removes proofs, also after the end of the order's context, and closes connections.
func (c *call) end(order context.Context) {
	all, cancel := context.WithCancel(context.WithoutCancel(order))
	defer cancel()
	defer context.AfterFunc(order, func() { time.AfterFunc(removeMax, cancel) })()
	for _, remove := range slices.Backward(c.presented) {
		one, done := context.WithTimeout(all, removeMax)
		remove(one)
		done()
	}
	c.web.CloseIdleConnections()
}

// directory is the directory of an authority at a time. Immutable.
type directory struct {
	acme.Directory
	at time.Time
}

// directory asks for the directory, unless it is known. acmez asks under a lock of the whole process, so that an
// authority that is down would hold up the others: RoundTrip answers acmez from here.
func (c *call) directory(ctx context.Context) (*directory, error) {
	if d := c.seen.Load(); d != nil && time.Since(d.at) < directoryLife {
		c.known = d
		return d, nil
	}
	text, err := c.ask(ctx, http.MethodGet, c.o.Directory, nil)
	if err != nil {
		return nil, err
	}
	d := &directory{at: time.Now()}
	err = json.Unmarshal(text, &d.Directory)
	if err != nil || d.NewNonce == "" || d.NewAccount == "" || d.NewOrder == "" {
		return nil, fmt.Errorf("%s is no directory of ACME", c.o.Directory)
	}
	c.known = d
	c.seen.Store(d)
	return d, nil
}

// ask sends a request outside of ACME.
func (c *call) ask(ctx context.Context, method, url string, form io.Reader) ([]byte, error) {
	r, err := http.NewRequestWithContext(ctx, method, url, form)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", c.agent)
	if form != nil {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	resp, err := c.client.HTTPClient.Do(r)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close() //nolint:errcheck // it was only read
	text, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: HTTP %d: %s", url, resp.StatusCode, text)
	}
	return text, err
}

// RoundTrip bounds answers, and notes Retry-After, which acmez does not tell.
func (c *call) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != "https" {
		return nil, errors.New("an authority is asked by https alone") // RFC 8555 §6.1
	}
	if c.known != nil && r.URL.String() == c.o.Directory {
		text, err := json.Marshal(c.known.Directory)
		return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(text)), Request: r}, err
	}
	resp, err := c.web.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode == http.StatusSwitchingProtocols { // no timeout ends reads of it
		resp.Body.Close() //nolint:errcheck // nobody reads it
		return nil, errors.New("the answer changes the protocol")
	}
	if r.Method != http.MethodHead && strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") {
		resp.Body.Close() //nolint:errcheck // nobody reads it
		if resp.Body = io.NopCloser(strings.NewReader("a page of HTML")); resp.StatusCode < 400 {
			return nil, errors.New("the answer is a page of HTML")
		}
	}
	resp.Body = http.MaxBytesReader(nil, resp.Body, answerBytesMax)
	resp.Header.Del("Link") // acmez follows links to other chains, which may lead in a circle
	switch after := retryAfter(resp.Header); {
	case resp.StatusCode >= 400 && after > 0:
		c.status, c.after = resp.StatusCode, min(after, earlyMax)
	case resp.Header.Get("Retry-After") != "" && r.Method == http.MethodPost: // acmez waits as long as it is told
		seconds := int(min(max(after, time.Second), pollMax) / time.Second)
		resp.Header.Set("Retry-After", strconv.Itoa(seconds))
	}
	return resp, nil
}

// retryAfter returns the time of the header (RFC 9110 §10.2.3), or 0.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.ParseInt(text, 10, 32); err == nil {
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(text)
	if err != nil {
		return 0
	}
	return time.Until(at)
}

// failure is an error as an operator reads it, on one line.
type failure struct {
	text string
	err  error
}

func (f *failure) Error() string { return f.text }
func (f *failure) Unwrap() error { return f.err }

// explain returns an error of this call on one short line: an *issue.Early where the authority names a time.
func (c *call) explain(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil { // an answer that is cut off then is no other error
		err = fmt.Errorf("%w: %w", ctx.Err(), err)
	}
	text, p := err.Error(), problemOf(err)
	if large := (*http.MaxBytesError)(nil); p != nil {
		text = describe(p)
	} else if errors.As(err, &large) {
		text = fmt.Sprintf("an answer has more than %d bytes", large.Limit)
	}
	if text = printable.Word(text); len(text) > textMax {
		text = strings.ToValidUTF8(text[:textMax], "") + "…"
	}
	if after := c.early(p); after > 0 {
		return &issue.Early{Err: &failure{text, err}, After: after}
	}
	return &failure{text, err}
}

// early returns the time of Retry-After beside a problem, or 0.
func (c *call) early(p *acme.Problem) time.Duration {
	if p != nil && p.Status != c.status && p.Type != acme.ProblemTypeRateLimited {
		return 0
	}
	return c.after
}

func problemOf(err error) *acme.Problem {
	if p := (acme.Problem{}); errors.As(err, &p) {
		return &p
	}
	var p *acme.Problem // of an order that has failed; may be nil in there
	errors.As(err, &p)
	return p
}

// describe returns the type and the detail of a problem, and of its part for each name.
func describe(p *acme.Problem) string {
	kind := func(of string) string {
		return cmp.Or(strings.TrimPrefix(of, acme.ProblemTypeNamespace), "problem")
	}
	text := kind(p.Type) + ": " + p.Detail
	if proof, is := p.Resource.(acme.Authorization); is {
		text = proof.IdentifierValue() + ": " + text
	}
	for _, sub := range p.Subproblems {
		if text += "; " + sub.Identifier.Value + ": " + kind(sub.Type) + ": " + sub.Detail; len(text) > textMax {
			break
		}
	}
	return text
}
