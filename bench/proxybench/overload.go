package proxybench

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/bench/report"
)

// Overload is more TLS handshakes than a proxy can compute. The measure is how many good clients are served: at twice
// the capacity about half of them, not none.
//
//	capacity  64 clients, one handshake after the other; of five, two are brought to their end
//	0.9, 2    times as many, whatever becomes of them: good clients, whose number stays the same, and a flood
//
// The certificate is dear to the server and cheap to its clients, so that not this side is at its limit.

// overloads are what is offered, in parts of the capacity.
var overloads = []float64{0.9, 2}

const (
	goodShare     = 0.25 // of the capacity
	completeShare = 0.25 // of the flood; the rest are ClientHellos with nothing after them
	bareOpen      = 4000 // connections of such that are open at a time; the oldest is closed then
	overloadWarm  = 3 * time.Second
	goodPatience  = 3 * time.Second // of a good client
	answerWait    = 5 * time.Second // for a connection or an answer, of clients that make trouble
)

// OverloadSample is what one round found out.
type OverloadSample struct {
	Capacity float64 // handshakes a second
	Loads    []OverloadLoad
}

// OverloadLoad is what good clients noticed of one load.
type OverloadLoad struct {
	Times   float64 // of the capacity
	Offered float64 // handshakes a second, all of them
	Done    float64 // those that were answered: what could be done just then
	GoodClients
	Lag time.Duration // by which one of a hundred began late: far above 10 ms this side was overloaded itself
}

// GoodClients are what good clients noticed: how many there were, how many had an answer in time, and how soon.
type GoodClients struct {
	Good, Served int
	P50, P99     time.Duration
}

func goodClientsOf(visits []*visit) GoodClients {
	var spent []float64
	for _, v := range visits {
		if v.took > 0 {
			spent = append(spent, float64(v.took))
		}
	}
	slices.Sort(spent)
	return GoodClients{len(visits), len(spent), time.Duration(report.Quantile(spent, 0.5)),
		time.Duration(report.Quantile(spent, 0.99))}
}

// add adds o up; times are the worst.
func (g *GoodClients) add(o GoodClients) {
	g.Good, g.Served = g.Good+o.Good, g.Served+o.Served
	g.P50, g.P99 = max(g.P50, o.P50), max(g.P99, o.P99)
}

// cells are Good, the part of them that was served, and how soon, as tables have them.
func (g *GoodClients) cells() string {
	return fmt.Sprintf("%d\t%.0f%%\t%s\t%s", g.Good, 100*float64(g.Served)/float64(max(g.Good, 1)),
		report.Time(g.P50), report.Time(g.P99))
}

// MeasureOverload measures one round against a proxy and writes it to w.
func MeasureOverload(ctx context.Context, addr string, window time.Duration, w io.Writer) error {
	r := &rush{addr: addr, hello: clientHello()}
	var s OverloadSample
	s.Capacity = r.capacity(ctx, max(window, time.Second))
	for _, times := range overloads {
		if s.Capacity == 0 || ctx.Err() != nil {
			return errors.Join(errNoRequests, ctx.Err())
		}
		s.Loads = append(s.Loads, r.load(ctx, s.Capacity, times, window))
	}
	return json.NewEncoder(w).Encode(s)
}

// rush is the load of clients on the proxy at addr.
type rush struct {
	addr     string
	hello    []byte
	from     string        // the address of clients; "": any
	patience time.Duration // of a client whose handshake is brought to its end; 0: goodPatience

	mu    sync.Mutex
	bares []net.Conn // guarded by mu; open, oldest first
	good  []*visit
	all   atomic.Int64 // handshakes begun
	done  atomic.Int64 // and answered
}

// visit is one good client. Immutable after done.
type visit struct {
	begun time.Time     // when it was due
	lag   time.Duration // until it began
	took  time.Duration // 0: not served
	done  chan struct{}
}

// capacity returns how many handshakes a second are done while there is always another.
func (r *rush) capacity(ctx context.Context, window time.Duration) float64 {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for i := range 64 {
		go func() {
			for n := i; ctx.Err() == nil; n++ {
				if n%5 < 2 {
					r.complete()
				} else {
					r.bare(false)
				}
			}
		}()
	}
	if wait(ctx, window/4) != nil {
		return 0
	}
	began, before := time.Now(), r.done.Load()
	if wait(ctx, window) != nil {
		return 0
	}
	return float64(r.done.Load()-before) / time.Since(began).Seconds()
}

// load offers times the capacity, first until a state that does not last is over, then for the window.
func (r *rush) load(ctx context.Context, capacity, times float64, window time.Duration) OverloadLoad {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer r.closeBares(0)
	var over sync.WaitGroup
	over.Go(func() { r.pace(ctx, capacity*times, goodShare/times) })
	defer over.Wait()
	_ = wait(ctx, overloadWarm)
	from, all, done := time.Now(), r.all.Load(), r.done.Load()
	_ = wait(ctx, window)
	until := time.Now()
	took := until.Sub(from).Seconds()
	l := OverloadLoad{
		Times: times, Offered: float64(r.all.Load()-all) / took, Done: float64(r.done.Load()-done) / took,
	}
	_ = wait(ctx, goodPatience) // the load lasts until the last of them has been served, or has not
	cancel()
	r.mu.Lock()
	good := r.good
	r.good = nil
	r.mu.Unlock()
	var lag []float64
	good = slices.DeleteFunc(good, func(v *visit) bool {
		<-v.done
		return v.begun.Before(from) || v.begun.After(until)
	})
	for _, v := range good {
		lag = append(lag, float64(v.lag))
	}
	slices.Sort(lag)
	l.GoodClients, l.Lag = goodClientsOf(good), time.Duration(report.Quantile(lag, 0.99))
	return l
}

