package proxybench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/bench/load"
	"github.com/edge-proxy/edge/bench/report"
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
	{Name: "stuck", What: "an answer of 100 MiB that is not read and an upload that is not, over shared HTTP/2",
		h2Origin: true, make: stuckStreams},
	{Name: "silent", What: "9000 silent connections and 1000 half-done handshakes", make: silent},
	{Name: "overload", What: "good clients among handshakes, most of which stop half way", dear: true,
		measure: (*BystanderOptions).overload},
	{Name: "hellos", What: "good clients among floods of handshakes that are not completed",
		measure: (*BystanderOptions).hellos},
}

// BystanderOptions say what RunBystander measures. The zero value measures everything.
type BystanderOptions struct {
	Options  // Rounds are 5 by default, and a Window, with trouble or without, 2 s
	Troubles []string
}

// RunBystander measures and prints to w.
func RunBystander(ctx context.Context, o BystanderOptions, w io.Writer) error {
	troubles, err := pick(Troubles, o.Troubles, "trouble", func(t Trouble) string { return t.Name })
	if err != nil {
		return err
	}
	o.Rounds, o.Window = cmp.Or(o.Rounds, 5), cmp.Or(o.Window, 2*time.Second)
	t := report.NewTable("", "trouble\tacts/s\tp50\twith\tp99\twith\t×\treq/s\twith\t×\tbusy\twith\tTLS+answer\t"+
		"errors\twhat")
	for _, trouble := range troubles {
		if trouble.measure == nil {
			if err := o.measure(ctx, trouble, t); err != nil {
				return fmt.Errorf("%s: %w", trouble.Name, err)
			}
		}
	}
	if len(t.Rows) > 0 {
		if err := report.WriteText(w, t); err != nil {
			return err
		}
	}
	for _, trouble := range troubles {
		if trouble.measure != nil {
			if err := trouble.measure(&o, ctx, trouble, w); err != nil {
				return fmt.Errorf("%s: %w", trouble.Name, err)
			}
		}
	}
	return nil
}

// bystanders is the load of the bystanders: few connections, so that the proxy's core is not full.
var bystanders = Scenario{Name: "bystander", Connections: 8}

// measure runs one trouble against a proxy of its own, and adds a row to table: medians over the rounds, without the
// trouble and with it.
func (o *BystanderOptions) measure(ctx context.Context, t Trouble, table *report.Table) error {
	run, p, err := o.begin(ctx, t)
	if err != nil {
		return err
	}
	defer run.close()
	pids := processTree(p.process.cmd.Process.Pid)
	var quiet, troubled []bystanderSample
	failed, slowest := uint64(0), time.Duration(0) // of good clients' TLS handshakes and first answers, with trouble
	for range o.Rounds {
		alone, err := run.bystand(ctx, p, pids, o.Window)
		if err != nil {
			return err
		}
		s, took, err := run.bystandTrouble(ctx, t, p, pids, o.Window)
		if err != nil {
			return err
		}
		quiet, troubled, slowest = append(quiet, alone), append(troubled, s), max(slowest, took)
		failed += alone.load.Failed() + s.load.Failed()
		run.note("%s: p99 %v, with trouble %v", t.Name, alone.load.Latency.P99, s.load.Latency.P99)
	}
	p50 := func(s bystanderSample) time.Duration { return s.load.Latency.P50 }
	p99 := func(s bystanderSample) time.Duration { return s.load.Latency.P99 }
	rate := func(s bystanderSample) float64 { return s.rate }
	busy := func(s bystanderSample) float64 { return 100 * s.busy }
	table.Add("%s\t%.0f\t%s\t%s\t%s\t%s\t%.2f\t%.0f\t%.0f\t%.2f\t%.0f%%\t%.0f%%\t%s\t%d\t%s", t.Name,
		median(troubled, func(s bystanderSample) float64 { return s.acts }),
		report.Time(median(quiet, p50)), report.Time(median(troubled, p50)),
		report.Time(median(quiet, p99)), report.Time(median(troubled, p99)),
		float64(median(troubled, p99))/float64(median(quiet, p99)),
		median(quiet, rate), median(troubled, rate), median(troubled, rate)/median(quiet, rate),
		median(quiet, busy), median(troubled, busy), report.Time(slowest), failed, t.What)
	return nil
}

// begin starts a proxy for t, and the origin that t wants. The caller closes the runner.
func (o *BystanderOptions) begin(ctx context.Context, t Trouble) (run *runner, p *runningPeer, err error) {
	run, err = newRunner(o.Options)
	if err != nil {
		return nil, nil, err
	}
	if p, err = run.startBystanderProxy(ctx, t); err != nil {
		run.close()
	}
	return run, p, err
}

func (r *runner) startBystanderProxy(ctx context.Context, t Trouble) (*runningPeer, error) {
	addrs, err := freeAddrs(4)
	if err != nil {
		return nil, err
	}
	key, set := cheapKey, place{"listener": `limits = { header_size = "64k" }`}
	if t.dear {
		key = dearKey
	}
	if r.keys, err = writeKeys(r.dir, key); err != nil {
		return nil, err
	}
	if t.h2Origin {
		set["routes"] = peerFile("shared.toml")
		err = r.runOrigin(ctx, addrs[0], r.options.LoadCPU, "h2origin", "--listen", addrs[0])
	} else {
		err = r.startOrigin(ctx, addrs[0], r.options.LoadCPU)
	}
	if err != nil {
		return nil, err
	}
	return r.startPeer(ctx, edgePeer("edge", "edge", false, set), addrs[1:])
}

// bystanderSample is one window of the bystanders.
type bystanderSample struct {
	load *load.Result
	rate float64
	busy float64
	acts float64 // of trouble, a second
}

func (r *runner) bystand(
	ctx context.Context, p *runningPeer, pids []int, window time.Duration,
) (s bystanderSample, err error) {
	before, err := cpuTime(pids)
	if err != nil {
		return s, err
	}
	began := time.Now()
	argv := goLoadCommand(r.options.Self, bystanders, p.at["listen"])
	gen, err := startOn("load", argv, []int{r.options.LoadCPU}, r.dir, "GOMAXPROCS=1")
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
	if err := gen.interrupt(ctx); err != nil {
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
	argv := []string{r.options.Self, "trouble", t.Name, "--plain", p.at["listen"], "--secure", p.at["secure"]}
	trouble, err := startOn("trouble", argv, []int{r.options.LoadCPU}, r.dir, "GOMAXPROCS=1")
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
	if slowest, err = goodClients(p.at["secure"]); err != nil {
		return s, 0, err
	}
	if err := trouble.interrupt(ctx); err != nil {
		return s, 0, err
	}
	_, text, _ := strings.Cut(trouble.printed(), troubleMade+"\n")
	_, _ = fmt.Sscanf(text, troubleActs, &s.acts)
	return s, slowest, nil
}
