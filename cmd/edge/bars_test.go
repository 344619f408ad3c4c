package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/edge-proxy/edge/admin"
)

// soakOnly skips a test that takes longer than make test has time for.
func soakOnly(t *testing.T) {
	t.Helper()
	if os.Getenv("EDGE_SOAK") == "" {
		t.Skip("EDGE_SOAK is not set")
	}
}

// administered runs edge with the admin surface at a Unix socket.
func administered(t *testing.T, format string, args ...any) (r *running, socket string) {
	t.Helper()
	socket = filepath.Join(t.TempDir(), "admin.sock")
	r = start(t, "[admin]\nlisten = %q\n%s", "unix:"+socket, fmt.Sprintf(format, args...))
	return r, socket
}

// seriesOf returns how many series the page of metrics has.
func seriesOf(t *testing.T, socket string) (n int) {
	t.Helper()
	resp, err := overSocket(socket).Get("http://edge/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), "#") {
			n++
		}
	}
	return n
}

// A million made-up hosts and paths add no series, and no memory to speak of beside as many requests for one host.
func TestMetrics_madeUpNames(t *testing.T) {
	soakOnly(t)
	series, kib := afterAMillion(t, func(int) int { return 1 })
	seriesMadeUp, kibMadeUp := afterAMillion(t, func(i int) int { return i })
	t.Logf("%d series, %d KiB; of made-up names %d series, %d KiB", series, kib, seriesMadeUp, kibMadeUp)
	if seriesMadeUp > series || kibMadeUp > kib+2048 {
		t.Error("made-up names cost more than others")
	}
}

// afterAMillion returns how many series there are and the resident memory in KiB after a million requests, the i-th one
// for the host and the path with the number that name returns. Series that come later than the first are an error.
func afterAMillion(t *testing.T, name func(i int) int) (series, kib int) {
	t.Helper()
	r, socket := administered(t, `
[http]
listen = "127.0.0.1:0"
[metrics]
hosts = 200
[log]
output = []
[[routes]]
pattern = "*.example.com/*"
dest = "status:204"
`)
	defer r.Stop()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	in := bufio.NewReaderSize(c, 1<<16)
	asked := 0
	ask := func(n int) {
		const atOnce = 64
		for range n / atOnce {
			var out bytes.Buffer
			for range atOnce {
				asked++
				fmt.Fprintf(&out, "GET /p%d HTTP/1.1\r\nHost: h%d.example.com\r\n\r\n", name(asked), name(asked))
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
	}
	for range 4 { // a host gets a series after two looks
		ask(10_000)
		series = seriesOf(t, socket)
		<-time.After(250 * time.Millisecond) // all that ask within 200 ms get one page
	}
	for asked < 1_000_000 {
		ask(100_000)
		if n := seriesOf(t, socket); n != series {
			t.Errorf("%d series after %d requests, %d before", n, asked, series)
		}
	}
	return series, resident(t, r.PID())
}

// manyRoutes is a configuration with 10 000 routes and 1 000 upstreams. version differs in one of each.
func manyRoutes(version int) string {
	var b strings.Builder
	b.WriteString("[http]\nlisten = \"127.0.0.1:0\"\n[log]\noutput = []\n")
	b.WriteString("[[routes]]\nname = \"ok\"\npattern = \"/ok\"\ndest = \"status:204\"\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "[upstreams.u%d]\nbackends = [{ address = \"127.0.0.1:%d\" }]\n", i, 20000+i+first(i, version))
	}
	for i := range 10_000 {
		fmt.Fprintf(&b, "[[routes]]\nname = \"r%d\"\npattern = \"h%d.example.com/p%d/*\"\ndest = \"u%d\"\n",
			i, i%500, i+first(i, version), i%1000)
	}
	return b.String()
}

// first returns 20 000 and version for the first of many, 0 for others.
func first(i, version int) int {
	if i == 0 {
		return 20_000 + version
	}
	return 0
}

// A reload of a large configuration takes little time, and clients do not notice it.
func TestReload_clientsOfALargeOne(t *testing.T) {
	soakOnly(t)
	r, socket := administered(t, "%s", manyRoutes(0))
	end, ended := make(chan bool), make(chan times)
	go func() {
		var all times
		defer func() { ended <- all }()
		c, err := net.Dial("tcp", r.addr)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		in := bufio.NewReader(c)
		for {
			select {
			case <-end:
				return
			case <-time.After(200 * time.Microsecond):
			}
			begun := time.Now()
			_, _ = io.WriteString(c, "GET /ok HTTP/1.1\r\nHost: a\r\n\r\n")
			resp, err := http.ReadResponse(in, nil)
			if err != nil || resp.StatusCode != 204 {
				t.Error(resp, err)
				return
			}
			all = append(all, time.Since(begun))
		}
	}()
	var longest time.Duration
	for i := range 10 {
		putFile(t, r.file, "[admin]\nlisten = %q\n%s", "unix:"+socket, manyRoutes(i+1))
		begun := time.Now()
		if status := askAdmin(t, socket, "POST", "/v1/reload", "", new(admin.Reloaded)); status != 200 {
			t.Fatalf("reload: %d", status)
		}
		longest = max(longest, time.Since(begun))
	}
	close(end)
	all := <-ended
	slices.Sort(all)
	t.Logf("the longest reload took %v; %v", longest, all)
}
