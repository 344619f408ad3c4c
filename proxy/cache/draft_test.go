package cache_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy/cache"
)

// draftRig is a proxy that keeps bodies above 512 KiB on disk alone, up to 4 MiB. A path says how long the body is.
// With next, the origin waits for that before the second half, and ends the answer early where it is false.
func draftRig(t *testing.T, route cache.Route, next chan bool) *rig {
	g := &rig{disk: true, bodies: 8 << 20}
	g.draft(t, route, next)
	return g
}

func (g *rig) draft(t *testing.T, route cache.Route, next chan bool) {
	g.serve(t, route, func(w http.ResponseWriter, r *http.Request) {
		size, _ := strconv.Atoi(r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:])
		w.Header().Set("Cache-Control", "max-age=60")
		w.Header().Set("ETag", `"a"`)
		if r.URL.Query().Get("framing") == "" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		body := largeBody(r.URL.Path, size)
		_, _ = io.WriteString(w, body[:size/2])
		if next != nil {
			_ = http.NewResponseController(w).Flush()
			if !<-next {
				panic(http.ErrAbortHandler)
			}
		}
		_, _ = io.WriteString(w, body[size/2:])
	})
}

// begin asks for path, and returns an answer of which the client has read the first MiB.
func (g *rig) begin(t *testing.T, path string) *http.Response {
	resp, err := http.Get(g.url + path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = resp.Body.Close() })
	if _, err := io.ReadFull(resp.Body, make([]byte, 1<<20)); err != nil {
		t.Fatal(err)
	}
	return resp
}

// Bodies that are larger than memory takes are stored as others are.
func TestDraft(t *testing.T) {
	g := draftRig(t, cache.Route{}, nil)
	sizes := []int{512<<10 + 1, 1 << 20, 3<<20 + 12_345, 4 << 20}
	for i, size := range sizes {
		path := fmt.Sprint("/", size)
		want := largeBody(path, size)
		g.get(t, path).want(t, 200, want, "fwd=uri-miss; fwd-status=200; stored")
		for range 2 {
			g.get(t, path).want(t, 200, want, "hit")
			g.do("GET", path, "Range", "bytes=500000-500999").want(t, 206, want[500_000:501_000], "hit")
			g.do("HEAD", path).want(t, 200, "", "hit")
			g.do("GET", path, "If-None-Match", `"a"`).want(t, 304, "", "hit")
			testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Disk.Objects == i+1 },
				"%s is on disk", path)
			cache.DropMemory(g.zone)
		}
	}
	if n := g.asked.Load(); n != int64(len(sizes)) {
		t.Errorf("the origin was asked %d times", n)
	}
	s := g.zone.Stats()
	if s.Disk.Errors+s.Disk.Dropped > 0 || s.BodyBytes > 1<<20 {
		t.Errorf("%d bytes of memory for bodies; %+v", s.BodyBytes, s.Disk)
	}
	for _, path := range []string{fmt.Sprint("/", 4<<20+1), fmt.Sprint("/", 1<<20, "?framing=chunked")} {
		a := g.get(t, path)
		if size := len(a.body); a.body != largeBody(path[:1]+strconv.Itoa(size), size) || a.status != 200 {
			t.Errorf("%s: %d, %d bytes", path, a.status, len(a.body))
		}
	}
	if n := g.zone.Stats().Disk.Objects; n != len(sizes) {
		t.Errorf("%d objects on disk", n)
	}
}

