package proxybench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/edge-proxy/edge/bench/load"
)

// A bystander is a client with small and quick requests, beside clients that make trouble. The measure is how much it
// notices: its 99th percentile with the trouble and without it, in turn.
//
//	CPU 0: bystander, trouble, origin ─────▶ CPU 1: edge
//
// Trouble takes processor time of the bystander's too. So what it notices is at most what is shown: where that matters,
// compare with "busy", the share of the proxy's own core.

// Trouble is one kind of trouble. Immutable.
type Trouble struct {
	Name string
	What string

	h2Origin bool // the origin speaks HTTP/2, and all share connections to it
	dear     bool // handshakes cost the proxy much, and their clients little
	make     func(ctx context.Context, t Target) error
	measure  func(o *BystanderOptions, ctx context.Context, t Trouble, w io.Writer) error // in place of bystanders
}

// Target is where trouble is made: the addresses of a proxy.
type Target struct {
	Plain, Secure string

	acts *atomic.Int64 // how often trouble was made
}

// Troubles are all there are.
var Troubles = []Trouble{
	{Name: "heads", What: "100 heads of more than 64 KiB a second", make: bigHeads},
	{Name: "handshakes", What: "500 full TLS handshakes a second", make: handshakesPaced},
	{Name: "flood", What: "full TLS handshakes, as many as 64 clients can", make: handshakeFlood},
	{
		Name: "stuck", What: "an answer of 100 MiB that is not read and an upload that is not, over shared HTTP/2",
		h2Origin: true, make: stuckStreams,
	},
	{Name: "silent", What: "9000 silent connections and 1000 half-done handshakes", make: silent},
	{
		Name: "overload", What: "good clients among handshakes, most of which stop half way",
		dear: true, measure: (*BystanderOptions).overload,
	},
	{
		Name: "hellos", What: "good clients among a flood of others that wait for their answers",
		measure: (*BystanderOptions).hellos,
	},
}

// BystanderOptions say what RunBystander measures. The zero value measures everything.
type BystanderOptions struct {
	Self     string
	Edge     string
	Troubles []string
	Rounds   int           // default 5
	Window   time.Duration // of each, with and without; default 2 s
	Log      io.Writer
}

// BystanderResult is what a bystander noticed of one trouble. Times are medians over the rounds.
type BystanderResult struct {
	Name, What          string
	QuietP50, QuietP99  time.Duration
	TroubleP50, P99     time.Duration
	QuietRate, Rate     float64       // requests a second
	Handshake           time.Duration // the slowest of good clients' TLS handshakes and first answers, with trouble
	Errors              uint64
	QuietBusy, Busy     float64 // share of the proxy's core
	Acts                float64 // of trouble, a second
	RateRatio, P99Ratio float64
}

// RunBystander measures and prints to w.
func RunBystander(ctx context.Context, o BystanderOptions, w io.Writer) error {
	troubles, err := pick(Troubles, o.Troubles, "trouble", func(t Trouble) string { return t.Name })
	if err != nil {
		return err
	}
	if o.Rounds <= 0 {
		o.Rounds = 5
	}
	if o.Window <= 0 {
		o.Window = 2 * time.Second
	}
	o.Log = cmp.Or(o.Log, io.Discard)
	var results []BystanderResult
	var others []Trouble
	for _, t := range troubles {
		if t.measure != nil {
			others = append(others, t)
			continue
		}
		r, err := o.measure(ctx, t)
		if err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
		results = append(results, r)
	}
	if len(results) > 0 {
		if err := printBystanders(w, results); err != nil {
			return err
		}
	}
	for _, t := range others {
		if err := t.measure(&o, ctx, t, w); err != nil {
			return fmt.Errorf("%s: %w", t.Name, err)
		}
	}
	return nil
}

