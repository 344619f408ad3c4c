package main

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/process/upgrade"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// watched are clients that know by which port each of their connections goes, so that a test can tell which process
// had one that was lost.
type watched struct {
	*load
	refused atomic.Int64 // nobody listened

	mu   sync.Mutex
	lost map[int]error // by port: connections that got no answer; guarded by mu
}

func watch(t *testing.T) *watched { return &watched{load: newLoad(t), lost: map[int]error{}} }

// ask has n clients ask over and over, keepAlive over one connection each for as long as that lasts.
func (w *watched) ask(n int, addr string, keepAlive bool) {
	for range n {
		w.wait.Go(func() {
			var c net.Conn
			var r *bufio.Reader
			for w.ctx.Err() == nil {
				begun := time.Now()
				if c == nil {
					var err error
					if c, err = net.Dial("tcp", addr); err != nil {
						w.refused.Add(1)
						continue
					}
					r = bufio.NewReader(c)
				}
				closes, err := askOnce(c, r)
				if err != nil {
					w.mu.Lock()
					w.lost[c.LocalAddr().(*net.TCPAddr).Port] = err
					w.mu.Unlock()
				} else {
					w.asked.Add(1)
					w.slower(time.Since(begun))
				}
				if err != nil || closes || !keepAlive {
					_ = c.(*net.TCPConn).SetLinger(0) // no TIME_WAIT: /proc/net/tcp would have thousands
					c.Close()
					c = nil
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
}

// slower notes how long a request took.
func (l *load) slower(took time.Duration) {
	for {
		slowest := l.slowest.Load()
		if int64(took) <= slowest || l.slowest.CompareAndSwap(slowest, int64(took)) {
			return
		}
	}
}

// clientPorts returns the ports of clients by the inodes of the sockets at the other end.
func clientPorts() map[string]int {
	inodes := map[string]int{}
	table, _ := os.ReadFile("/proc/net/tcp")
	for line := range strings.Lines(string(table)) {
		f := strings.Fields(line)
		if len(f) < 10 {
			continue
		}
		_, hex, _ := strings.Cut(f[2], ":")
		port, _ := strconv.ParseInt(hex, 16, 32)
		inodes["socket:["+f[9]+"]"] = int(port)
	}
	return inodes
}

// portsOf returns the ports of the clients whose connections a process has, by its descriptors.
func portsOf(pid int, inodes map[string]int) map[int]bool {
	ports := map[int]bool{}
	dir := fmt.Sprintf("/proc/%d/fd", pid)
	list, _ := os.ReadDir(dir)
	for _, e := range list {
		to, _ := os.Readlink(filepath.Join(dir, e.Name()))
		if port := inodes[to]; port != 0 {
			ports[port] = true
		}
	}
	return ports
}

// states returns the states of the threads of a process, such as "SSR"; "": it has ended.
func states(pid int) (all string) {
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	for _, path := range tasks {
		text, _ := os.ReadFile(path)
		if _, rest, ok := strings.Cut(string(text), ") "); ok {
			all += rest[:1]
		}
	}
	return all
}

// ended reports whether a process has ended, also where nobody has waited for it.
func ended(pid int) bool { return strings.Trim(states(pid), "ZX") == "" }

// stopped reports whether a process stands still.
func stopped(pid int) bool { return strings.Trim(states(pid), "T") == "" }

// kill stops a process, returns the ports of clients whose connections it has, less those that lives has, and kills it.
func kill(t *testing.T, pid, lives int) map[int]bool {
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		return map[int]bool{} // it has ended by itself
	}
	testutil.Eventually(t, testutil.Minutes, func() bool { return stopped(pid) })
	inodes := clientPorts()
	has := portsOf(pid, inodes)
	for port := range portsOf(lives, inodes) {
		delete(has, port)
	}
	_ = syscall.Kill(pid, syscall.SIGKILL) // after BYE it may have ended by itself
	testutil.Eventually(t, testutil.Minutes, func() bool { return ended(pid) })
	return has
}

// death is one case: which process is killed at which frame.
type death struct {
	at   upgrade.Type
	new  bool // the new one is killed
	held bool // before the other end has the frame; else right after it was passed on
	sock bool // the new one has come to upgrade_sock, after SIGQUIT; else the old one has started it
}

func (d death) String() string {
	who, when := "old", "after"
	if d.new {
		who = "new"
	}
	if d.held {
		when = "before"
	}
	name := fmt.Sprintf("%v_%s_%s", d.at, who, when)
	if d.sock {
		name += "_sock"
	}
	return name
}

// frames are those of an upgrade, in their order.
var frames = []upgrade.Type{
	upgrade.Hello, upgrade.Offer, upgrade.Sockets, upgrade.Ready, upgrade.Go, upgrade.Serving, upgrade.Give,
	upgrade.Own, upgrade.Drop, upgrade.Drain, upgrade.Bye,
}

// One of the two processes is killed at a frame, under load: the other one serves. Lost are connections that the
// killed one had, and no others; nobody is refused while the other one has the sockets. The next start finds nothing in
// its way. EDGE_SOAK=1 kills both at each frame, before and after it arrives, where the old one has started the new one
// and where that has come to upgrade_sock; EDGE_TEST_SEED draws the moments.
func TestUpgrade_killedAtEachFrame(t *testing.T) {
	t.Parallel()
	deaths := []death{{at: upgrade.Go, new: true}, {at: upgrade.Serving}, {at: upgrade.Sockets, new: true}}
	seed := uint64(1)
	if os.Getenv("EDGE_SOAK") != "" {
		deaths = everyDeath()
		seed = uint64(time.Now().UnixNano())
	}
	if text := os.Getenv("EDGE_TEST_SEED"); text != "" {
		seed, _ = strconv.ParseUint(text, 10, 64)
	}
	t.Logf("EDGE_TEST_SEED=%d", seed)
	for i, d := range deaths {
		t.Run(d.String(), func(t *testing.T) { dieAt(t, d, rand.New(rand.NewPCG(seed, uint64(i)))) })
	}
}

func everyDeath() (deaths []death) {
	for _, sock := range []bool{false, true} {
		for _, at := range frames {
			for _, how := range [][2]bool{{false, true}, {false, false}, {true, true}, {true, false}} {
				deaths = append(deaths, death{at, how[0], how[1], sock})
			}
		}
	}
	return deaths
}

// killing is one case under way.
type killing struct {
	death
	*service
	clients *watched
	middle  *middle
	finish  func() // has the origin answer
	text    string // of the configuration, after its listeners
	rng     *rand.Rand
	dead    chan map[int]bool // the ports of what the victim alone had

	victim, lives int           // before dead
	took          time.Duration // to kill it; before dead
}

// on has the victim die at its frame.
func (k *killing) on(f *frameAt) {
	if f.Type == upgrade.Own && f.nth == 1 && k.at == upgrade.Drop {
		k.drop(f.next)
	}
	if f.Type == upgrade.Drain && k.at == upgrade.Bye {
		k.finish()
	}
	if f.Type != k.at || f.nth > 1 {
		return
	}
	k.victim, k.lives = k.PID(), f.next
	if k.new {
		k.victim, k.lives = k.lives, k.victim
	}
	if !k.held {
		f.pass()
		<-time.After(time.Duration(k.rng.IntN(1500)) * time.Microsecond)
	}
	copies := k.lives
	if k.new && (k.at >= upgrade.Own || k.at >= upgrade.Go && !k.held) {
		copies = 0 // what the victim has confirmed is its own, though the other one has not heard of it yet
	}
	begun := time.Now()
	had := kill(k.t, k.victim, copies)
	k.took = time.Since(begun)
	k.dead <- had
	if k.held && f.fromNew != k.new {
		f.lose() // the one that was to have it has ended
	}
}

// drop has the new process reload without the second address: it tells the old one before it logs the reload.
func (k *killing) drop(next int) {
	only := &service{t: k.t, dir: k.dir, addrs: k.addrs[:1], grace: k.grace}
	only.configure(1, k.text)
	_ = syscall.Kill(next, syscall.SIGHUP)
}

// dieAt is one case.
func dieAt(t *testing.T, d death, rng *rand.Rand) {
	origin, begun, finish := slowOrigin(t)
	k := &killing{death: d, middle: newMiddle(t), finish: finish, rng: rng, dead: make(chan map[int]bool, 1)}
	k.text = fmt.Sprintf(slowRoute, origin)
	k.service = prepare(t, 2)
	k.grace = "5m" // the slow request ends by itself
	k.configure(1, k.text)
	k.begin(k.middle.env...)
	k.middle.follow(k.on)
	slow := hold(t, k.addrs[0], begun) // the request keeps the old process
	k.clients = watch(t)
	k.clients.ask(8, k.addrs[0], true)
	k.clients.ask(4, k.addrs[0], false)
	idle := idlers(t, k.addrs[0], 100)
	upgraded := k.renew()
	var had map[int]bool
	select {
	case had = <-k.dead:
	case <-time.After(testutil.Patience):
		t.Fatalf("no %v; passed on were %v; %s", d.at, k.middle.passedFrames(), k.Output())
	}
	nobody := d.at == upgrade.Bye && d.new // the old one has nothing left, and ends
	if nobody {
		k.Wait(testutil.Minutes)
	} else {
		k.goesOn()
	}
	told := <-upgraded
	k.clients.cancel()
	k.clients.wait.Wait()
	idleLost, has := len(idle), len(had)
	if !nobody {
		had[slow.LocalAddr().(*net.TCPAddr).Port] = true
		k.judge(had)
		idleLost = idle.check(t, had)
	}
	// Between these frames it may have been told that the new process serves.
	early, late := d.at < upgrade.Go, d.at > upgrade.Serving
	if !d.sock && (early && told[0] != '1' || late && told[0] != '0') {
		t.Errorf("edge upgrade: %s", told)
	}
	w := k.clients
	t.Logf("%v: lost %d busy and %d of 100 idle, of %d that the dead one had; %d refused, %d asked, slowest %d ms; "+
		"its death took %d ms", d, len(w.lost), idleLost, has, w.refused.Load(), w.asked.Load(),
		time.Duration(w.slowest.Load()).Milliseconds(), k.took.Milliseconds())
	startsAgain(t, k.service, k.lives)
}

// renew begins the upgrade, and returns what edge upgrade will say: nothing, where the new process comes by itself.
func (k *killing) renew() <-chan string {
	upgraded := make(chan string, 1)
	if k.sock {
		k.Signal(syscall.SIGQUIT)
		k.WaitLine(`"msg":"SIGQUIT: waiting for a process that takes over"`)
		testutil.Start(k.t, testutil.Command{
			Path: k.middle.program(), Args: []string{"run", "--upgrade", "-c", "edge.toml"}, Dir: k.dir,
			Env: append(k.middle.env, dialEnv+"="+filepath.Join(k.dir, "upgrade.sock")),
		})
		close(upgraded)
		return upgraded
	}
	go func() {
		code, out := in(k.t, k.dir, "upgrade", k.middle.program())
		upgraded <- fmt.Sprint(code, " ", out)
	}()
	return upgraded
}

// judge compares what was lost with what the victim had.
func (k *killing) judge(had map[int]bool) {
	t := k.t
	t.Helper()
	alone := !k.new && !slices.Contains(k.middle.passedFrames(), upgrade.Sockets) // which have ended with the old one
	if n := k.clients.refused.Load(); n > 0 && !alone {
		t.Errorf("%d connections were refused", n)
	}
	for port, err := range k.clients.lost {
		if !had[port] && !alone {
			t.Errorf("a connection was lost that the dead one did not have: port %d, %v", port, err)
		}
	}
	if t.Failed() {
		t.Logf("passed on were %v\n%s", k.middle.passedFrames(), k.Output())
	}
}

// goesOn waits until the process that lives has the names, and new connections and all clients are served.
func (k *killing) goesOn() {
	k.t.Helper()
	named := func() bool { return k.serving() == k.lives }
	testutil.Eventually(k.t, testutil.Minutes, named, "the pid file names process %d", k.lives)
	before := k.clients.asked.Load()
	served := func() bool { return k.clients.asked.Load() > before+200 }
	testutil.Eventually(k.t, testutil.Minutes, served, "requests go on")
	if ended(k.lives) {
		k.t.Errorf("process %d has ended too", k.lives)
	}
}

// startsAgain kills the process that is left. The next one starts with the same files, and leaves none when it stops.
func startsAgain(t *testing.T, s *service, lives int) {
	t.Helper()
	_ = syscall.Kill(lives, syscall.SIGKILL)
	testutil.Eventually(t, testutil.Minutes, func() bool { return ended(lives) })
	next := testutil.Start(t, testutil.Command{Path: s.bin, Args: []string{"run", "-c", "edge.toml"}, Dir: s.dir})
	next.WaitLine(`"msg":"listening"`)
	testutil.Eventually(t, testutil.Minutes, func() bool { return s.serving() == next.PID() })
	if err := s.answers(); err != nil {
		t.Error(err)
	}
	next.Stop()
	list, err := os.ReadDir(s.dir)
	testutil.Must(t, err)
	for _, e := range list {
		if name := e.Name(); name != "edge.toml" && name != "access.log" {
			t.Errorf("the next start has left %s", name)
		}
	}
}

// idling are connections that have asked once.
type idling []net.Conn

func idlers(t *testing.T, addr string, n int) (all idling) {
	t.Helper()
	for range n {
		c := dial(t, "tcp", addr)
		t.Cleanup(func() { c.Close() })
		if _, err := askOnce(c, bufio.NewReader(c)); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	return all
}

// check has each ask again, and returns how many are lost, which had excuses.
func (all idling) check(t *testing.T, had map[int]bool) (lost int) {
	t.Helper()
	for _, c := range all {
		if _, err := askOnce(c, bufio.NewReader(c)); err != nil {
			lost++
			if port := c.LocalAddr().(*net.TCPAddr).Port; !had[port] && lost < 5 {
				t.Errorf("an idle connection was lost that the dead one did not have: port %d, %v", port, err)
			}
		}
	}
	return lost
}
