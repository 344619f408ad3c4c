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

// Hellos are floods of clients, each of which says its ClientHello and comes again. Those that wait read the beginning
// of the answer and leave. Those that leave come again at once, and close what they began a moment later. A proxy that
// takes no more handshakes than it can compute slows the flood down. A proxy that closes clients early has them back at
// once. The measure is how many good clients are served, and how soon.
//
//	flood  hellosWanted clients that wait, each wants one a second,
//	       or hellosLeavers that leave                                127.0.1.1 ──┐
//	good   20 a second, each with a handshake and a request           127.0.2.1 ──┴─► two event loops, two processors

const (
	hellosWanted   = 12000 // a second
	hellosLeavers  = 96
	hellosLeft     = 1500 * time.Millisecond // until a client that left closes its connection
	hellosGood     = 20                      // a second
	hellosPatience = 15 * time.Second
	hellosFrom     = "127.0.1.1"
	hellosApart    = "127.0.2.1" // of another network than the flood
)

// HellosFloods are the kinds of flood. Good clients come from its own network but for the first.
var HellosFloods = []string{"waits, networks apart", "waits", "leaves"}

var hellosPeers = []string{edgeName, nginxName, haproxyName}

// HellosSample is what one flood found out.
type HellosSample struct {
	Hellos float64 // answered or closed, a second
	GoodClients
}

// MeasureHellos measures one flood against a proxy and writes what it found to w. kind is one of HellosFloods.
func MeasureHellos(ctx context.Context, addr, kind string, window time.Duration, w io.Writer) error {
	r := &rush{addr: addr, hello: clientHello(), from: hellosFrom}
	from := hellosFrom
	if kind == HellosFloods[0] {
		from = hellosApart
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var taken atomic.Int64
	if kind == HellosFloods[2] {
		r.from = "" // the kernel finds a port sooner
		for range hellosLeavers {
			go r.leave(ctx, &taken)
		}
	} else {
		r.comeAgain(ctx, &taken)
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
	s.GoodClients = goodClientsOf(good.good)
	return json.NewEncoder(w).Encode(s)
}

// comeAgain begins hellosWanted clients that wait for their answers.
func (r *rush) comeAgain(ctx context.Context, taken *atomic.Int64) {
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
}

// leave is a client that does not wait.
func (r *rush) leave(ctx context.Context, taken *atomic.Int64) {
	for ctx.Err() == nil {
		if c := r.dial(); c != nil {
			_, _ = c.Write(r.hello)
			taken.Add(1)
			time.AfterFunc(hellosLeft, func() { _ = c.Close() })
		}
	}
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
			for _, kind := range HellosFloods {
				s, err := run.floodOf(ctx, p, cpus, kind, o.Window)
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
				key := name + "\t" + kind
				if sums[key] == nil {
					sums[key] = &HellosSample{}
				}
				sums[key].Hellos += s.Hellos
				sums[key].add(s.GoodClients)
			}
		}
	}
	table := report.NewTable("", "hellos\tflood\ttaken/s\tgood clients\tserved\tp50\tp99\t"+t.What)
	for _, name := range hellosPeers {
		for _, kind := range HellosFloods {
			key := name + "\t" + kind
			if s := sums[key]; s != nil {
				table.Add("%s\t%.0f\t%s", key, s.Hellos/float64(o.Rounds), s.cells())
			}
		}
	}
	return report.WriteText(w, table)
}

// floodOf starts p with two event loops on all processors and measures a flood against it.
func (r *runner) floodOf(
	ctx context.Context, p Peer, cpus []int, kind string, window time.Duration,
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
	if err := r.child(ctx, cpus, window+time.Minute, &s, "rush", "--secure", addrs[2], "--duration", window.String(),
		"--flood", kind); err != nil {
		return s, err
	}
	r.note("%s, a flood that %s: %.0f hellos/s, %d of %d good clients served, p50 %v", p.Name, kind, s.Hellos,
		s.Served, s.Good, s.P50)
	return s, nil
}
