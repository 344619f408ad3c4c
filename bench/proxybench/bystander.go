package proxybench

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"time"

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

// bystanders is the load of the bystanders: few connections, so that the proxy's core is not full. Some origins count
// nothing.
var bystanders = Scenario{Name: "bystander", Connections: 8, Counted: true}

// measure runs one trouble against a proxy of its own, and adds a row to table: medians over the rounds, without the
// trouble and with it.
func (o *BystanderOptions) measure(ctx context.Context, t Trouble, table *report.Table) error {
	run, p, err := o.begin(ctx, t)
	if err != nil {
		return err
	}
	defer run.close()
	pids := processTree(p.process.cmd.Process.Pid)
	const without, with = "without", "with"
	var rounds []round
	var acts []float64          // of trouble, a second
	slowest := time.Duration(0) // of good clients' TLS handshakes and first answers, with trouble
	for range o.Rounds {
		alone, err := run.bystand(ctx, p, pids, o.Window)
		if err != nil {
			return err
		}
		s, acted, took, err := run.bystandTrouble(ctx, t, p, pids, o.Window)
		if err != nil {
			return err
		}
		rounds, acts = append(rounds, round{without: alone, with: s}), append(acts, acted)
		slowest = max(slowest, took)
		run.note("%s: p99 %v, with trouble %v", t.Name, alone.P99, s.P99)
	}
	a, b := summarize(without, "", rounds), summarize(with, "", rounds)
	table.Add("%s\t%.0f\t%s\t%s\t%s\t%s\t%.2f\t%.0f\t%.0f\t%.2f\t%.0f%%\t%.0f%%\t%s\t%d\t%s", t.Name,
		report.Median(acts), report.Time(a.P50), report.Time(b.P50), report.Time(a.P99), report.Time(b.P99),
		float64(b.P99)/float64(a.P99), a.RequestsPerSecond, b.RequestsPerSecond,
		b.RequestsPerSecond/a.RequestsPerSecond, 100*a.Busy, 100*b.Busy, report.Time(slowest), a.Errors+b.Errors,
		t.What)
	return nil
}

// begin starts a proxy for t, and the origin that t wants. The caller closes the runner.
func (o *BystanderOptions) begin(ctx context.Context, t Trouble) (run *runner, p *runningPeer, err error) {
	key := cheapKey
	if t.dear {
		key = dearKey
	}
	if run, err = newRunner(o.Options, key); err != nil {
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
	set := place{"listener": `limits = { header_size = "64k" }`}
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

// bystand measures one window of the bystanders.
func (r *runner) bystand(ctx context.Context, p *runningPeer, pids []int, window time.Duration) (Sample, error) {
	return r.sample(ctx, bystanders, p.at["listen"], pids, window, []int{r.options.LoadCPU})
}

// bystandTrouble measures the bystanders beside t, how often a second it acted, and then how long good clients take for
// TLS.
func (r *runner) bystandTrouble(
	ctx context.Context, t Trouble, p *runningPeer, pids []int, window time.Duration,
) (s Sample, acts float64, slowest time.Duration, err error) {
	argv := []string{r.options.Self, "trouble", t.Name, "--plain", p.at["listen"], "--secure", p.at["secure"]}
	trouble, err := startOn("trouble", argv, []int{r.options.LoadCPU}, r.dir, "GOMAXPROCS=1")
	if err != nil {
		return s, 0, 0, err
	}
	defer trouble.stop()
	if err := trouble.waitPrinted(ctx, troubleMade); err != nil {
		return s, 0, 0, err
	}
	if s, err = r.bystand(ctx, p, pids, window); err != nil {
		return s, 0, 0, err
	}
	if slowest, err = goodClients(p.at["secure"]); err != nil {
		return s, 0, 0, err
	}
	if err := trouble.interrupt(ctx); err != nil {
		return s, 0, 0, err
	}
	_, text, _ := strings.Cut(trouble.printed(), troubleMade+"\n")
	_, _ = fmt.Sscanf(text, troubleActs, &acts)
	return s, acts, slowest, nil
}
