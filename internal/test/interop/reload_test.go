package interop

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// steady is an origin that answers, and echoes messages of WebSockets.
func steady(t *testing.T) (addr string) {
	return testutil.ServeHTTP(t, testutil.Listen(t), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			n, _ := io.Copy(io.Discard, r.Body)
			fmt.Fprintln(w, "well", n)
			return
		}
		c, err := websocket.Accept(w, r, nil)
		if err != nil {
			return
		}
		defer c.CloseNow() //nolint:errcheck // the test has ended
		for {
			kind, text, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, text) != nil {
				return
			}
		}
	})
}

// crowd is clients that ask again and again.
type crowd struct {
	end    context.Context
	stop   func()
	wait   sync.WaitGroup
	served atomic.Int64
	failed atomic.Int64
	fault  atomic.Value // the last failure, as text

	lenient   atomic.Bool // failures are tolerated, and counted
	tolerated atomic.Int64
	each      []*atomic.Int64 // requests that were served, of each client
}

func newCrowd(t *testing.T) *crowd {
	c := &crowd{}
	c.end, c.stop = context.WithCancel(t.Context())
	return c
}

func (c *crowd) fail(format string, args ...any) {
	switch {
	case c.end.Err() != nil:
	case c.lenient.Load():
		c.tolerated.Add(1)
	default:
		c.failed.Add(1)
		c.fault.Store(fmt.Sprintf(format, args...))
	}
}

// ask has n clients make requests, each on a connection of its own.
func (c *crowd) ask(n int, url string, client func() *http.Client) {
	for range n {
		one, served := client(), &atomic.Int64{}
		c.each = append(c.each, served)
		c.wait.Go(func() {
			defer one.CloseIdleConnections()
			for i := 0; c.end.Err() == nil && c.failed.Load() == 0; i++ {
				method, body := "GET", ""
				if i%4 == 3 {
					method, body = "POST", strings.Repeat("x", 1<<10)
				}
				req, err := http.NewRequest(method, url, strings.NewReader(body))
				if err != nil {
					panic(err)
				}
				resp, err := one.Do(req)
				if err != nil && strings.Contains(err.Error(), "H3_NO_ERROR (local)") {
					// On GOAWAY quic-go 0.65 ends a connection although it has just opened a stream: between the check
					// of openRequestStream and TrackStream.
					continue
				}
				if err != nil {
					c.fail("%s %s: %v", method, url, err)
					continue
				}
				text, err := io.ReadAll(resp.Body)
				resp.Body.Close()
				want := fmt.Sprintln("well", len(body))
				if err != nil || resp.StatusCode != 200 || string(text) != want {
					c.fail("%s %s: %d %q %v", method, url, resp.StatusCode, text, err)
					continue
				}
				c.served.Add(1)
				served.Add(1)
			}
		})
	}
}

// goOn waits until each client was served n times more.
func (c *crowd) goOn(t *testing.T, n int64) {
	t.Helper()
	for _, served := range c.each {
		until := served.Load() + n
		testutil.Eventually(t, testutil.Minutes, func() bool { return served.Load() >= until || c.failed.Load() > 0 })
	}
}

// leave ends the requests, of which none may have failed.
func (c *crowd) leave(t *testing.T) {
	t.Helper()
	c.stop()
	c.wait.Wait()
	if n := c.failed.Load(); n > 0 {
		t.Errorf("%d of %d failed, the last one: %v", n, c.served.Load()+n, c.fault.Load())
	}
}

// over makes clients that speak one protocol, over TLS where the URL wants it.
func (e *edge) over(protocol string) func() *http.Client {
	return func() *http.Client {
		return &http.Client{Transport: &http.Transport{
			TLSClientConfig: e.client(protocol), ForceAttemptHTTP2: protocol == "h2"}}
	}
}

