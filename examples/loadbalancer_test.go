package examples_test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// operated is a program with a configuration in a folder of its own.
type operated struct {
	dir, bin     string
	conf, events string // names of the files: the configuration, and the log of events
}

// balancer is the load balancer of conf.yaml, in front of two origins.
type balancer struct {
	operated
	url, one, two string
}

func newBalancer(t *testing.T) *balancer {
	t.Helper()
	addr := testutil.FreeAddr(t)
	b := &balancer{url: "http://" + addr, one: origin(t, "one"), two: origin(t, "two"), operated: operated{
		dir: t.TempDir(), bin: testutil.Binary(t, "./examples/loadbalancer"), conf: "conf.yaml",
		events: "load_balancer_err.log"}}
	conf, err := os.ReadFile("loadbalancer/conf.yaml")
	if err != nil {
		t.Fatal(err)
	}
	const more = "http: { listen: %q }\nupstreams: { origins: { backends: [{ address: %q }, { address: %q }] } }\n"
	conf = fmt.Appendf(conf, more, addr, b.one, b.two)
	if err := os.WriteFile(filepath.Join(b.dir, "conf.yaml"), conf, 0o644); err != nil {
		t.Fatal(err)
	}
	return b
}

func (b *operated) start(t *testing.T, more ...string) *testutil.Process {
	t.Helper()
	args := append([]string{"-c", b.conf}, more...)
	return testutil.Start(t, testutil.Command{Path: b.bin, Args: args, Dir: b.dir,
		Env: []string{"STATE_DIRECTORY=" + b.dir}})
}

// log waits until the file of the event log has a text n times.
func (b *operated) log(t *testing.T, n int, text string) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, func() bool {
		lines, _ := os.ReadFile(filepath.Join(b.dir, b.events))
		return strings.Count(string(lines), text) >= n
	}, text)
}

// What conf.yaml says goes before the text of the program: requests go to its backends by the method of the program.
func TestLoadbalancer(t *testing.T) {
	b := newBalancer(t)
	p := b.start(t)
	b.log(t, 1, `"msg":"listening"`)
	seen := map[string]int{}
	for range 20 {
		resp, body := ask(t, "GET", b.url+"/x", "me")
		if resp.StatusCode != 200 {
			t.Fatal(resp.Status, body)
		}
		seen[body+" "+resp.Header.Get("X-Served-By")]++
	}
	if len(seen) != 2 || seen["one /x "+b.one] != 10 || seen["two /x "+b.two] != 10 {
		t.Fatal(seen)
	}
	stop(t, p)
}

// once is a body that cannot be sent a second time, so that net/http tries no request again.
type once struct{ io.Reader }

// No request is lost over reloads and upgrades, by a signal and by the letter -u.
func TestLoadbalancer_losesNothing(t *testing.T) {
	reloads, upgrades := testutil.Rounds(50), testutil.Rounds(20)
	b := newBalancer(t)
	running := b.start(t)
	b.log(t, 1, `"msg":"listening"`)
	var done atomic.Bool
	var asked, lost atomic.Int64
	var clients sync.WaitGroup
	defer clients.Wait() // also where the test ends early
	defer done.Store(true)
	for range 32 {
		clients.Go(func() {
			c := &http.Client{Transport: &http.Transport{}, Timeout: testutil.Patience}
			defer c.CloseIdleConnections()
			for !done.Load() {
				asked.Add(1)
				resp, err := c.Post(b.url+"/x", "text/plain", once{strings.NewReader("hello")})
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					resp.Body.Close()
				}
				if err != nil || resp.StatusCode != 200 {
					lost.Add(1)
					t.Errorf("%v %+v", err, resp)
				}
			}
		})
	}
	var before []*testutil.Process
	for i := range max(reloads, upgrades) {
		if i < reloads {
			running.Signal(syscall.SIGHUP)
			b.log(t, i+1, `"msg":"configuration reloaded`)
		}
		if i < upgrades {
			next := b.start(t, "-u")
			b.log(t, i+2, `"msg":"listening"`)
			b.log(t, i+1, `"msg":"upgraded`)
			before, running = append(before, running), next
		}
	}
	done.Store(true)
	clients.Wait()
	for _, p := range before {
		ends(t, p)
	}
	stop(t, running)
	t.Logf("%d requests, %d lost, over %d reloads and %d upgrades", asked.Load(), lost.Load(), reloads, upgrades)
}
