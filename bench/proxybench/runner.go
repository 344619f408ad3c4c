package proxybench

import (
	"cmp"
	"context"
	"crypto"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/edge-proxy/edge/bench/machine"
	"github.com/edge-proxy/edge/bench/origin"
)

const (
	// floorTolerance is how far a round's floor may lie from the median floor.
	floorTolerance = 0.10
	warmWindow     = 300 * time.Millisecond
)

// Options say what Run measures. The zero value measures everything.
type Options struct {
	Self      string            // edge-bench; default: this executable
	Edge      string            // edge; default: beside Self
	Before    string            // another edge, measured in turn with Edge; default: none
	Programs  map[string]string // paths of Programs by name; default: looked up in PATH
	Scenarios []string          // names; default: all
	Peers     []string          // names; default: all
	Rounds    int               // default 9
	Window    time.Duration     // what one peer is measured for in a round; default 1 s
	Load      string            // auto, wrk, go
	LoadCPU   int               // < 0, or equal to ProxyCPU: the first CPU there is
	ProxyCPU  int               // < 0, or equal to LoadCPU: the last CPU there is
	Log       io.Writer         // progress and notes; default: none
}

var (
	errNoRequests = errors.New("no request reached the origin")
	errMisses     = errors.New("requests that were to be hits reached the origin")
	errFloor      = errors.New("the floor could not be measured")
)

// runner holds what is alive during a Run. Owned by the goroutine in Run.
type runner struct {
	options   Options
	dir       string
	wrk       string // path; empty: our own generator
	h2load    string // path; empty: our own generator
	keys      keyPair
	origins   []*process
	addresses []string // of the origins

	descriptors uint64 // that each process may have

	counters []*origin.Counter // one for each origin
	answered *origin.Counter   // counts hits
	memory   string            // a directory on a file system in memory; empty: not made yet
	peers    []*runningPeer
	report   *Report
}

// runningPeer is a peer with its processes. Owned by the runner.
type runningPeer struct {
	Peer
	process *process
	at      place
}

// address is where p serves the clients of a protocol.
func (p *runningPeer) address(proto Proto) string {
	switch {
	case proto.secure():
		return p.at["secure"]
	case proto.h2():
		return p.at["h2c"]
	}
	return p.at["listen"]
}

// Run measures and returns the report. Everything it started has ended when it returns.
func Run(ctx context.Context, o Options) (*Report, error) {
	scenarios, err := FindScenarios(o.Scenarios)
	if err != nil {
		return nil, err
	}
	r, err := newRunner(o, cheapKey)
	if err != nil {
		return nil, err
	}
	defer r.close()
	peers, err := FindPeers(r.options.Peers)
	if err != nil {
		return nil, err
	}
	peers = slices.DeleteFunc(peers, func(p Peer) bool {
		return !slices.ContainsFunc(scenarios, func(s Scenario) bool { return p.runs(s) })
	})
	if err := r.chooseLoad(ctx); err != nil {
		return nil, err
	}
	if err := r.start(ctx, peers); err != nil {
		return nil, err
	}
	awake, err := r.keepAwake(scenarios)
	if err != nil {
		return nil, err
	}
	defer awake()
	for _, s := range scenarios {
		if n := uint64(2*s.Connections) + descriptorsSpare; n > r.descriptors {
			r.note("%s needs %d descriptors in a process, %d are allowed: see ulimit -n", s.Name, n, r.descriptors)
			continue
		}
		if s.Peers != nil && len(r.livePeers(s)) == 1 {
			r.note("%s: none of %s runs", s.Name, strings.Join(s.Peers, ", "))
			continue
		}
		result, err := r.runScenario(ctx, s)
		if result.RoundsRun > 0 {
			r.report.Scenarios = append(r.report.Scenarios, result)
		}
		if err != nil {
			return r.report, fmt.Errorf("scenario %s: %w", s.Name, err)
		}
	}
	return r.report, nil
}

// keepAwake keeps the CPU of load and origin awake where HTTP/3 is measured: see KeepAwake. The caller calls stop.
func (r *runner) keepAwake(scenarios []Scenario) (stop func(), err error) {
	if !slices.ContainsFunc(scenarios, func(s Scenario) bool { return s.Proto == H3 }) {
		return func() {}, nil
	}
	p, err := startOn("awake", []string{r.options.Self, "awake"}, []int{r.options.LoadCPU}, r.dir)
	if err != nil {
		return nil, err
	}
	return p.stop, nil
}