// pace begins rate handshakes a second, however long each takes. Which come from good clients, good of all, and which
// are brought to their end is left to chance: where this process has to wait, they come in bursts, and it must not
// always be the same that come last.
func (r *rush) pace(ctx context.Context, rate, good float64) {
	began := time.Now()
	for n := 0; wait(ctx, time.Millisecond) == nil; {
		for due := int(time.Since(began).Seconds() * rate); n < due; n++ {
			switch {
			case rand.Float64() < good:
				go r.visit(began.Add(time.Duration(float64(n) / rate * float64(time.Second))))
			case rand.Float64() < completeShare:
				go r.complete()
			default:
				go r.bare(true)
			}
		}
	}
}

// visit is a good client: a handshake, a request and its answer.
func (r *rush) visit(due time.Time) {
	r.all.Add(1)
	v := &visit{begun: due, lag: time.Since(due), done: make(chan struct{})}
	defer close(v.done)
	r.mu.Lock()
	r.good = append(r.good, v)
	r.mu.Unlock()
	c := r.dialTLS()
	if c == nil {
		return
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(v.begun.Add(cmp.Or(r.patience, goodPatience)))
	_, _ = io.WriteString(c, "GET /small HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
	if b, _ := io.ReadAll(c); bytes.HasPrefix(b, []byte("HTTP/1.1 200")) {
		v.took = time.Since(v.begun)
	}
}

func (r *rush) complete() {
	r.all.Add(1)
	if c := r.dialTLS(); c != nil {
		_ = c.NetConn().Close() // by reset: no port has to wait
	}
}

// dialTLS connects and makes the handshake; nil: it failed.
func (r *rush) dialTLS() *tls.Conn {
	c := r.dial()
	if c == nil {
		return nil
	}
	_ = c.SetDeadline(time.Now().Add(cmp.Or(r.patience, goodPatience)))
	secure := tls.Client(c, full())
	if secure.Handshake() != nil {
		_ = c.Close()
		return nil
	}
	r.done.Add(1)
	return secure
}

// bare is a ClientHello, the beginning of its answer, and nothing after it. It is closed then, or kept as one of
// bareOpen.
func (r *rush) bare(keep bool) {
	r.all.Add(1)
	c := r.dial()
	if c == nil {
		return
	}
	if keep {
		r.mu.Lock()
		r.bares = append(r.bares, c)
		r.mu.Unlock()
		r.closeBares(bareOpen)
	} else {
		defer func() { _ = c.Close() }()
	}
	_, _ = c.Write(r.hello)
	if n, _ := c.Read(make([]byte, 1)); n > 0 {
		r.done.Add(1)
	}
}

// closeBares leaves so many open.
func (r *rush) closeBares(most int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for len(r.bares) > most {
		_ = r.bares[0].Close()
		r.bares = r.bares[1:]
	}
}

// dial connects. A connection that is closed before all its requests are answered is reset.
func (r *rush) dial() net.Conn {
	d := net.Dialer{Timeout: answerWait}
	if r.from != "" {
		d.LocalAddr = &net.TCPAddr{IP: net.ParseIP(r.from)}
	}
	c, err := d.Dial("tcp", r.addr)
	if err != nil {
		return nil
	}
	_ = c.(*net.TCPConn).SetLinger(0)
	return c
}

func clientHello() []byte {
	ours, theirs := net.Pipe()
	defer func() { _ = theirs.Close() }()
	go func() { _ = tls.Client(ours, full()).Handshake() }()
	b := make([]byte, 16<<10)
	n, _ := theirs.Read(b)
	return b[:n]
}

// overload measures o.Rounds rounds and prints them, and all together, to w.
func (o *BystanderOptions) overload(ctx context.Context, t Trouble, w io.Writer) error {
	run, p, err := o.begin(ctx, t)
	if err != nil {
		return err
	}
	defer run.close()
	sum := make([]OverloadLoad, len(overloads))
	var capacities []float64
	for range o.Rounds {
		var s OverloadSample
		if err := run.child(ctx, []int{run.options.LoadCPU}, 5*o.Window+time.Minute, &s, "rush", "--secure",
			p.at["secure"], "--duration", o.Window.String()); err != nil {
			return err
		}
		capacities = append(capacities, s.Capacity)
		for i, l := range s.Loads {
			run.note("overload: %.1f × %.0f/s: %d of %d good clients served, lag %v", l.Times, s.Capacity, l.Served,
				l.Good, l.Lag)
			sum[i].Times, sum[i].Lag = l.Times, max(sum[i].Lag, l.Lag)
			sum[i].Offered, sum[i].Done = sum[i].Offered+l.Offered, sum[i].Done+l.Done
			sum[i].add(l.GoodClients)
		}
	}
	table := report.NewTable("", "overload\thandshakes/s\tdone/s\tgood clients\tserved\tp50\tp99\tlag\twhat")
	for _, l := range sum {
		table.Add("%.1f × %.0f/s\t%.0f\t%.0f\t%s\t%s\t%s", l.Times, report.Median(capacities),
			l.Offered/float64(o.Rounds), l.Done/float64(o.Rounds), l.cells(), report.Time(l.Lag), t.What)
	}
	return report.WriteText(w, table)
}