func printBystanders(w io.Writer, results []BystanderResult) error {
	tab := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tab, "trouble\tacts/s\tp50\t\tp99\t\t×\treq/s\t\t×\tbusy\t\tTLS+answer\terrors\twhat")
	for _, r := range results {
		_, _ = fmt.Fprintf(tab, "%s\t%.0f\t%s\t%s\t%s\t%s\t%.2f\t%.0f\t%.0f\t%.2f\t%.0f%%\t%.0f%%\t%s\t%d\t%s\n",
			r.Name, r.Acts, micros(r.QuietP50), micros(r.TroubleP50), micros(r.QuietP99), micros(r.P99), r.P99Ratio,
			r.QuietRate, r.Rate, r.RateRatio, 100*r.QuietBusy, 100*r.Busy, micros(r.Handshake), r.Errors, r.What)
	}
	return tab.Flush()
}

// bystanders is the load of the bystanders: few connections, so that the proxy's core is not full.
var bystanders = Scenario{Name: "bystander", Path: "/small", Connections: 8}

// measure runs one trouble against a proxy of its own.
func (o *BystanderOptions) measure(ctx context.Context, t Trouble) (r BystanderResult, err error) {
	r.Name, r.What = t.Name, t.What
	run, p, err := o.begin(ctx, t)
	if err != nil {
		return r, err
	}
	defer run.close()
	pids := processTree(p.process.cmd.Process.Pid)
	var quiet, troubled [5][]float64 // p50, p99, rate, busy, acts
	note := func(to *[5][]float64, s bystanderSample) {
		for i, v := range []float64{float64(s.load.Latency.P50), float64(s.load.Latency.P99), s.rate, s.busy, s.acts} {
			to[i] = append(to[i], v)
		}
		r.Errors += s.load.Failed()
	}
	for range o.Rounds {
		alone, err := run.bystand(ctx, p, pids, o.Window)
		if err != nil {
			return r, err
		}
		note(&quiet, alone)
		s, slowest, err := run.bystandTrouble(ctx, t, p, pids, o.Window)
		if err != nil {
			return r, err
		}
		r.Handshake = max(r.Handshake, slowest)
		note(&troubled, s)
		run.note("%s: p99 %v, with trouble %v", t.Name, time.Duration(last(quiet[1])), time.Duration(last(troubled[1])))
	}
	r.QuietP50, r.QuietP99 = time.Duration(median(quiet[0])), time.Duration(median(quiet[1]))
	r.TroubleP50, r.P99 = time.Duration(median(troubled[0])), time.Duration(median(troubled[1]))
	r.QuietRate, r.Rate = median(quiet[2]), median(troubled[2])
	r.QuietBusy, r.Busy, r.Acts = median(quiet[3]), median(troubled[3]), median(troubled[4])
	r.RateRatio, r.P99Ratio = r.Rate/r.QuietRate, float64(r.P99)/float64(r.QuietP99)
	return r, nil
}

// begin starts a proxy for t. The caller closes the runner.
func (o *BystanderOptions) begin(ctx context.Context, t Trouble) (run *runner, p *runningPeer, err error) {
	run = &runner{report: &Report{}}
	defer func() {
		if err != nil {
			run.close()
		}
	}()
	run.options, err = (Options{Self: o.Self, Edge: o.Edge, Log: o.Log, LoadCPU: -1}).withDefaults()
	if err != nil {
		return run, nil, err
	}
	if run.dir, err = os.MkdirTemp("", "edge-bench-"); err != nil {
		return run, nil, fmt.Errorf("temporary directory: %w", err)
	}
	p, err = run.startBystanderProxy(ctx, t)
	return run, p, err
}

func last(v []float64) float64 { return v[len(v)-1] }

// startBystanderProxy starts the origin that t wants and edge before it.
func (r *runner) startBystanderProxy(ctx context.Context, t Trouble) (*runningPeer, error) {
	addrs, err := freeAddrs(4)
	if err != nil {
		return nil, err
	}
	key := cheapKey
	if t.dear {
		key = dearKey
	}
	if r.keys, err = writeKeys(r.dir, key); err != nil {
		return nil, err
	}
	if t.h2Origin {
		err = r.runOrigin(ctx, addrs[0], r.options.LoadCPU, "h2origin", "--listen", addrs[0])
	} else {
		err = r.startOrigin(ctx, addrs[0], r.options.LoadCPU)
	}
	if err != nil {
		return nil, err
	}
	edge := Peer{Name: "edge", binary: "edge", argv: edgeArgs, config: func(p place) (string, string) {
		return bystanderConfig(p, t.h2Origin)
	}}
	if err := r.startPeer(ctx, edge, addrs[1:]); err != nil {
		return nil, err
	}
	return r.peers[len(r.peers)-1], nil
}

