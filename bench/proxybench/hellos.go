package proxybench

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/edge-proxy/edge/bench/report"
)

// Hellos are a flood of clients that wait for their answers: each says its ClientHello, reads the beginning of the
// answer, leaves and comes again. A proxy that takes no more handshakes than it can compute slows the flood down. A
// proxy that closes clients early has them back at once. The measure is how many good clients are served, and how soon.
//
//	flood  hellosWanted clients, each of which wants one a second     127.0.1.1 ──┐
//	good   20 a second, each with a handshake and a request           127.0.2.1 ──┴─► two event loops, two processors

const (
	hellosWanted   = 12000 // a second
	hellosGood     = 20    // a second
	hellosPatience = 15 * time.Second
	hellosFrom     = "127.0.1.1"
	hellosApart    = "127.0.2.1" // of another network than the flood
)

var hellosPeers = []string{"edge", "nginx", "haproxy"}

// HellosSample is what one flood found out.
type HellosSample struct {
	Hellos       float64 // answered or closed, a second
	Good, Served int
	P50, P99     time.Duration
}

// MeasureHellos measures one flood against a proxy and writes what it found to w. apart says that good clients come
// from another network.
func MeasureHellos(ctx context.Context, addr string, apart bool, window time.Duration, w io.Writer) error {
	r := &rush{addr: addr, hello: clientHello(), from: hellosFrom}
	from := hellosFrom
	if apart {
		from = hellosApart
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var taken atomic.Int64
	for i := range hellosWanted {
		go func() {
			for wait(ctx, time.Duration(i)*time.Second/hellosWanted); ctx.Err() == nil; {
				began := time.Now()
				r.bare(false)
				taken.Add(1)
				_ = wait(ctx, time.Second-time.Since(began))
			}
		}()
	}
	_ = wait(ctx, overloadWarm)
	var over sync.WaitGroup
	good := &rush{addr: addr, from: from, patience: hellosPatience}
	began, before := time.Now(), taken.Load()
	for n := 0; time.Since(began) < window && wait(ctx, time.Second/hellosGood) == nil; n++ {
		over.Go(func() { good.visit(time.Now()) })
	}
	s := HellosSample{Hellos: float64(taken.Load()-before) / time.Since(began).Seconds()}
	over.Wait()
	s.Good = len(good.good)
	spent := servedOf(good.good)
	s.Served = len(spent)
	s.P50, s.P99 = time.Duration(report.Quantile(spent, 0.5)), time.Duration(report.Quantile(spent, 0.99))
	return json.NewEncoder(w).Encode(s)
}

// hellos measures the flood against each peer in turn, o.Rounds times, and prints all together to w.
func (o *BystanderOptions) hellos(ctx context.Context, t Trouble, w io.Writer) error {
	run, _, err := o.begin(ctx, t)
	if err != nil {
		return err
	}
	defer run.close()
	cpus := allowedCPUs()
	sums := map[string]*HellosSample{}
	for range o.Rounds {
		for _, name := range hellosPeers {
			p := Peers[slices.IndexFunc(Peers, func(p Peer) bool { return p.Name == name })]
			if _, err := p.locate(&run.options); err != nil {
				run.note("without %s: %v", name, err)
				continue
			}
			for _, apart := range []bool{true, false} {
				s, err := run.floodOf(ctx, p, cpus, apart, o.Window)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				key := fmt.Sprintf("%s\t%t", name, apart)
				if sums[key] == nil {
					sums[key] = &HellosSample{}
				}
				sum := sums[key]
				sum.Hellos, sum.Good, sum.Served = sum.Hellos+s.Hellos, sum.Good+s.Good, sum.Served+s.Served
				sum.P50, sum.P99 = max(sum.P50, s.P50), max(sum.P99, s.P99)
			}
		}
	}
	table := report.NewTable("", "hellos\tnetworks apart\ttaken/s\tgood clients\tserved\tp50\tp99\t"+t.What)
	for _, name := range hellosPeers {
		for _, apart := range []bool{true, false} {
			key := fmt.Sprintf("%s\t%t", name, apart)
			if s := sums[key]; s != nil {
				table.Add("%s\t%.0f\t%d\t%.0f%%\t%s\t%s", key, s.Hellos/float64(o.Rounds), s.Good,
					100*float64(s.Served)/float64(max(s.Good, 1)), report.Time(s.P50), report.Time(s.P99))
			}
		}
	}
	return report.WriteText(w, table)
}

// floodOf starts p with two event loops on all processors and measures a flood against it.
func (r *runner) floodOf(
	ctx context.Context, p Peer, cpus []int, apart bool, window time.Duration,
) (s HellosSample, err error) {
	addrs, err := freeAddrs(3)
	if err != nil {
		return s, err
	}
	p.set = place{"loops": "2"}
	peer, err := r.startPeer(ctx, p, addrs, cpus...)
	if err != nil {
		return s, err
	}
	defer peer.process.stop()
	if err := r.child(ctx, cpus, window+time.Minute, &s, "hellos", "--secure", addrs[2], "--duration", window.String(),
		fmt.Sprintf("--apart=%t", apart)); err != nil {
		return s, err
	}
	r.note("%s, networks apart %t: %.0f hellos/s, %d of %d good clients served, p50 %v", p.Name, apart, s.Hellos,
		s.Served, s.Good, s.P50)
	return s, nil
}
