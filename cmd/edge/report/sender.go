package report

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/getsentry/sentry-go"
)

const (
	eventsMost = 64              // that wait
	sendTime   = 5 * time.Second // for one event
	endTime    = 2 * time.Second // that the end waits
	warnEvery  = time.Minute     // of a line about events that are lost
)

// counts are what became of events. Safe for any goroutine.
type counts struct {
	sent, failed, dropped atomic.Uint64
}

// sender sends events to a project, one after the other. Safe for any goroutine.
type sender struct {
	client *sentry.Client
	way    way
	counts *counts
	once   *once
	queue  chan *sentry.Event
	ending chan struct{} // closed when what waits is the last
	cancel context.CancelFunc
	ended  sync.WaitGroup
	warned time.Time // of the goroutine
}

// newSender makes a sender for s, which tells o of events that are lost. version is the one of the program.
func newSender(s *Sentry, version string, c *counts, o *once) (*sender, error) {
	n := &sender{counts: c, once: o, queue: make(chan *sentry.Event, eventsMost), ending: make(chan struct{})}
	n.way.next = http.DefaultTransport.(*http.Transport).Clone()
	var err error
	n.client, err = sentry.NewClient(sentry.ClientOptions{
		Dsn: s.DSN, Release: "edge@" + version, Environment: s.Environment,
		Transport: sentry.NewHTTPSyncTransport(),
		HTTPClient: &http.Client{Transport: &n.way, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // another host must not learn of it
		}},
		Integrations:         func([]sentry.Integration) []sentry.Integration { return nil },
		DisableClientReports: true,
	})
	if err != nil {
		return nil, errors.New("[sentry]: this is not the DSN of a project of Sentry") // the error repeats it
	}
	ctx, cancel := context.WithCancel(context.Background())
	n.cancel = cancel
	n.ended.Go(func() { n.run(ctx) })
	return n, nil
}

// offer queues an event to be sent unless too many wait. It does not block.
func (n *sender) offer(e *sentry.Event) {
	select {
	case n.queue <- e:
	default:
		n.counts.dropped.Add(1)
		n.once.retry(e.Fingerprint, time.Now())
	}
}

func (n *sender) run(ctx context.Context) {
	for {
		select {
		case e := <-n.queue:
			n.send(ctx, e)
		case <-n.ending:
			for len(n.queue) > 0 {
				n.send(ctx, <-n.queue)
			}
			return
		}
	}
}

// send returns when e was taken, or is lost.
func (n *sender) send(ctx context.Context, e *sentry.Event) {
	ctx, cancel := context.WithTimeout(ctx, sendTime)
	defer cancel()
	n.way.ctx, n.way.err = ctx, errAsked
	n.client.CaptureEvent(e, nil, nil)
	switch err := n.way.err; {
	case err == nil:
		n.counts.sent.Add(1)
		return
	case errors.Is(err, errAsked):
		n.counts.dropped.Add(1)
	default:
		n.counts.failed.Add(1)
	}
	now := time.Now()
	n.once.retry(e.Fingerprint, now)
	if now.Sub(n.warned) >= warnEvery {
		n.warned = now
		slog.Warn("an event has not reached Sentry", "error", n.way.err)
	}
}

// close sends the events that wait, within endTime. It is called once.
func (n *sender) close() {
	close(n.ending)
	over := time.AfterFunc(endTime, n.cancel)
	n.ended.Wait()
	over.Stop()
	n.cancel()
	n.client.Close()
	n.way.next.CloseIdleConnections()
}

// Ping sends the project an envelope without an event, with its key. It returns the key of the file that names it.
func (e *entry) Ping() (key string, err error) {
	dsn, err := sentry.NewDsn(e.DSN)
	if err != nil {
		return "dsn", nil // there is no [sentry]
	}
	ctx, cancel := context.WithTimeout(context.Background(), sendTime)
	defer cancel()
	const envelope = "{}\n"
	ask := &http.Request{Method: http.MethodPost, URL: dsn.GetAPIURL(), Header: make(http.Header),
		Body: io.NopCloser(strings.NewReader(envelope)), ContentLength: int64(len(envelope))}
	for name, text := range dsn.RequestHeaders() {
		ask.Header.Set(name, text)
	}
	w := way{next: http.DefaultTransport.(*http.Transport).Clone(), ctx: ctx}
	defer w.next.CloseIdleConnections()
	answer, err := w.RoundTrip(ask)
	if err == nil {
		_ = answer.Body.Close()
	}
	return "dsn", w.err
}

var errAsked = errors.New("it has asked for fewer")

// way is the way of events to a project: an http.RoundTripper that remembers what became of the last one.
// Owned by the goroutine of a sender.
type way struct {
	next *http.Transport
	ctx  context.Context // of one event
	err  error           // why the last one was not taken; nil: it was
}

// RoundTrip implements http.RoundTripper.
func (w *way) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := w.next.RoundTrip(r.WithContext(w.ctx))
	if w.err = err; err == nil && a.StatusCode/100 != 2 {
		w.err = fmt.Errorf("it answers %d", a.StatusCode)
	}
	return a, err
}
