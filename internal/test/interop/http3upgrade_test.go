package interop

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/config"
	"github.com/edge-proxy/edge/internal/server"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// New processes take over while clients ask that know HTTP/3 alone, and no request fails. Every second one is killed at
// some moment: then what it had accepted is lost, and no more. EDGE_SOAK=1 does it fifty times.
func TestHTTP3_upgradesUnderLoad(t *testing.T) {
	times := 2
	if soak() {
		times = 50
	}
	o := newSlow(t)
	keys, serving := upgradable(t)
	p := startPlaced(t, o, "%sgrace_period = \"1m\"\nworker_threads = 3\n", keys)
	p.Stop()
	log, err := os.Create(filepath.Join(t.TempDir(), "log")) // a pipe would end with the first process
	testutil.Must(t, err)
	defer log.Close() //nolint:errcheck
	p.Process = testutil.Start(t, testutil.Command{
		Path: testutil.Binary(t, "./cmd/edge"), Args: []string{"run", "-c", p.file}, Stderr: log,
	})
	p.WaitPort(p.addr)
	output := func() string {
		text, _ := os.ReadFile(log.Name())
		return string(text)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(output())
		}
	})
	c := newCrowd(t)
	url := "https://" + p.addr + "/steady"
	c.ask(8, url, func() *http.Client { return p.h3(t) })
	p.askByNGTCP2(t, c, url)
	seed := uint64(time.Now().UnixNano())
	random := rand.New(rand.NewPCG(seed, 0))
	killed := 0
	for i := 0; i < times && c.failed.Load() == 0; i++ {
		c.goOn(t, 10)
		p.writeThreads(t, 1+i%3)
		switch {
		case i%2 == 0:
			p.upgrade(t, serving)
		case p.upgradeKilled(t, o, serving(), random, c, output):
			killed++
		}
		c.goOn(t, 10)
		c.lenient.Store(false)
		testutil.Eventually(t, testutil.Minutes, func() bool { return len(p.processes()) == 1 }, "the ones before end")
	}
	c.leave(t)
	t.Logf("seed %d: %d requests over %d upgrades; %d of the killed served, and %d of their requests failed", seed,
		c.served.Load(), times, killed, c.tolerated.Load())
	if text := output(); strings.Contains(text, "connections_cut") || strings.Contains(text, "panic") {
		t.Error(text)
	}
}

// writeThreads writes the configuration with another number of event loops.
func (p *placed) writeThreads(t *testing.T, n int) {
	t.Helper()
	p.head = regexp.MustCompile(`worker_threads = \d`).ReplaceAllString(p.head, fmt.Sprint("worker_threads = ", n))
	p.write(t, p.listener(`"h1", "h2", "h3"`))
}

// processes returns the processes that have the configuration of p.
func (p *placed) processes() (pids []int) {
	out, _ := exec.Command("pgrep", "-f", p.file).Output() // 1: there are none
	for _, text := range strings.Fields(string(out)) {
		pid, _ := strconv.Atoi(text)
		pids = append(pids, pid)
	}
	return pids
}

