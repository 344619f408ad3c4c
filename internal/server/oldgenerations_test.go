package server

import (
	"crypto/tls"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// Reloads with other routes, backends, checks, certificates and addresses leave nothing: generations are garbage, and
// heap, goroutines and descriptors are where they were.
func TestApply_generationsAreGarbage(t *testing.T) {
	reloads := testutil.RaceRounds(200)
	warm := reloads / 5
	dir, ca := t.TempDir(), testutil.NewAuthority(t)
	for i := range 3 {
		ca.IssueTo(t, dir, fmt.Sprint(i), nil, fmt.Sprintf("%d.test", i))
	}
	a, _ := origin(t, "a")
	b, _ := origin(t, "b")
	file := func(i int) string {
		pair := filepath.Join(dir, fmt.Sprint(i%3))
		text := fmt.Sprintf("global.worker_threads = 2\n%s[https]\nname = \"web\"\nlisten = \"127.0.0.1:0\"\n"+
			"cert = %q\nkey = %q\n", quiet, pair+".pem", pair+".key")
		if i%4 == 1 {
			text += fmt.Sprintf("[[listeners]]\nname = \"goes\"\nlisten = \"unix:%s/goes\"\n", dir)
		}
		for j := range 1 + i%5 {
			text += fmt.Sprintf("[[routes]]\nname = \"r%d\"\npattern = \"/%[1]d/*\"\ndest = \"u%[1]d\"\n"+
				"timeouts.read = \"%ds\"\n", j, 10+i%7)
			text += fmt.Sprintf("[upstreams.u%d]\nbackends = [{ address = %q }, { address = %q, weight = %d }]\n",
				j, a, b, 1+i%3)
			text += fmt.Sprintf("pool.idle = %d\noutlier.errors = %d\nsticky.cookie = \"c%d\"\n", 10+i%2, 5+i%3, j)
			text += "health_check = { path = \"/\", interval = \"1s\" }\n"
		}
		return text
	}
	s := serve(t, parse(t, file(0)), Options{})
	c := &http.Client{Transport: &http.Transport{DisableKeepAlives: true,
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}}
	var freed atomic.Int64
	fds, goroutines, heap := 0, 0, uint64(0)
	for i := range reloads {
		s.mu.Lock()
		runtime.AddCleanup(s.present, func(int) { freed.Add(1) }, i)
		s.mu.Unlock()
		mustApply(t, s, parse(t, file(i+1)))
		if status, _ := getBy(t, c, strings.Replace(urlOf(t, s, "web"), "http:", "https:", 1)+"/0/"); status != 200 {
			t.Fatalf("status %d after reload %d", status, i)
		}
		if i == warm {
			fds, goroutines, heap = rest(t, s)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		return freed.Load() >= int64(reloads)-1 // the last one may be what a request or a look has in hand
	})
	nowFDs, nowGoroutines, nowHeap := rest(t, s)
	if nowFDs > fds+4 || nowGoroutines > goroutines+4 || nowHeap > heap+1<<20 {
		t.Errorf("descriptors %d, goroutines %d, heap %d KiB; after %d reloads they were %d, %d, %d",
			nowFDs, nowGoroutines, nowHeap>>10, warm, fds, goroutines, heap>>10)
	}
	if _, err := os.Stat(filepath.Join(dir, "goes")); err == nil {
		t.Error("the file of a socket is left")
	}
}

// rest returns how many descriptors, goroutines and bytes of heap there are, once what closes has closed.
func rest(t *testing.T, s *Server) (fds, goroutines int, heap uint64) {
	t.Helper()
	testutil.Eventually(t, testutil.Patience, s.allClosed)
	for range 3 {
		s.Registry() // it forgets what has closed, once that has counted for the last time
	}
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return testutil.FDs(t), runtime.NumGoroutine(), m.HeapAlloc
}

// heapBytes returns what is reachable.
func heapBytes() int64 {
	var m runtime.MemStats
	for range 3 { // objects with finalizers go after the second one
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A service and an upstream that a reload takes away and another brings back leave nothing once the counters were read.
func TestReload_removedPartsLeaveNothing(t *testing.T) {
	testutil.OnlyPlain(t)
	plain := quiet + "[http]\nlisten = \"127.0.0.1:0\"\n[[routes]]\npattern = \"/*\"\ndest = \"status:204\"\n"
	more := plain + `
[services.db]
type = "tcp"
listen = "127.0.0.1:0"
dest = "db"
[upstreams.db]
backends = [{ address = "127.0.0.1:1" }]
health_check = { path = "/", interval = "1h" }
[[routes]]
pattern = "/db/*"
dest = "db"
`
	s := start(t, Options{}, "%s", plain)
	reload := func(times int) {
		for range times {
			apply(t, s, "%s", more)
			apply(t, s, "%s", plain)
		}
	}
	left := func() int64 {
		s.Registry() // what was not in use before such a round, and had no connections in it, is over
		return heapBytes()
	}
	const times, most = 200, 2 << 10
	reload(20)
	before := left()
	reload(times)
	testutil.Eventually(t, testutil.Patience, func() bool { // what the last ones have replaced ends on other goroutines
		return (left()-before)/times <= most
	}, "each reload leaves at most %d bytes", most)
}
