package main

import (
	"bytes"
	"fmt"
	"io"
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

	"github.com/edge-proxy/edge/admin"
	"github.com/edge-proxy/edge/internal/testutil"
)

// onDisk is an edge that keeps answers on disk. Each answer of its origin has a number, and as many bytes as its path
// says.
type onDisk struct {
	*running
	t      *testing.T
	dir    string
	origin string
	more   string // of the configuration
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
[[routes]]
pattern = "/*"
dest = "%s"
cache = true
`

func (d *onDisk) text() string {
	return strings.ReplaceAll(fmt.Sprintf(onDiskFile, d.more, d.origin), "DIR", d.dir)
}

func (d *onDisk) start() {
	d.t.Helper()
	d.running = start(d.t, "%s", d.text())
	d.WaitLine(`"section":"admin"`)
}

// get returns the number of the answer with a body of n bytes, all of which have to be right, and whether it was
// stored.
func (d *onDisk) get(n int) (number string, hit bool) {
	d.t.Helper()
	req, err := http.NewRequest("GET", fmt.Sprintf("http://%s/%d", d.addr, n), nil)
	if err != nil {
		d.t.Fatal(err)
	}
	req.Host = "a.test" // the port is another one after a restart
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		d.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	number, rest, _ := strings.Cut(string(body), "\n")
	if err != nil || rest != strings.Repeat("x", n) {
		d.t.Fatalf("%d bytes for %d: %v", len(rest), n, err)
	}
	return number, strings.Contains(resp.Header.Get("Cache-Status"), "hit")
}

// wait waits until n answers are on disk.
func (d *onDisk) wait(n int) {
	d.t.Helper()
	testutil.Eventually(d.t, testutil.Patience, func() bool {
		var s admin.CacheStats
		code := askAdmin(d.t, filepath.Join(d.dir, "admin.sock"), "GET", "/v1/cache", "", &s)
		return code == 200 && s.Disk != nil && s.Disk.Objects >= n
	}, "not on disk")
}

// kill ends the process as a crash does.
func (d *onDisk) kill() {
	d.Signal(syscall.SIGKILL)
	d.Wait(testutil.Patience)
}

// diskSizes are sizes of a record, of a body in a file, and of one that is sent in several turns.
var diskSizes = []int{10, 50_000, 3_000_000}

// Answers are there after a crash; what was purged is not.
func TestCacheDisk_restart(t *testing.T) {
	for _, mode := range []string{"", `lockdown = true`} {
		t.Run(mode, func(t *testing.T) {
			d := newOnDisk(t)
			d.more = mode
			d.start()
			before := make([]string, len(diskSizes))
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
						t.Errorf("%d bytes: answer %s after %s, hit %v", n, got, before[i], hit)
					}
				}
			}
			_, out := in(t, d.dir, "cache", "stats", "-c", d.file)
			if !strings.Contains(out, "DISK objects") || !strings.Contains(out, "DISK errors") {
				t.Error(out)
			}
			if code, out := in(t, d.dir, "cache", "purge", "-c", d.file, "--tag", "n50000"); code != 0 {
				t.Fatal(out)
			}
			d.kill()
			d.start()
			d.wait(len(diskSizes) - 1)
			for i, n := range diskSizes {
				if got, _ := d.get(n); (got == before[i]) != (n != 50_000) {
					t.Errorf("%d bytes: answer %s after %s", n, got, before[i])
				}
			}
		})
	}
}

// A process that takes over has the disk. What requests end that the process before still answers is ended in both.
func TestCacheDisk_upgrade(t *testing.T) {
	d := newOnDisk(t)
	d.start()
	before, _ := d.get(1000)
	d.wait(1)
	c, err := net.Dial("tcp", d.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	fmt.Fprint(c, "POST /1000 HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\n")
	if code, out := in(t, d.dir, "upgrade", "-c", d.file); code != 0 {
		t.Fatal(out)
	}
	t.Cleanup(func() {
		pid, _ := os.ReadFile(filepath.Join(d.dir, "pid"))
		if n, err := strconv.Atoi(strings.TrimSpace(string(pid))); err == nil {
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
	})
	testutil.Eventually(t, testutil.Patience, func() bool {
		var s admin.CacheStats
		return askAdmin(t, filepath.Join(d.dir, "admin.sock"), "GET", "/v1/cache", "", &s) == 200 && s.Disk != nil &&
			s.Disk.Objects > 0
	}, "the new process has not taken the disk")
	if got, hit := d.get(1000); got != before || !hit {
		t.Errorf("answer %s after %s, hit %v", got, before, hit)
	}
	fmt.Fprint(c, "x")
	if status, err := io.ReadAll(io.LimitReader(c, 12)); string(status) != "HTTP/1.1 200" {
		t.Fatalf("%q, %v", status, err)
	}
	if got, _ := d.get(1000); got == before {
		t.Error("the new process gives an answer that the one before has ended")
	}
}

// Mistakes have their place.
func TestCacheDisk_mistakes(t *testing.T) {
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
		strings.Replace(own, at, `path = "/none`, 1):                                 ":11:17: error: open /none",
		strings.NewReplacer(at, `path = "`+t.TempDir(), "64m", "1000t").Replace(own): "write a size of [cache] of ",
	} {
		if got := said(text); !strings.Contains(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	}
	if got, _ := d.get(10); got == "" {
		t.Error("the first process does not serve any more")
	}
}