// newRunner returns a runner that has a directory with a key in it, and has started nothing. The caller closes it.
func newRunner(o Options, key func() (crypto.Signer, error)) (r *runner, err error) {
	r = &runner{report: &Report{Time: time.Now(), Machine: machine.Read("")}, descriptors: raiseDescriptors()}
	if r.options, err = o.withDefaults(); err != nil {
		return nil, err
	}
	if r.dir, err = os.MkdirTemp("", "edge-bench-"); err != nil {
		return nil, fmt.Errorf("temporary directory: %w", err)
	}
	if r.keys, err = writeKeys(r.dir, key); err == nil {
		r.answered, err = origin.OpenCounter(r.answeredPath())
	}
	if err != nil {
		_ = os.RemoveAll(r.dir)
	}
	return r, err
}

func (o Options) withDefaults() (Options, error) {
	if o.Rounds < 0 || o.Window < 0 {
		return o, fmt.Errorf("%d rounds of %v: nothing would be measured", o.Rounds, o.Window)
	}
	if o.Self == "" {
		self, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("own executable: %w", err)
		}
		o.Self = self
	}
	o.Rounds, o.Window = cmp.Or(o.Rounds, 9), cmp.Or(o.Window, time.Second)
	o.Load, o.Log = cmp.Or(o.Load, loadAuto), cmp.Or(o.Log, io.Discard)
	if o.Before != "" {
		o.Peers = withBefore(o.Peers)
	}
	for _, name := range slices.Sorted(maps.Keys(o.Programs)) { // what was named is not left out with a note
		if path := o.Programs[name]; path != "" {
			if _, err := exec.LookPath(path); err != nil {
				return o, fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	if cpus := allowedCPUs(); o.LoadCPU < 0 || o.ProxyCPU < 0 || o.LoadCPU == o.ProxyCPU {
		o.LoadCPU, o.ProxyCPU = cpus[0], cpus[len(cpus)-1]
	}
	return o, nil
}

func (r *runner) chooseLoad(ctx context.Context) error {
	o := &r.options
	r.report.Load = "edge-bench"
	switch o.Load {
	case loadAuto, loadWrk, loadGo:
	default:
		return fmt.Errorf("load %q: want %s, %s or %s", o.Load, loadAuto, loadWrk, loadGo)
	}
	if o.Load == loadGo {
		return nil
	}
	if path, err := exec.LookPath("h2load"); err == nil {
		r.h2load = path
	} else {
		r.note("h2load is not installed: HTTP/2 is loaded by edge-bench itself")
	}
	path, err := exec.LookPath("wrk")
	if err != nil {
		if o.Load == loadWrk {
			return fmt.Errorf("load: %w", err)
		}
		r.note("wrk is not installed: load by edge-bench itself")
		return nil
	}
	r.wrk = path
	r.report.Load = versionOf(ctx, path, "-v")
	return nil
}

// start brings up the origin and every peer whose binary is there, and waits until each answers.
func (r *runner) start(ctx context.Context, peers []Peer) error {
	if r.options.LoadCPU == r.options.ProxyCPU {
		r.note("one CPU: load, origin and proxy share it; CPU/request counts, requests/s and latency do not")
	}
	addrs, err := freeAddrs(4 * len(peers))
	if err != nil {
		return err
	}
	for i, p := range peers {
		// An origin of its own: to one address there are fewer ports than connections that all of them keep.
		if err := r.startOrigin(ctx, addrs[4*i+3], r.options.LoadCPU); err != nil {
			return err
		}
		peer, err := r.startPeer(ctx, p, addrs[4*i:])
		switch {
		case err == nil:
			version := p.describe(ctx, peer.process.cmd.Path)
			r.report.Peers = append(r.report.Peers, PeerFacts{Name: p.Name, Version: version})
		case ctx.Err() != nil:
			return ctx.Err()
		case p.Name == floorName:
			return err
		default:
			r.note("%s is left out: %v", p.Name, err)
		}
	}
	return nil
}

func (r *runner) answeredPath() string { return filepath.Join(r.dir, "answered") }

func (r *runner) startOrigin(ctx context.Context, addr string, cpu int) error {
	path := filepath.Join(r.dir, fmt.Sprintf("requests-%d", len(r.counters)))
	counter, err := origin.OpenCounter(path)
	if err != nil {
		return err
	}
	r.counters = append(r.counters, counter)
	return r.runOrigin(ctx, addr, cpu, "origin", "--listen", addr, "--counter", path)
}

// runOrigin starts edge-bench with args as an origin that listens at addr.
func (r *runner) runOrigin(ctx context.Context, addr string, cpu int, args ...string) error {
	p, err := startOn("origin", append([]string{r.options.Self}, args...), []int{cpu}, r.dir, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	r.origins = append(r.origins, p)
	r.addresses = append(r.addresses, addr)
	return p.waitReady(ctx, addr)
}

// startPeer starts p on cpus, or on ProxyCPU where cpus is empty.
func (r *runner) startPeer(ctx context.Context, p Peer, addrs []string, cpus ...int) (*runningPeer, error) {
	binary, err := p.locate(&r.options)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(r.dir, "peer-")
	if err != nil {
		return nil, fmt.Errorf("directory of %s: %w", p.Name, err)
	}
	at := newPlace(addrs, r.addresses[len(r.addresses)-1], dir, r.keys) // the origin that was started last
	if p.named {
		if r.memory == "" {
			r.memory, err = memoryDir(r.dir)
		}
		at["cache"] = filepath.Join(r.memory, filepath.Base(dir))
		err = cmp.Or(err, os.Mkdir(at["cache"], 0o700))
		if p.files {
			err = cmp.Or(err, writeFiles(at["cache"]))
		}
		if err != nil {
			return nil, fmt.Errorf("directory of a cache: %w", err)
		}
	}
	argv, err := p.command(at, binary)
	if err != nil {
		return nil, err
	}
	if len(cpus) == 0 {
		cpus = []int{r.options.ProxyCPU}
	}
	var env []string
	if p.binary == "" { // a Go peer is fitted to its one core, as edge does it by itself
		env = []string{"GOMAXPROCS=1"}
	}
	proc, err := startOn(p.Name, argv, cpus, dir, env...)
	if err != nil {
		return nil, err
	}
	if p.answers {
		err = proc.poll(ctx, func() error { return boundUDP(at["secure"]) })
	} else {
		err = proc.waitReady(ctx, addrs[0])
	}
	if err != nil {
		proc.stop()
		return nil, err
	}
	peer := &runningPeer{Peer: p, process: proc, at: at}
	r.peers = append(r.peers, peer)
	return peer, nil
}

func (r *runner) close() {
	for _, p := range r.peers {
		p.process.stop()
	}
	for _, o := range r.origins {
		o.stop()
	}
	for _, c := range r.counters {
		_ = c.Close()
	}
	_ = r.answered.Close()
	_ = os.RemoveAll(r.memory)
	_ = os.RemoveAll(r.dir)
}

// runScenario warms every peer up and measures rounds until enough of them are steady. With an error
// comes what was measured before it.
func (r *runner) runScenario(ctx context.Context, s Scenario) (*ScenarioResult, error) {
	result := &ScenarioResult{Name: s.Name, What: s.What, Beside: s.Beside, RoundsAsked: r.options.Rounds}
	active := r.livePeers(s)
	active = slices.DeleteFunc(active, func(p *runningPeer) bool {
		err := r.fits(ctx, s, p)
		if err != nil {
			r.note("%s: %s is left out: %v", s.Name, p.Name, err)
		}
		return err != nil
	})
	for _, p := range active {
		if _, err := r.measure(ctx, s, p, min(warmWindow, 10*r.options.Window)); err != nil && ctx.Err() != nil {
			return result, ctx.Err()
		}
	}
	var rounds []round
	var failure error
	for len(rounds) < 2*r.options.Rounds {
		this, err := r.runRound(ctx, s, active)
		if err != nil {
			failure = err
			break
		}
		rounds = append(rounds, this)
		_, kept := steady(floorsOf(rounds), floorTolerance)
		r.note("%s: round %d, floor %.2f µs/request, %d steady of %d asked", s.Name, len(rounds),
			this[floorName].CPUPerRequest, kept, r.options.Rounds)
		if kept >= r.options.Rounds {
			break
		}
	}
	result.take(rounds, active)
	return result, failure
}

// fits returns an error if p does not answer as s supposes.
func (r *runner) fits(ctx context.Context, s Scenario, p *runningPeer) error {
	url, from := s.url(p.at["listen"]), s.url(p.at["origin"])
	switch {
	case p.Name == floorName:
		return nil
	case s.Hits || s.Numbered:
		return checkStored(ctx, url, from, r.asked, p.named)
	case s.Zipped:
		return checkZipped(ctx, url, from)
	}
	return nil
}

// take keeps the steady rounds and sums them up.
func (s *ScenarioResult) take(rounds []round, peers []*runningPeer) {
	s.RoundsRun = len(rounds)
	keep, kept := steady(floorsOf(rounds), floorTolerance)
	for i, this := range rounds {
		if keep[i] || kept == 0 {
			s.rounds = append(s.rounds, this)
		}
	}
	s.RoundsKept = len(s.rounds)
	for _, p := range peers {
		s.Peers = append(s.Peers, summarize(p.Name, s.Beside, s.rounds))
	}
}

// round is one turn of every peer, by name.
type round map[string]Sample

func floorsOf(rounds []round) []float64 {
	floors := make([]float64, len(rounds))
	for i, this := range rounds {
		floors[i] = this[floorName].CPUPerRequest
	}
	return floors
}

func (r *runner) runRound(ctx context.Context, s Scenario, peers []*runningPeer) (round, error) {
	this := make(round, len(peers))
	for _, p := range peers {
		sample, err := r.measure(ctx, s, p, r.options.Window)
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if err != nil {
			r.note("%s: %s: %v", s.Name, p.Name, err)
			if p.Name == floorName {
				return nil, errors.Join(errFloor, err)
			}
			continue
		}
		this[p.Name] = sample
	}
	return this, nil
}

// livePeers are the peers that can run s.
func (r *runner) livePeers(s Scenario) []*runningPeer {
	var live []*runningPeer
	for _, p := range r.peers {
		switch {
		case !p.process.alive():
			r.note("%s has ended: %s", p.Name, p.process.tail())
		case p.runs(s):
			live = append(live, p)
		}
	}
	return live
}

func (r *runner) measure(ctx context.Context, s Scenario, p *runningPeer, window time.Duration) (Sample, error) {
	switch {
	case p.Name == floorName:
		s = s.reference()
	case s.Proto == H3 && !p.answers && !strings.HasSuffix(p.Name, withHTTP3):
		s = s.overTCP()
	}
	pids := processTree(p.process.cmd.Process.Pid)
	return r.sample(ctx, s, p.address(s.Proto), pids, window, []int{r.options.LoadCPU})
}

// sample loads addr from each of the CPUs and reads what the processes took at both ends of a window of steady load.
func (r *runner) sample(
	ctx context.Context, s Scenario, addr string, pids []int, window time.Duration, cpus []int,
) (Sample, error) {
	gen, err := r.generator(s, window)
	if err != nil {
		return Sample{}, err
	}
	argv, err := gen.command(s, addr)
	if err != nil {
		return Sample{}, err
	}
	var loads []*process
	defer func() {
		for _, l := range loads {
			l.stop()
			_ = os.Remove(l.output)
		}
	}()
	for _, cpu := range cpus {
		l, err := startOn("load", argv, []int{cpu}, r.dir, "GOMAXPROCS=1")
		if err != nil {
			return Sample{}, err
		}
		loads = append(loads, l)
	}
	if err := wait(ctx, s.settle()); err != nil {
		return Sample{}, err
	}
	began, ended, err := r.watch(ctx, s, pids, window)
	if err != nil {
		return Sample{}, err
	}
	if n := ended.misses - began.misses; n > 0 {
		return Sample{}, fmt.Errorf("%w: %d beside %d", errMisses, n, ended.requests-began.requests)
	}
	memory := memoryOf(pids)
	var all loadResult
	for _, l := range loads {
		seen, err := gen.result(ctx, l)
		if err != nil {
			return Sample{}, err
		}
		all.add(seen)
	}
	return newSample(began, ended, memory, all), nil
}

// watch reads both ends of a window. One in which nothing was asked says nothing: it is lengthened, for on a busy
// machine the load may begin late.
func (r *runner) watch(
	ctx context.Context, s Scenario, pids []int, window time.Duration,
) (began, ended reading, err error) {
	if began, err = r.read(s, pids); err != nil {
		return began, ended, err
	}
	for last := began.at.Add(window + readyTimeout); ; {
		if err = wait(ctx, window); err != nil {
			return began, ended, err
		}
		if ended, err = r.read(s, pids); err != nil {
			return began, ended, err
		}
		if ended.requests > began.requests && ended.cpu > began.cpu {
			return began, ended, nil
		}
		if ended.at.After(last) {
			return began, ended, errNoRequests
		}
	}
}

// reading is one end of a window.
type reading struct {
	at       time.Time
	cpu      time.Duration
	requests uint64
	misses   uint64 // requests of a scenario of hits that reached the origin
}

// asked is how many requests the origins have answered.
func (r *runner) asked() (n uint64) {
	for _, c := range r.counters {
		n += c.Load()
	}
	return n
}

func (r *runner) read(s Scenario, pids []int) (reading, error) {
	cpu, err := cpuTime(pids)
	requests := r.asked()
	switch {
	case s.Hits:
		return reading{at: time.Now(), cpu: cpu, requests: r.answered.Load(), misses: requests}, err
	case s.Counted:
		return reading{at: time.Now(), cpu: cpu, requests: r.answered.Load()}, err
	}
	return reading{at: time.Now(), cpu: cpu, requests: requests}, err
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

// child runs edge-bench with args on cpus until it ends, and reads what it prints into v.
func (r *runner) child(ctx context.Context, cpus []int, most time.Duration, v any, args ...string) error {
	p, err := startOn(args[0], append([]string{r.options.Self}, args...), cpus, r.dir, "GOMAXPROCS=1")
	if err != nil {
		return err
	}
	defer p.stop()
	if err := p.wait(ctx, most); err != nil {
		return err
	}
	if err := json.Unmarshal([]byte(p.printed()), v); err != nil {
		return fmt.Errorf("%w: %s", err, p.tail())
	}
	return nil
}

func (r *runner) note(format string, args ...any) {
	_, _ = fmt.Fprintf(r.options.Log, format+"\n", args...)
}
