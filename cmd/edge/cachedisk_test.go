package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/server/admin"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// onDisk is an edge that keeps answers on disk. Each answer of its origin has a number, and as many bytes as its path
// says.
type onDisk struct {
	*running
	t      *testing.T
	dir    string
	origin string
	more   string // of the configuration
	cache  string // and of [cache]
}

func newOnDisk(t *testing.T) *onDisk {
	t.Helper()
	var asked atomic.Int64
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		n, _ := strconv.Atoi(strings.Trim(r.URL.Path, "/"))
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Cache-Tag", "n"+strconv.Itoa(n))
		text := fmt.Sprintln(asked.Add(1))
		w.Header().Set("Content-Length", strconv.Itoa(len(text)+n))
		_, _ = io.WriteString(w, text)
		_, _ = w.Write(bytes.Repeat([]byte("x"), n))
	}))
	t.Cleanup(o.Close)
	return &onDisk{t: t, dir: t.TempDir(), origin: o.Listener.Addr().String()}
}

const onDiskFile = `
pid_file = "DIR/pid"
upgrade_sock = "DIR/up.sock"
threads = 2
%s
[admin]
listen = "unix:DIR/admin.sock"
[http]
listen = "127.0.0.1:0"
[cache]
disk = { path = "DIR", size = "64m" }
%s
purge.allow = ["127.0.0.1"]
[[routes]]
pattern = "/*"
dest = "%s"
cache = true
`

func (d *onDisk) text() string {
	text := fmt.Sprintf(onDiskFile, d.more, d.cache, d.origin)
	if d.cache == noDisk {
		text = strings.Replace(text, "disk =", "# disk =", 1)
	}
	return strings.ReplaceAll(text, "DIR", d.dir)
}

// noDisk is for a cache in memory alone.
const noDisk = `memory = "128m"`

func (d *onDisk) start() {
	d.t.Helper()
	d.running = start(d.t, "%s", d.text())
	d.WaitLine(`"section":"admin"`)
}

// get returns the number of the answer with a body of n bytes, and whether it was stored.
func (d *onDisk) get(n int) (number int64, hit bool) {
	d.t.Helper()
	number, hit, err := d.ask("GET", n)
	testutil.Must(d.t, err)
	return number, hit
}

// ask sends a request. All n bytes of the answer to GET have to be right, if there is one.
func (d *onDisk) ask(method string, n int) (number int64, hit bool, err error) {
	req, err := http.NewRequest(method, fmt.Sprintf("http://%s/%d", d.addr, n), nil)
	if err != nil {
		return 0, false, err
	}
	req.Host = "a.test" // the port is another one after a restart
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, false, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return 0, false, fmt.Errorf("status %d, %w", resp.StatusCode, err)
	}
	first, rest, _ := strings.Cut(string(body), "\n")
	if method == "GET" && rest != strings.Repeat("x", n) {
		d.t.Errorf("%d bytes for %d", len(rest), n)
	}
	number, _ = strconv.ParseInt(first, 10, 64)
	return number, strings.Contains(resp.Header.Get("Cache-Status"), "hit"), nil
}

// wait waits until n answers are on disk or, where there is none, in memory.
func (d *onDisk) wait(n int) {
	d.t.Helper()
	testutil.Eventually(d.t, testutil.Patience, func() bool {
		var s admin.CacheStats
		code := askAdmin(d.t, filepath.Join(d.dir, "admin.sock"), "GET", "/v1/cache", "", &s)
		if code == 200 && d.cache == noDisk {
			return s.Objects >= n
		}
		return code == 200 && s.Disk != nil && s.Disk.Objects >= n
	}, "not on disk")
}

// kill ends the process as a crash does.
func (d *onDisk) kill() {
	d.Signal(syscall.SIGKILL)
	d.Wait(testutil.Patience)
}

// smallMemory is for bodies of half a MiB at most: larger ones are written to disk while they come.
const smallMemory = `memory = "16m"`

// upgrade has another process take over.
func (d *onDisk) upgrade() {
	d.t.Helper()
	if code, out := in(d.t, d.dir, "upgrade", "-c", d.file); code != 0 {
		d.t.Fatal(out)
	}
	d.t.Cleanup(func() { // the process before may have been the last to be named in the file
		testutil.Eventually(d.t, testutil.Patience, func() bool {
			pid, _ := os.ReadFile(filepath.Join(d.dir, "pid"))
			if n, err := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil {
				_ = syscall.Kill(n, syscall.SIGKILL)
			}
			c, err := net.Dial("unix", filepath.Join(d.dir, "admin.sock"))
			if err == nil {
				c.Close()
			}
			return err != nil
		}, "the process that has taken over ends")
	})
}

