package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// The bars of moving idleConns connections, on a machine that has time for it.
const (
	idleConns   = 10_000
	moveTimeMax = 200 * time.Millisecond
	moveTickMax = 5 * time.Millisecond
)

// Ten thousand idle connections go to the new process, each with its socket, and no turn of an event loop takes long
// for it, by the CPU time of its thread: with -tags turns, the time in which the thread waited for a processor that
// others had is left out. EDGE_SOAK=1 does it; EDGE_QUIET=1 says that the machine has nothing else to do, so that the
// times count: with other work, a turn takes more CPU time too.
func TestUpgrade_manyIdle(t *testing.T) {
	slow(t)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil || limit.Cur < idleConns*3/2 {
		t.Skipf("%d connections and their copies need more descriptors than %d", idleConns, limit.Cur)
	}
	s := &service{t: t, dir: t.TempDir(), bin: testutil.Binary(t, "./cmd/edge", "-tags", "turns"),
		addrs: []string{testutil.FreeAddr(t)}}
	metrics := testutil.FreeAddr(t)
	s.configure(2, fmt.Sprintf("log_level = \"debug\"\n[metrics]\nlisten = %q\n", metrics))
	s.begin()
	for round := range 3 {
		idle := idlers(t, s.addrs[0], idleConns)
		before := slowestTick(t, metrics)
		s.mustUpgrade()
		ended := func() bool { return strings.Count(s.Output(), `"msg":"stopped"`) > round }
		testutil.Eventually(t, testutil.Minutes, ended, "the old one has ended")
		after := slowestTick(t, metrics)
		idle.check(t, nil)
		for _, c := range idle {
			c.Close()
		}
		took, err := time.ParseDuration(last(t, s.Output(), `"msg":"drained","took":"([^"]+)"`))
		testutil.Must(t, err)
		old := time.Duration(0)
		stopped := last(t, s.Output(), `("msg":"stopped".*)`)
		if strings.Contains(stopped, "loop_slowest_tick_seconds") {
			old = seconds(t, last(t, stopped, `"loop_slowest_tick_seconds[^"]*":([0-9.e-]+)`)) // it has none that are 0
		}
		t.Logf("moved in %v; slowest turn of the old process %v before and %v after it, of the new one %v", took,
			before, old, after)
		if os.Getenv("EDGE_QUIET") == "" {
			continue
		}
		if took > moveTimeMax || old > max(before, moveTickMax) || after > moveTickMax {
			t.Errorf("more than %v and %v", moveTimeMax, moveTickMax)
		}
	}
}

// A process that has served one request keeps little memory: free pages of the heap, and pages of its file that its
// start alone needed, are given back. Now and then the allocator of Go clears a buffer of 2 MiB for a log, whose pages
// belong to the process from then on: one of some processes is enough.
func TestRun_idleMemory(t *testing.T) {
	if testutil.RaceOn {
		t.Skip("the race detector needs memory too")
	}
	t.Parallel()
	const ownMax, allMax = 6144, 17 << 10 // KiB, of which a fifth is not in use
	own := math.MaxInt
	for tries := 0; own > ownMax && tries < 5; tries++ {
		p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Env: []string{"GOMAXPROCS=2"},
			Args: []string{"run", "-c", write(t, "http.listen = \"127.0.0.1:0\"\n"+
				"pid_file = \"edge.pid\"\nroutes = [{ pattern = \"/*\", dest = \"status:204\" }]\n")}})
		url := "http://" + listens(p)
		if r, _ := testutil.Get(t, http.DefaultClient, url); r.StatusCode != 204 {
			t.Fatal(r.StatusCode)
		}
		testutil.Eventually(t, testutil.Minutes, func() bool { return resident(t, p.PID()) <= allMax },
			"its start is over, and it has %d KiB of memory", allMax)
		own = min(own, memoryOf(t, p.PID(), "RssAnon"))
		t.Log(own, "KiB of", resident(t, p.PID()), "are its own")
	}
	if own > ownMax {
		t.Error("its own are more than", ownMax, "KiB")
	}
}

// Packages are initialized at the start of each command of edge: what only some commands or configurations need is made
// when they do.
func TestInit_memory(t *testing.T) {
	t.Parallel()
	const most = 540 << 10 // bytes, of which a fifteenth is not in use
	p := testutil.Start(t, testutil.Command{Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"version"},
		Env: []string{"GODEBUG=inittrace=1"}})
	if code := p.Wait(testutil.Minutes); code != 0 {
		t.Fatal(code)
	}
	all := 0
	for _, of := range regexp.MustCompile(`(?m)^init \S+ @.* (\d+) bytes`).FindAllStringSubmatch(p.Output(), -1) {
		n, _ := strconv.Atoi(of[1])
		all += n
	}
	if t.Logf("%d bytes", all); all == 0 || all > most {
		t.Errorf("init functions allocate %d bytes, not up to %d:\n%s", all, most, p.Output())
	}
}

// A million made-up hosts and paths cost no memory to speak of beside as many requests for one host. EDGE_SOAK=1 asks.
func TestMetrics_madeUpNames(t *testing.T) {
	slow(t)
	one := afterAMillion(t, func(int) int { return 1 })
	madeUp := afterAMillion(t, func(i int) int { return i })
	if t.Logf("%d KiB; of made-up names %d KiB", one, madeUp); madeUp > one+2048 {
		t.Error("made-up names cost more than others")
	}
}

// afterAMillion returns the resident memory in KiB after a million requests, the i-th one for the host and the path
// with the number that name returns.
func afterAMillion(t *testing.T, name func(i int) int) (kib int) {
	t.Helper()
	r := start(t, "http.listen = \"127.0.0.1:0\"\nmetrics.hosts = 200\nlog.output = []\n"+
		"routes = [{ pattern = \"*.example.com/*\", dest = \"status:204\" }]\n")
	defer r.Stop()
	c := dial(t, "tcp", r.addr)
	defer c.Close()
	in := bufio.NewReaderSize(c, 1<<16)
	const atOnce = 64
	for asked := 0; asked < 1_000_000; asked += atOnce {
		var out bytes.Buffer
		for i := range atOnce {
			n := name(asked + i)
			fmt.Fprintf(&out, "GET /p%d HTTP/1.1\r\nHost: h%d.example.com\r\n\r\n", n, n)
		}
		if _, err := c.Write(out.Bytes()); err != nil {
			t.Fatal(err)
		}
		for range atOnce {
			if resp, err := http.ReadResponse(in, nil); err != nil || resp.StatusCode != 204 {
				t.Fatal(resp, err)
			}
		}
	}
	return resident(t, r.PID())
}

// slowestTick asks the metrics at addr.
func slowestTick(t *testing.T, addr string) time.Duration {
	t.Helper()
	_, text := testutil.Get(t, client(t), "http://"+addr+"/metrics")
	return seconds(t, last(t, text, `(?m)^edge_loop_slowest_tick_seconds\S* (\S+)`))
}

func seconds(t *testing.T, text string) time.Duration {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	testutil.Must(t, err)
	return time.Duration(n * float64(time.Second)).Round(time.Microsecond)
}

// last returns what the group of a pattern was the last time.
func last(t *testing.T, text, pattern string) string {
	t.Helper()
	all := regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1)
	if len(all) == 0 {
		t.Fatalf("no %s in %s", pattern, text)
	}
	return all[len(all)-1][1]
}
