package proxybench

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/edge-proxy/edge/bench/loadreport"
	"github.com/edge-proxy/edge/bench/machine"
)

// A self run shows what edge does on this machine: an origin, edge and our own load, on chosen CPUs.
//
//	load CPUs: edge-bench URL ─────▶ proxy CPUs: edge ─────▶ origin CPUs: edge-bench origin
//	                          ─────────────────────────────▶ the same, asked without the proxy
//
// A closed loop finds what edge can do at all. Open loops at shares of that rate then tell how long an answer takes
// while it does less. The origin is asked the same without the proxy, in turn: what it and the machine take by
// themselves is in both.

// SelfKind is what clients speak with edge in a self run. Immutable.
type SelfKind struct {
	Name, What  string
	Connections int // unless told otherwise
	streams     int // > 0: HTTP/2, or HTTP/3
	secure      bool
	http3       bool
	path        string
	scheme      string // of the origin
}

// SelfKinds are all there are.
var SelfKinds = []SelfKind{
	{Name: "h1", What: "HTTP/1.1", Connections: 100, path: "/small", scheme: "http"},
	{Name: "h2", What: "HTTP/2 over TLS, 16 streams a connection", Connections: 16, streams: 16, secure: true,
		path: "/small", scheme: "http"},
	{Name: "h3", What: "HTTP/3, a stream a connection", Connections: 64, streams: 1, secure: true, http3: true,
		path: "/small", scheme: "http"},
	{Name: "tls", What: "HTTP/1.1 over TLS", Connections: 100, secure: true, path: "/small", scheme: "http"},
	{Name: "ws", What: "WebSocket, messages of 128 bytes", Connections: 100, path: "/ws", scheme: "ws"},
}

// selfPercents are the shares of the closed loop's rate that are asked for.
var selfPercents = []int{10, 25, 50, 75, 90}

// SelfOptions say what RunSelf measures. The zero value is good.
type SelfOptions struct {
	Options
	Kind        string        // name; default: h1
	Connections int           // default: the kind's
	Duration    time.Duration // of each run; default 5 s
	Rate        float64       // of the only open loop; 0: shares of the closed loop's rate
	LoadCPUs    []int         // default: see placeSelf
	ProxyCPUs   []int
	OriginCPUs  []int
	Version     string // of this program
}

// selfRun holds what is alive during a RunSelf. Owned by its goroutine.
type selfRun struct {
	*runner
	o      SelfOptions
	kind   SelfKind
	report *loadreport.Report
	pids   []int  // of edge
	direct string // URLs
	edge   string
}

// The targets of a self run.
const (
	selfDirect = "direct"
	selfEdge   = "edge"
)

// RunSelf measures and returns the report; with an error comes what was measured before it. Everything it started has
// ended when it returns.
func RunSelf(ctx context.Context, o SelfOptions) (*loadreport.Report, error) {
	run, err := newSelfRun(o)
	if err != nil {
		return nil, err
	}
	defer run.close()
	if err := run.start(ctx); err != nil {
		return nil, err
	}
	err = run.measure(ctx)
	return run.report, err
}

func newSelfRun(o SelfOptions) (*selfRun, error) {
	o.Kind = cmp.Or(o.Kind, SelfKinds[0].Name)
	kinds, err := pick(SelfKinds, []string{o.Kind}, "kind of load", func(k SelfKind) string { return k.Name })
	if err != nil {
		return nil, err
	}
	o.Duration, o.Connections = cmp.Or(o.Duration, 5*time.Second), cmp.Or(o.Connections, kinds[0].Connections)
	allowed := allowedCPUs()
	o.placeOn(allowed)
	for _, cpu := range slices.Concat(o.LoadCPUs, o.ProxyCPUs, o.OriginCPUs) {
		if !slices.Contains(allowed, cpu) {
			return nil, fmt.Errorf("CPU %d is not one that this process may use: %v", cpu, allowed)
		}
	}
	r, err := newRunner(o.Options, cheapKey)
	if err != nil {
		return nil, err
	}
	what := fmt.Sprintf("%s through edge, %d connections, %v a run · edge on CPU %s, load on %s, origin on %s",
		kinds[0].What, o.Connections, o.Duration, cpuList(o.ProxyCPUs), cpuList(o.LoadCPUs), cpuList(o.OriginCPUs))
	return &selfRun{runner: r, o: o, kind: kinds[0], report: &loadreport.Report{Time: time.Now(),
		Machine: machine.Read(o.Version), What: what, Notes: o.sharing()}}, nil
}