// bystanderConfig is that of every peer of this name but for the limit of heads and the protocol of the origin.
func bystanderConfig(p place, h2Origin bool) (name, text string) {
	name, text = edgeConfig(false)(p)
	listen := fmt.Sprintf("listen = %q\n", p.listen)
	text = strings.Replace(text, listen, listen+"limits = { header_size = \"64k\" }\n", 1)
	if h2Origin {
		text = strings.Replace(text, fmt.Sprintf("dest = %q\n", p.origin), "dest = \"shared\"\n", 1)
		text += fmt.Sprintf("\n[upstreams.shared]\nbackends = [{ address = %q }]\nprotocol = \"h2\"\n", p.origin)
	}
	return name, text
}

// bystanderSample is one window of the bystanders.
type bystanderSample struct {
	load *load.Result
	rate float64
	busy float64
	acts float64 // of trouble, a second
}

// bystand measures the bystanders for a window.
func (r *runner) bystand(
	ctx context.Context, p *runningPeer, pids []int, window time.Duration,
) (s bystanderSample, err error) {
	before, err := cpuTime(pids)
	if err != nil {
		return s, err
	}
	began := time.Now()
	argv := goLoadCommand(r.options.Self, bystanders, p.at.listen)
	gen, err := startProcess("load", argv, r.options.LoadCPU, r.dir, "GOMAXPROCS=1")
	if err != nil {
		return s, err
	}
	defer gen.stop()
	if err := wait(ctx, window); err != nil {
		return s, err
	}
	after, err := cpuTime(pids)
	if err != nil {
		return s, err
	}
	s.busy = float64(after-before) / float64(time.Since(began))
	if err := gen.interrupt(); err != nil {
		return s, err
	}
	if s.load, err = goLoadResult(gen.printed()); err != nil {
		return s, err
	}
	if s.load.Requests == 0 {
		return s, errors.Join(errNoRequests, errors.New(s.load.Failure))
	}
	s.rate = float64(s.load.Requests) / s.load.Elapsed.Seconds()
	return s, nil
}

// bystandTrouble measures the bystanders beside t, and then how long good clients take for TLS.
func (r *runner) bystandTrouble(
	ctx context.Context, t Trouble, p *runningPeer, pids []int, window time.Duration,
) (s bystanderSample, slowest time.Duration, err error) {
	argv := []string{r.options.Self, "trouble", t.Name, "--plain", p.at.listen, "--secure", p.at.secure}
	trouble, err := startProcess("trouble", argv, r.options.LoadCPU, r.dir, "GOMAXPROCS=1")
	if err != nil {
		return s, 0, err
	}
	defer trouble.stop()
	if err := trouble.waitPrinted(ctx, troubleMade); err != nil {
		return s, 0, err
	}
	if s, err = r.bystand(ctx, p, pids, window); err != nil {
		return s, 0, err
	}
	if slowest, err = goodClients(ctx, p.at.secure); err != nil {
		return s, 0, err
	}
	if err := trouble.interrupt(); err != nil {
		return s, 0, err
	}
	_, text, _ := strings.Cut(trouble.printed(), troubleMade+"\n")
	_, _ = fmt.Sscanf(text, troubleActs, &s.acts)
	return s, slowest, nil
}

// waitPrinted waits until the process has printed text.
func (p *process) waitPrinted(ctx context.Context, text string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*readyTimeout)
	defer cancel()
	for {
		if strings.Contains(p.printed(), text) {
			return nil
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s: %w: %s", p.name, errExited, p.tail())
		case <-ctx.Done():
			return fmt.Errorf("%s printed no %q: %s", p.name, text, p.tail())
		case <-time.After(pollEvery):
		}
	}
}