// diskSizes are a body in a record, a body in a file, and a body that is sent in several turns.
var diskSizes = []int{10, 50_000, 3_000_000}

// Answers are there after a crash; what was purged is not.
func TestCacheDisk_restart(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct{ more, cache string }{{}, {cache: smallMemory}, {`lockdown = true`, smallMemory}} {
		t.Run(mode.more+mode.cache, func(t *testing.T) {
			d := newOnDisk(t)
			d.more, d.cache = mode.more, mode.cache
			d.start()
			before := make([]int64, len(diskSizes))
			for i, n := range diskSizes {
				before[i], _ = d.get(n)
			}
			d.wait(len(diskSizes))
			d.kill()
			d.start()
			d.wait(len(diskSizes))
			for range 2 {
				for i, n := range diskSizes {
					if got, hit := d.get(n); got != before[i] || !hit {
						t.Errorf("%d bytes: answer %d after %d, hit %v", n, got, before[i], hit)
					}
				}
			}
			d.commands(t, command{"cache stats", 0, "DISK objects|DISK errors"})
			d.commands(t, command{"cache purge --tag n50000", 0, ""})
			d.kill()
			d.start()
			d.wait(len(diskSizes) - 1)
			for i, n := range diskSizes {
				if got, _ := d.get(n); (got == before[i]) != (n != 50_000) {
					t.Errorf("%d bytes: answer %d after %d", n, got, before[i])
				}
			}
		})
	}
}

// A process that takes over has all that was stored: in memory, on disk, or in both. What requests end that the process
// before still answers is ended in both.
func TestCacheDisk_upgrade(t *testing.T) {
	t.Parallel()
	for _, mode := range []struct{ more, cache string }{{}, {`lockdown = true`, smallMemory}, {cache: noDisk},
		{`lockdown = true`, noDisk}} {
		t.Run(mode.more+mode.cache, func(t *testing.T) { upgradeWith(t, mode.more, mode.cache) })
	}
}

func upgradeWith(t *testing.T, more, cache string) {
	d := newOnDisk(t)
	d.more, d.cache = more, cache
	d.start()
	sizes := append([]int{1000}, diskSizes...)
	numbers := make([]int64, len(sizes))
	for i, n := range sizes {
		numbers[i], _ = d.get(n)
	}
	before := numbers[0]
	d.wait(len(sizes))
	c := dial(t, "tcp", d.addr)
	defer c.Close()
	fmt.Fprint(c, "POST /1000 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n")
	d.upgrade()
	d.wait(len(sizes))
	for i, n := range sizes {
		if got, hit := d.get(n); got != numbers[i] || !hit {
			t.Errorf("%d bytes: answer %d after %d, hit %v", n, got, numbers[i], hit)
		}
	}
	fmt.Fprint(c, "x")
	if status, err := io.ReadAll(io.LimitReader(c, 12)); string(status) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", status, err)
	}
	if got, _ := d.get(1000); got == before {
		t.Error("the new process gives an answer that the one before has ended")
	}
}

// A process that is replaced while a body comes that it writes to disk gives all of it to its client. The next one
// stores its own.
func TestCacheDisk_upgradeInABody(t *testing.T) {
	t.Parallel()
	const size = 3_000_000
	next := make(chan bool)
	o := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "max-age=600")
		w.Header().Set("Content-Length", strconv.Itoa(size))
		_, _ = w.Write(bytes.Repeat([]byte("x"), size/2))
		_ = http.NewResponseController(w).Flush()
		<-next
		_, _ = w.Write(bytes.Repeat([]byte("x"), size/2))
	}))
	testutil.CloseServer(t, o)
	d := &onDisk{t: t, dir: t.TempDir(), origin: o.Listener.Addr().String(), cache: smallMemory}
	d.start()
	ask := func() (resp *http.Response) {
		resp, err := http.Get("http://" + d.addr + "/a")
		testutil.Must(t, err)
		if _, err := io.ReadFull(resp.Body, make([]byte, size/4)); err != nil {
			t.Fatal(err)
		}
		return resp
	}
	first := ask()
	d.upgrade()
	d.wait(0)
	second := ask()
	for _, resp := range []*http.Response{first, second} {
		next <- true
		if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size-size/4 {
			t.Errorf("%d bytes, %v", n, err)
		}
		_ = resp.Body.Close()
	}
	d.wait(1)
	resp, err := http.Get("http://" + d.addr + "/a")
	testutil.Must(t, err)
	defer resp.Body.Close()
	if n, err := io.Copy(io.Discard, resp.Body); err != nil || n != size ||
		!strings.Contains(resp.Header.Get("Cache-Status"), "hit") {
		t.Errorf("%d bytes, %v, %v", n, err, resp.Header)
	}
}

