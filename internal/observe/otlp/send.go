package otlp

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync"
	"time"
)

const (
	giveUpAfter = time.Minute // what one call sends, all its batches and attempts together

	pauseMin = time.Second
	pauseMax = 30 * time.Second
)

// ErrClosed says that the exporter was closed before.
var ErrClosed = errors.New("otlp: exporter is closed")

// sender brings batches to a collector. deliver is for one goroutine at a time, all else for any.
type sender struct {
	url     string
	grpc    bool
	header  http.Header // immutable
	timeout time.Duration
	client  *http.Client
	resume  time.Time // when the collector may be asked again

	ctx    context.Context // ends with Close
	cancel context.CancelFunc
}

func newSender(url string, header http.Header, t *tls.Config, timeout time.Duration, grpc bool) sender {
	s := sender{url: url, grpc: grpc, header: make(http.Header), timeout: timeout, client: newClient(t, timeout, grpc)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	maps.Copy(s.header, header)
	s.header.Set("Content-Type", "application/x-protobuf")
	if grpc {
		s.header.Set("Content-Type", "application/grpc")
		s.header.Set("Te", "trailers")
		s.header.Set("Grpc-Timeout", strconv.FormatInt(timeout.Milliseconds(), 10)+"m")
	}
	return s
}

// newClient follows no redirect: a batch and its token go where the configuration says. gRPC is HTTP/2 alone, with TLS
// or without.
func newClient(t *tls.Config, timeout time.Duration, grpc bool) *http.Client {
	p := new(http.Protocols)
	p.SetHTTP1(!grpc)
	p.SetHTTP2(true)
	p.SetUnencryptedHTTP2(grpc)
	return &http.Client{
		Transport: &http.Transport{
			Proxy: http.ProxyFromEnvironment, Protocols: p, TLSClientConfig: t.Clone(),
			DialContext: (&net.Dialer{Timeout: timeout}).DialContext, TLSHandshakeTimeout: timeout,
			IdleConnTimeout: 90 * time.Second, MaxResponseHeaderBytes: answerMax, DisableCompression: true,
		},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// failure is an attempt that did not bring a batch to the collector.
type failure struct {
	says   string
	cause  error         // nil: an answer
	repeat bool          // the batch may be sent again
	after  time.Duration // that the collector asks for; 0: it asks for none
}

func (f *failure) Error() string {
	if f.cause != nil {
		return "otlp: " + f.cause.Error()
	}
	return "otlp: " + f.says
}

// Unwrap returns the error of the network.
func (f *failure) Unwrap() error { return f.cause }

// deliver sends body until an answer settles it, or ctx ends. Pauses between attempts double, and hold for the next
// batch as well.
func (s *sender) deliver(ctx context.Context, body []byte) (a answer, err error) {
	for pause := pauseMin; ; pause = min(2*pause, pauseMax) {
		switch waited := s.awaitResume(ctx); {
		case s.ctx.Err() != nil:
			return answer{}, ErrClosed
		case waited != nil:
			return answer{}, cmp.Or(err, waited)
		}
		a, err = s.post(ctx, s.header, body)
		var f *failure
		if !errors.As(err, &f) || !f.repeat {
			return a, err
		}
		jitter := pause*3/4 + rand.N(pause/2) // so that many proxies do not come back at once
		s.resume = time.Now().Add(min(cmp.Or(f.after, jitter), resumeMax))
	}
}

// awaitResume waits until the collector may be asked. The error says that ctx ends before.
func (s *sender) awaitResume(ctx context.Context) error {
	if deadline, _ := ctx.Deadline(); s.resume.After(deadline) {
		return fmt.Errorf("otlp: %s is not asked before %s", s.url, s.resume.Format(time.TimeOnly))
	}
	timer := time.NewTimer(time.Until(s.resume))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		return fmt.Errorf("otlp: %s: no batch more within a minute", s.url)
	}
	return nil
}

// post sends body once. It is borrowed until return.
func (s *sender) post(ctx context.Context, header http.Header, body []byte) (answer, error) {
	ctx, cancel := context.WithTimeout(ctx, s.timeout)
	defer cancel()
	l := &loan{p: body}
	defer l.end()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url, l.reader())
	if err != nil {
		return answer{}, err
	}
	r.Header, r.ContentLength = header, int64(len(body))
	r.GetBody = func() (io.ReadCloser, error) { return l.reader(), nil }
	resp, err := s.client.Do(r)
	var text []byte
	if err == nil {
		defer resp.Body.Close()
		text, err = io.ReadAll(io.LimitReader(resp.Body, answerMax+1))
	}
	if err != nil {
		s.client.CloseIdleConnections() // one of HTTP/2 that is silent would be used again
		return answer{}, &failure{cause: err, repeat: true}
	}
	if len(text) > answerMax {
		return answer{}, &failure{says: fmt.Sprintf("%s: the answer has more than 64 KiB", s.url)}
	}
	if s.grpc && resp.StatusCode == http.StatusOK {
		return answeredGRPC(resp, text)
	}
	return answered(resp, text)
}

// loan lends a body to a transport, which may read it on another goroutine after it has returned an answer.
type loan struct {
	mu sync.Mutex
	p  []byte // guarded by mu
}

// end takes the body back.
func (l *loan) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.p = nil
}

func (l *loan) reader() io.ReadCloser { return &loanReader{loan: l} }

// loanReader reads a loan from its begin.
type loanReader struct {
	*loan
	at int
}

func (r *loanReader) Read(p []byte) (n int, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.at >= len(r.p) {
		return 0, io.EOF
	}
	n = copy(p, r.p[r.at:])
	r.at += n
	return n, nil
}

func (r *loanReader) Close() error { return nil }