// upgradeKilled begins an upgrade and kills the new process after a random time. It reports whether that process may
// have served.
func (p *placed) upgradeKilled(
	t *testing.T, o *slow, before int, random *rand.Rand, c *crowd, output func() string,
) (served bool) {
	t.Helper()
	held := o.begin(t, p.h3(t), p.addr) // the process before may not end
	testutil.Must(t, syscall.Kill(before, syscall.SIGUSR2))
	testutil.Eventually(t, testutil.Minutes, func() bool { return len(p.processes()) > 1 }, "a new process")
	<-time.After(time.Duration(random.Int64N(int64(600 * time.Millisecond)))) // any moment will do
	tolerated := c.tolerated.Load()
	c.lenient.Store(true)
	testutil.Eventually(t, testutil.Minutes, func() bool {
		for _, pid := range p.processes() { // some only look at the configuration
			if pid != before {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
		log := output()
		log = log[strings.LastIndex(log, `"msg":"upgrading"`):]
		served = strings.Contains(log, "unconfirmed connections are taken back")
		return strings.Contains(log, "this process serves on")
	}, "the end of the upgrade")
	if !served {
		c.failed.Add(c.tolerated.Load() - tolerated)
	}
	o.end <- struct{}{}
	held.wantEnd(t)
	return served
}

// askByNGTCP2 has a client that is not written in Go ask, ten times on each of its connections.
func (p *placed) askByNGTCP2(t *testing.T, c *crowd, url string) {
	program, err := exec.LookPath("gtlsclient")
	if err != nil {
		return
	}
	host, port, err := net.SplitHostPort(p.addr)
	testutil.Must(t, err)
	for range 2 {
		dir, served := t.TempDir(), &atomic.Int64{}
		c.each = append(c.each, served)
		c.wait.Go(func() {
			for c.end.Err() == nil && c.failed.Load() == 0 {
				out, err := exec.CommandContext(c.end, program, "--exit-on-all-streams-close", "-n10", "--no-quic-dump",
					"--no-http-dump", "--download="+dir, host, port, url).CombinedOutput()
				text, _ := filepath.Glob(filepath.Join(dir, "*"))
				if err != nil || len(text) == 0 {
					c.fail("ngtcp2: %v: %s", err, out)
					continue
				}
				c.served.Add(10)
				served.Add(10)
			}
		})
	}
}

// succeed makes a Server that takes over from old with another configuration, as far as Resume. It returns what that
// claims.
func succeed(t *testing.T, old *server.Server, text string) (next *server.Server, claimed []int) {
	t.Helper()
	sockets, err := old.Handover().Sockets()
	testutil.Must(t, err)
	c, report := config.Parse("test.toml", []byte(text))
	if !report.OK() {
		t.Fatalf("%s", report.JSON())
	}
	o := server.Options{Adopt: sockets, Suspended: true, QUICSecret: old.QUICSecret(), Generation: 1}
	next, err = server.New(c, o)
	testutil.Must(t, err)
	t.Cleanup(func() { next.Stop() })
	testutil.Must(t, next.Start())
	for i, is := range next.Handover().Claims() {
		if is {
			claimed = append(claimed, i)
		} else {
			_ = syscall.Close(sockets[i].FD)
		}
	}
	return next, claimed
}

// text is the text of a configuration with one listener.
func (p *placed) text(o *slow, keys *keys, listen, protocols string) string {
	return fmt.Sprintf("log.output = []\n[global]\nworker_threads = 2\n[[certificates]]\ncert = %q\nkey = %q\n"+
		"[upstreams.u]\nbackends = [{ address = %q }]\n[[routes]]\npattern = \"/*\"\ndest = \"u\"\n"+
		"[[listeners]]\nname = \"web\"\nlisten = %q\ntls = true\nprotocols = [%s]\n",
		keys.cert, keys.key, o.addr, listen, protocols)
}

// The new process has the address in another way, and opens it anew: it has no part of the sockets of the process
// before, of UDP neither, and clients of TCP are served.
func TestHTTP3_upgradeToAnotherAddress(t *testing.T) {
	for name, c := range map[string]struct{ was, is, ask string }{
		"both families": {"[::]:", ":", "::1"},
		"a fixed port":  {"127.0.0.1:", "127.0.0.1:", "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, keys := newSlow(t), newKeys(t)
			p := &placed{edge: &edge{pool: keys.pool}}
			_, port, err := net.SplitHostPort(testutil.FreeAddr(t))
			testutil.Must(t, err)
			if c.was == c.is {
				port = "0"
			}
			const protocols = `"h1", "h2", "h3"`
			old, _ := startServer(t, "%s", p.text(o, keys, c.was+port, protocols))
			_, port, err = net.SplitHostPort(old.Addresses()[0].Addr.String())
			testutil.Must(t, err)
			next, claimed := succeed(t, old, p.text(o, keys, c.is+port, protocols))
			if len(claimed) > 0 {
				t.Errorf("it claims %d sockets", len(claimed))
			}
			testutil.Must(t, old.Handover().Suspend(claimed))
			testutil.Must(t, next.Handover().Resume())
			old.Handover().CloseOthers()
			for range 10 {
				config := p.client("http/1.1")
				config.ServerName = "localhost"
				one := &http.Client{Transport: &http.Transport{TLSClientConfig: config}, Timeout: testutil.Patience}
				fetch(t, one, "GET", "https://"+net.JoinHostPort(c.ask, port)+"/", nil)
				one.CloseIdleConnections()
			}
		})
	}
}

// A reload that ends HTTP/3 while the new process begins: it may not take the port.
func TestHTTP3_upgradeMeetsAReload(t *testing.T) {
	t.Parallel()
	o, keys := newSlow(t), newKeys(t)
	p := &placed{edge: &edge{pool: keys.pool}, addr: testutil.FreeAddr(t)}
	old, _ := startServer(t, "%s", p.text(o, keys, p.addr, `"h1", "h2", "h3"`))
	first := o.begin(t, p.h3(t), p.addr)
	_, claimed := succeed(t, old, p.text(o, keys, p.addr, `"h1", "h2", "h3"`))
	c, report := config.Parse("test.toml", []byte(p.text(o, keys, p.addr, `"h1", "h2"`)))
	if !report.OK() {
		t.Fatalf("%s", report.JSON())
	}
	_, err := old.Apply(c)
	testutil.Must(t, err)
	if err := old.Handover().Suspend(claimed); err == nil {
		t.Error("the new process takes a port that closes")
	}
	close(o.end)
	first.wantEnd(t)
}