// All who ask while such a body comes are given what is there, each at its pace, and the origin is asked once.
func TestDraft_isFollowed(t *testing.T) {
	const size = 3 << 20
	next := make(chan bool)
	g := draftRig(t, cache.Route{RangeFill: size}, next)
	path := fmt.Sprint("/", size)
	want := largeBody(path, size)
	slow := func(c net.Conn, r *bufio.Reader) error { // each part of it is there when the next one is asked for
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return err
		}
		for at := 0; at < size; {
			p := make([]byte, min(100_000, size-at))
			if _, err := io.ReadFull(resp.Body, p); err != nil || string(p) != want[at:at+len(p)] {
				return fmt.Errorf("at %d: %w", at, err)
			}
			at += len(p)
		}
		return c.Close()
	}
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			switch {
			case i%4 == 0:
				c, err := net.Dial("tcp", strings.TrimPrefix(g.url, "http://"))
				if err == nil {
					_ = c.SetDeadline(time.Now().Add(testutil.Patience))
					_ = c.(*net.TCPConn).SetReadBuffer(64 << 10)
					fmt.Fprintf(c, "GET %s HTTP/1.1\r\nHost: %s\r\n\r\n", path, strings.TrimPrefix(g.url, "http://"))
					err = slow(c, bufio.NewReader(c))
				}
				if err != nil {
					t.Error(err)
				}
			case i%4 == 1:
				a := g.do("GET", path, "Range", "bytes=2000000-2999999")
				if a.status != 206 || a.body != want[2_000_000:3_000_000] {
					t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
				}
			default:
				if a := g.do("GET", path); a.body != want {
					t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
				}
			}
		})
	}
	g.wantFollowers(t, 11)
	next <- true
	wg.Wait()
	g.get(t, path).want(t, 200, want, "hit")
	if n := g.asked.Load(); n != 1 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// What does not come to its end is stored nowhere, and its followers are told; and so it is with what was purged.
func TestDraft_thatIsNotStored(t *testing.T) {
	const size = 3 << 20
	path := fmt.Sprint("/", size)
	want := largeBody(path, size)
	for _, why := range []string{"cut off", "purged", "left"} {
		t.Run(why, func(t *testing.T) {
			next := make(chan bool)
			g := draftRig(t, cache.Route{Abandon: true}, next)
			resp := g.begin(t, path)
			switch why {
			case "left":
				_ = resp.Body.Close()
				testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Failed == 1 },
					"the fill is over")
				next <- false
			case "purged":
				if _, err := g.zone.Purge(&cache.Purge{Kind: cache.PurgeURL, Name: g.url + path}); err != nil {
					t.Fatal(err)
				}
				next <- true
			default:
				next <- false
			}
			rest, err := io.ReadAll(resp.Body)
			if (err == nil) != (why == "purged") || err == nil && string(rest) != want[1<<20:] {
				t.Errorf("%d bytes, %v", len(rest), err)
			}
			over := func() bool { return cache.FillingBytes(g.zone) == 0 }
			testutil.Eventually(t, testutil.Patience, over, "it is over")
			cache.DropMemory(g.zone)
			go func() { next <- true }()
			g.get(t, path).want(t, 200, want, "fwd=uri-miss; fwd-status=200; stored")
			if s := g.zone.Stats(); s.Disk.Errors > 0 {
				t.Errorf("%+v", s.Disk)
			}
		})
	}
}

// A disk that cannot make room for a body has the answer passed on, whether that is known at its head or after it.
func TestDraft_withoutRoom(t *testing.T) {
	g := draftRig(t, cache.Route{}, nil)
	path := fmt.Sprint("/", 3<<20)
	want := largeBody(path, 3<<20)
	if err := os.RemoveAll(cache.DiskPath(g.zone)); err != nil {
		t.Fatal(err)
	}
	for i := range 3 { // the head of the first one says that it is stored: nobody knew better
		a := g.do("GET", path)
		if a.status != 200 || a.body != want || i > 0 && !strings.Contains(a.cacheStatus(), "crowd") {
			t.Errorf("%d, %d bytes, %v, %s", a.status, len(a.body), a.err, a.cacheStatus())
		}
	}
	if s := g.zone.Stats(); s.Disk.Errors != 1 || s.Disk.Paused != 1 || s.Stored != 0 {
		t.Errorf("%+v", s)
	}
	if n := g.asked.Load(); n != 3 {
		t.Errorf("the origin was asked %d times", n)
	}
}