// placeOn chooses CPUs where none are named: half of them for edge, a quarter each for the load and the origin. Of two
// edge has one for itself.
func (o *SelfOptions) placeOn(cpus []int) {
	n := len(cpus)
	proxy, others := cpus[n-max(n/2, 1):], cpus[:max(n-n/2, 1)]
	if n == 3 {
		others = cpus[:2]
	}
	origin, loads := others[:max(len(others)/2, 1)], others[len(others)/2:]
	for _, c := range []struct {
		given *[]int
		auto  []int
	}{{&o.ProxyCPUs, proxy}, {&o.OriginCPUs, origin}, {&o.LoadCPUs, loads}} {
		if len(*c.given) == 0 {
			*c.given = c.auto
		}
	}
}

// sharing tells which of the three have a CPU in common, and what that means.
func (o *SelfOptions) sharing() []string {
	shared := func(a, b []int) bool {
		return slices.ContainsFunc(a, func(cpu int) bool { return slices.Contains(b, cpu) })
	}
	var notes []string
	if shared(o.ProxyCPUs, o.LoadCPUs) || shared(o.ProxyCPUs, o.OriginCPUs) {
		notes = append(notes, "edge shares a CPU with the load or the origin: its CPU time a request counts, "+
			"rates and latencies are about all three together")
	}
	if shared(o.LoadCPUs, o.OriginCPUs) {
		notes = append(notes, "load and origin share a CPU: where they fill it the rates are theirs, "+
			"and each waits for the other in the latencies")
	}
	return notes
}

func cpuList(cpus []int) string {
	text := make([]string, len(cpus))
	for i, cpu := range cpus {
		text[i] = strconv.Itoa(cpu)
	}
	return strings.Join(text, ",")
}

// start brings up an origin on each of its CPUs, and edge before them.
func (r *selfRun) start(ctx context.Context) error {
	addrs, err := freeAddrs(3 + len(r.o.OriginCPUs))
	if err != nil {
		return err
	}
	for i, cpu := range r.o.OriginCPUs {
		if err := r.startOrigin(ctx, addrs[3+i], cpu); err != nil {
			return err
		}
	}
	set := place{"loops": strconv.Itoa(len(r.o.ProxyCPUs)), "origin": strings.Join(r.addresses, ", ")}
	if r.kind.http3 {
		maps.Copy(set, http3Place)
	}
	p, err := r.startPeer(ctx, edgePeer("edge", "edge", false, set), addrs, r.o.ProxyCPUs...)
	if err != nil {
		return fmt.Errorf("edge: %w; --edge says where it is", err)
	}
	r.pids = processTree(p.process.cmd.Process.Pid)
	r.direct = r.kind.scheme + "://" + r.addresses[0] + r.kind.path
	r.edge = r.kind.scheme + "://" + addrs[0] + r.kind.path
	if r.kind.secure {
		r.edge = "https://" + addrs[2] + r.kind.path
		r.report.Notes = append(r.report.Notes, "the origin is asked over HTTP/1.1 without TLS, by edge and directly: "+
			"what the two rows differ by is edge, its TLS, and another protocol of the load")
	}
	if len(r.addresses) > 1 {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf(
			"edge asks %d origins of one thread each, and directly one of them is asked", len(r.addresses)))
	}
	return nil
}

// measure runs the closed loops, then the open ones.
func (r *selfRun) measure(ctx context.Context) error {
	for _, target := range []string{selfDirect, selfEdge} {
		if _, err := r.load(ctx, target, 0, warmWindow); err != nil { // connections of edge to the origin, caches
			return err
		}
	}
	if err := r.both(ctx, 0, 0); err != nil {
		return err
	}
	closed := r.report.Rows[len(r.report.Rows)-1]
	if closed.Result.Requests == 0 {
		return errors.Join(errNoRequests, errors.New(closed.Result.Failure))
	}
	if closed.CPUPerRequest > 0 {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf(
			"edge takes %.2f µs of processor time for a request: a core that it fills carries %.0f requests a second",
			closed.CPUPerRequest, 1e6/closed.CPUPerRequest))
	}
	r.noteBottleneck(&closed)
	if r.o.Rate > 0 {
		return r.both(ctx, r.o.Rate, 0)
	}
	for _, percent := range selfPercents {
		if err := r.both(ctx, max(closed.Result.PerSecond()*float64(percent)/100, 1), percent); err != nil {
			return err
		}
	}
	return nil
}