// Mistakes have their place.
func TestCacheDisk_mistakes(t *testing.T) {
	t.Parallel()
	d := newOnDisk(t)
	d.start()
	said := func(text string) string {
		file := write(t, "%s", text)
		_, out := in(t, d.dir, "run", "-c", file)
		return out
	}
	own := strings.NewReplacer("admin.sock", "admin2.sock", "up.sock", "up2.sock", "/pid", "/pid2").Replace(d.text())
	at := `path = "` + d.dir
	for text, want := range map[string]string{
		own: fmt.Sprintf(":11:17: error: another process (%d) has the cache in %s", d.PID(), d.dir),
		strings.Replace(own, at, `path = "/none`, 1):                                 "the disk of the cache: stat",
		strings.NewReplacer(at, `path = "`+t.TempDir(), "64m", "1000t").Replace(own): "write a size of [cache] of ",
	} {
		if got := said(text); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got, _ := d.get(10); got == 0 {
		t.Error("the first process does not serve any more")
	}
}

// While clients ask and purge, the process is killed again and again. Each byte is right, what was purged does not come
// back, and what was written is served. EDGE_SOAK=1 kills it 1,000 times.
func TestCacheDisk_kills(t *testing.T) {
	t.Parallel()
	kills, hits := 4, 0
	if os.Getenv("EDGE_SOAK") != "" {
		kills = 1000
	}
	d := newOnDisk(t)
	d.cache = smallMemory
	var seen, ended [25]atomic.Int64 // of each thing: the last answer, and the last one before a purge
	for range kills {
		d.start()
		stop := d.begin(func() {
			of := rand.IntN(len(seen))
			before := seen[of].Load()
			if rand.IntN(20) > 0 {
				if number, _, err := d.ask("GET", sizeOf(of)); err == nil {
					raise(&seen[of], number)
				}
			} else if _, _, err := d.ask("PURGE", sizeOf(of)); err == nil {
				raise(&ended[of], before)
			}
		})
		d.wait(12)
		d.kill()
		stop()
		d.start()
		for of := range seen {
			number, hit, err := d.ask("GET", sizeOf(of))
			if err != nil || number <= ended[of].Load() {
				t.Errorf("answer %d came back, %d was purged: %v", number, ended[of].Load(), err)
			}
			if hit {
				hits++
			}
		}
		d.kill()
	}
	if hits < 2*kills {
		t.Errorf("%d hits after %d kills", hits, kills)
	}
}

// While clients ask, change and purge, process after process takes over. No request is lost, and what one of them ends,
// whichever process answers it, no other one gives. EDGE_SOAK=1 has 200 of them.
func TestCacheDisk_upgrades(t *testing.T) {
	t.Parallel()
	for _, cache := range []string{noDisk, smallMemory} {
		t.Run(cache, func(t *testing.T) { upgradeUnderLoad(t, cache) })
	}
}

func upgradeUnderLoad(t *testing.T, cache string) {
	upgrades := 3
	if os.Getenv("EDGE_SOAK") != "" {
		upgrades = 100
	}
	d := newOnDisk(t)
	d.cache = cache
	d.start()
	var hits atomic.Int64
	var seen, ended [25]atomic.Int64 // of each thing: the last answer, and the last answer that was ended
	stop := d.begin(func() {
		of := rand.IntN(len(seen))
		method, before, floor := "GET", seen[of].Load(), ended[of].Load()
		switch rand.IntN(20) {
		case 0:
			method = "PURGE"
		case 1:
			method = "POST"
		}
		number, hit, err := d.ask(method, sizeOf(of))
		switch {
		case method == "PURGE" && err != nil && strings.Contains(err.Error(), "503"): // while the two change
		case err != nil:
			t.Error(err)
		case method == "PURGE":
			raise(&ended[of], before)
		case method == "POST":
			raise(&ended[of], number)
		case number <= floor:
			t.Errorf("answer %d, hit %v, after answer %d was ended", number, hit, floor)
		default:
			if raise(&seen[of], number); hit {
				hits.Add(1)
			}
		}
	})
	for range upgrades {
		before := hits.Load()
		testutil.Eventually(t, testutil.Patience, func() bool { return hits.Load() > before+20 }, "no hits")
		d.upgrade()
	}
	stop()
}

// begin has six clients call ask, again and again, until stop, which waits for them.
func (d *onDisk) begin(ask func()) (stop func()) {
	l := newLoad(d.t)
	l.each(6, 0, func() error {
		ask()
		return nil
	})
	return l.stop
}

func raise(v *atomic.Int64, n int64) {
	for old := v.Load(); old < n && !v.CompareAndSwap(old, n); old = v.Load() {
	}
}

// sizeOf is the size of a thing.
func sizeOf(i int) int { return []int{100, 9_000, 60_000, 400_000, 2_000_000}[i%5] + i }