// While another process has the disk, such answers are passed on, and no later one is taken for too large.
func TestDraft_diskIsNotOpen(t *testing.T) {
	g := &rig{disk: true, bodies: 8 << 20, closed: true}
	g.draft(t, cache.Route{}, nil)
	path := fmt.Sprint("/", 1<<20)
	want := largeBody(path, 1<<20)
	g.get(t, path).want(t, 200, want, "fwd=uri-miss; fwd-status=200; detail=crowd")
	if err := g.zone.OpenDisk(); err != nil {
		t.Fatal(err)
	}
	g.get(t, path).want(t, 200, want, "fwd=uri-miss; fwd-status=200; stored")
	g.get(t, path).want(t, 200, want, "hit")
}

// A disk that fails in the middle cuts the answer off; what comes then is passed on.
func TestDraft_diskFails(t *testing.T) {
	const size = 3 << 20
	next := make(chan bool)
	g := draftRig(t, cache.Route{}, next)
	path := fmt.Sprint("/", size)
	resp := g.begin(t, path)
	forbidWrites(t, cache.DiskPath(g.zone))
	next <- true
	if rest, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes came as the end", len(rest))
	}
	testutil.Eventually(t, testutil.Patience, func() bool { return g.zone.Stats().Disk.Paused == 1 }, "it is noticed")
	go func() { next <- true }()
	a := g.do("GET", path)
	if a.status != 200 || a.body != largeBody(path, size) || !strings.Contains(a.cacheStatus(), "crowd") {
		t.Errorf("%d, %d bytes, %v, %s", a.status, len(a.body), a.err, a.cacheStatus())
	}
}

// forbidWrites makes the segments that are open in a folder ones that can be read alone.
func forbidWrites(t *testing.T, folder string) {
	all, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	done := 0
	for _, link := range all {
		path, _ := os.Readlink(link)
		if filepath.Dir(path) != folder || filepath.Ext(path) != ".seg" {
			continue
		}
		of, _ := strconv.Atoi(filepath.Base(link))
		fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err == nil {
			err = unix.Dup3(fd, of, unix.O_CLOEXEC)
			_ = unix.Close(fd)
		}
		if err != nil {
			t.Fatal(err)
		}
		done++
	}
	if done == 0 {
		t.Fatal("no segment is open")
	}
}

// A body that the disk has refused takes nothing while it is passed on, whether that was known at its head or after it.
func TestDraft_thatIsPassedOnTakesNothing(t *testing.T) {
	const size = 1 << 20
	next := make(chan bool)
	g := draftRig(t, cache.Route{}, next)
	if err := os.RemoveAll(cache.DiskPath(g.zone)); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range uint64(2) {
		wg.Go(func() { g.wantsWhole(t, int(i), size) })
		testutil.Eventually(t, testutil.Patience, func() bool {
			s := g.zone.Stats()
			return s.Passed == i+1 && s.BodyBytes == 0
		}, "it is passed on, and takes nothing")
	}
	next <- true
	next <- true
	wg.Wait()
}

// wantsWhole asks for thing i, a body of that size.
func (g *rig) wantsWhole(t *testing.T, i, size int) {
	path := fmt.Sprintf("/%d/%d", i, size)
	if a := g.do("GET", path); a.status != 200 || a.body != largeBody(path, size) {
		t.Errorf("%d, %d bytes, %v", a.status, len(a.body), a.err)
	}
}

// So many at a time take no more memory than their share: others are passed on.
func TestDraft_share(t *testing.T) {
	const size, many = 1 << 20, 6
	next := make(chan bool)
	g := draftRig(t, cache.Route{}, next)
	var wg sync.WaitGroup
	for i := range many {
		wg.Go(func() { g.wantsWhole(t, i, size) })
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		s := g.zone.Stats()
		return s.Passed == many-3 && s.BodyBytes > 3*2<<20 && s.BodyBytes < 8<<20
	}, "three are passed on")
	for range many {
		next <- true
	}
	wg.Wait()
	if s := g.zone.Stats(); s.Stored != 3 {
		t.Errorf("%d are stored", s.Stored)
	}
}