// noteBottleneck tells when it is not edge that the closed loop was at its limit of.
func (r *selfRun) noteBottleneck(closed *loadreport.Row) {
	if share := closed.Busy / float64(len(r.o.ProxyCPUs)); share < 0.9 {
		r.report.Notes = append(r.report.Notes, fmt.Sprintf(
			"edge was busy for %.0f %% of the closed loop: the load, the origin or other processes were the bottleneck",
			100*share))
	}
}

// both adds a row of the origin and one of edge.
func (r *selfRun) both(ctx context.Context, rate float64, percent int) error {
	for _, target := range []string{selfDirect, selfEdge} {
		row, err := r.load(ctx, target, rate, r.o.Duration)
		if err != nil {
			return err
		}
		row.Percent = percent
		r.report.Rows = append(r.report.Rows, row)
		r.note("%s, %s: %.0f/s, p50 %v, p99 %v", target, row.Load(), row.Result.PerSecond(), row.Result.Latency.P50,
			row.Result.Latency.P99)
	}
	return nil
}

// load runs our load against a target, in a process of its own.
func (r *selfRun) load(ctx context.Context, target string, rate float64, d time.Duration) (loadreport.Row, error) {
	row := loadreport.Row{Target: target}
	argv := []string{
		r.options.Self, r.direct, "-t", strconv.Itoa(len(r.o.LoadCPUs)), "-c", strconv.Itoa(r.o.Connections),
		"-d", d.String(), "--json",
	}
	if target == selfEdge {
		argv[1] = r.edge
		if r.kind.streams > 0 {
			version := "--h2"
			if r.kind.http3 {
				version = "--h3"
			}
			argv = append(argv, version, "-m", strconv.Itoa(r.kind.streams))
		}
	} else if r.kind.streams > 0 { // as many requests in progress
		argv = append(argv, "-p", strconv.Itoa(r.kind.streams))
	}
	if rate > 0 {
		argv = append(argv, "--rate", strconv.FormatFloat(rate, 'f', -1, 64))
	}
	p, err := startOn("load", argv, r.o.LoadCPUs, r.dir)
	if err != nil {
		return row, err
	}
	defer p.stop()
	if target == selfEdge {
		if err := r.cost(ctx, p, d, &row); err != nil {
			return row, err
		}
	}
	if err := p.wait(ctx, d+2*readyTimeout); err != nil {
		return row, err
	}
	row.Result, err = goLoadResult(p.printed())
	return row, err
}

// cost fills what edge takes while p loads it for d. The window opens with the first request: what connections and
// handshakes cost is not in it.
func (r *selfRun) cost(ctx context.Context, p *process, d time.Duration, row *loadreport.Row) error {
	began, err := r.readEdge()
	if err != nil {
		return err
	}
	ended := began
	for ended.requests == began.requests && p.alive() {
		began = ended
		if err := wait(ctx, pollEvery); err != nil {
			return err
		}
		if ended, err = r.readEdge(); err != nil {
			return err
		}
	}
	if err := p.until(ctx, time.Until(began.at.Add(d))); err != nil {
		return err
	}
	if ended, err = r.readEdge(); err != nil {
		return err
	}
	cpu := (ended.cpu - began.cpu).Seconds()
	if n := ended.requests - began.requests; n > 0 {
		row.CPUPerRequest = cpu * 1e6 / float64(n)
	}
	row.Busy = cpu / ended.at.Sub(began.at).Seconds()
	return nil
}

// readEdge is read of a proxy that has to be alive.
func (r *selfRun) readEdge() (reading, error) {
	if edge := r.peers[0].process; !edge.alive() {
		return reading{}, fmt.Errorf("edge: %w: %s", errExited, edge.tail())
	}
	return r.read(Scenario{}, r.pids)
}