// chat has a WebSocket echo messages until the end.
func (c *crowd) chat(t *testing.T, url string, client *http.Client) {
	t.Helper()
	ws, _, err := websocket.Dial(t.Context(), url, &websocket.DialOptions{HTTPClient: client})
	testutil.Must(t, err)
	c.wait.Go(func() {
		defer ws.CloseNow() //nolint:errcheck // it was of use until here
		pause := time.NewTicker(5 * time.Millisecond)
		defer pause.Stop()
		for i := 0; c.end.Err() == nil; i++ {
			sent := fmt.Sprint("message ", i)
			err := ws.Write(context.WithoutCancel(c.end), websocket.MessageText, []byte(sent))
			if err == nil {
				var got []byte
				if _, got, err = ws.Read(context.WithoutCancel(c.end)); err == nil && string(got) != sent {
					err = fmt.Errorf("%q came back for %q", got, sent)
				}
			}
			if err != nil {
				c.fail("WebSocket %s, message %d: %v", url, i, err)
				return
			}
			<-pause.C
		}
	})
}

// reloading returns routes and backends for reload i.
func reloading(i int, a, b string) string {
	one, two := fmt.Sprintf("{ address = %q }", a), fmt.Sprintf("{ address = %q, weight = %d }", b, 1+i%3)
	backends := [...]string{one, one + ", " + two, two, two + ", " + one}
	text := fmt.Sprintf("[upstreams.u]\nbackends = [%s]\npool.idle = %d\n", backends[i%4], 64+i%3)
	if i%5 == 4 {
		text += "health_check = { path = \"/\", interval = \"1s\" }\n"
	}
	for j := range i % 7 {
		text += fmt.Sprintf("[[routes]]\npattern = \"/other/%d\"\ndest = \"status:410\"\n", j)
	}
	text += fmt.Sprintf("[[routes]]\npattern = \"/*\"\ndest = \"u\"\ntimeouts.read = \"%ds\"\n", 30+i%3)
	return text
}

// Reloads with other routes, backends and options, while clients of all kinds ask and WebSockets are open: nobody
// notices, and the process has what it had before.
func TestReload_underLoad(t *testing.T) {
	reloads := 10
	if soak() {
		reloads = 200
	}
	a, b := steady(t), steady(t)
	e := startEdge(t, "%s", reloading(0, a, b))
	c := newCrowd(t)
	c.ask(24, "http://"+e.plain+"/", func() *http.Client { return &http.Client{Transport: &http.Transport{}} })
	c.ask(12, "http://"+e.h2c+"/", func() *http.Client { return testutil.H2C(t) })
	c.ask(12, "https://"+e.secure+"/", e.over("http/1.1"))
	c.ask(16, "https://"+e.secure+"/", e.over("h2"))
	for range 4 {
		c.chat(t, "ws://"+e.plain+"/ws", e.over("http/1.1")())
		c.chat(t, "wss://"+e.secure+"/ws", e.over("http/1.1")())
	}
	beforeFDs, beforeRSS := 0, 0
	for i := 1; i <= reloads && c.failed.Load() == 0; i++ {
		served := c.served.Load()
		text := e.listeners + reloading(i, a, b)
		testutil.Must(t, os.WriteFile(e.file, []byte(text), 0o600))
		e.Signal(syscall.SIGHUP)
		testutil.Eventually(t, testutil.Minutes, func() bool {
			return strings.Count(e.Output(), `"msg":"configuration reloaded"`) >= i && c.served.Load() > served+100 ||
				c.failed.Load() > 0
		})
		if i == reloads/4 {
			beforeFDs, beforeRSS = e.resources(t)
		}
	}
	fds, rss := e.resources(t)
	c.leave(t)
	if soak() && (fds > beforeFDs+32 || rss > beforeRSS+16<<20) { // idle connections to backends come and go
		t.Errorf("%d descriptors and %d MiB, after a quarter of the reloads %d and %d", fds, rss>>20, beforeFDs,
			beforeRSS>>20)
	}
	t.Logf("%d requests over %d reloads; %d descriptors, %d MiB", c.served.Load(), reloads, fds, rss>>20)
}

// resources returns how many descriptors the process has open, and its resident bytes.
func (e *edge) resources(t *testing.T) (fds, rss int) {
	t.Helper()
	list, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", e.PID()))
	testutil.Must(t, err)
	text := testutil.ReadFile(t, fmt.Sprintf("/proc/%d/statm", e.PID()))
	if _, err := fmt.Sscan(string(text), new(int), &rss); err != nil {
		t.Fatal(err)
	}
	return len(list), rss * os.Getpagesize()
}
