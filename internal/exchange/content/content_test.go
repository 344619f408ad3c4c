package content_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/engine"
	"github.com/edge-proxy/edge/internal/exchange/content"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
	"github.com/edge-proxy/edge/session"
)

type file = content.File

// slow is a File on a disk that is as slow as the test wants.
type slow struct {
	*file
	stall  chan struct{} // closed: it goes on
	err    error
	ends   bool // before it should
	loads  atomic.Int64
	loaded atomic.Int64 // bytes
}

func (s *slow) Ready(from int64) int64 { return max(from, s.loaded.Load()) }

func (s *slow) Load(from int64) (int64, error) {
	s.loads.Add(1)
	<-s.stall
	if s.err != nil {
		return 0, s.err
	}
	if s.ends {
		return from, nil
	}
	s.loaded.Store(s.Size())
	return s.file.Load(from)
}

// Open answers with the file.
func (s *slow) Open(x *proxy.Exchange, _ session.Receiver) proxy.Opening {
	x.Response.Status, x.Response.Proto = 200, 11
	if !s.Take() {
		return proxy.Opening{Err: proxy.NoBackend}
	}
	return proxy.Opening{Stored: &proxy.Stored{File: s, Length: s.Size()}}
}

var text = strings.Repeat("0123456789abcdef", 1_300)

// serve serves d, and "ok" at /ok, on one reactor.
func serve(t testing.TB, d proxy.Destination) (url string) {
	t.Helper()
	return filterrig.Start(t, &edge.Server{
		Addr: "127.0.0.1:0", Engine: engine.Options{Reactors: 1}, Session: session.ServerOptions{H2C: true},
		Routes: []proxy.Route{{Path: "/ok", To: proxy.Answer(200, "", "ok")}, {To: d}},
	})
}

// Requests whose files wait for a disk delay no other. As many wait as may: the next ones are told to come back.
func TestSource_stalledDisk(t *testing.T) {
	const most = 64 + 1024
	s := &slow{file: filterrig.File(t, text), stall: make(chan struct{})}
	defer s.Close()
	url := serve(t, s)
	c := testutil.H2C(t)
	answers := make(chan string, most)
	for range most {
		go func() {
			resp, err := c.Get(url + "/file")
			if err != nil {
				answers <- err.Error()
				return
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if err != nil {
				answers <- err.Error()
				return
			}
			answers <- resp.Status + string(body)
		}()
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		if _, body := testutil.Get(t, c, url+"/ok"); body != "ok" {
			t.Fatal(body)
		}
		resp, err := http.Get(url + "/file")
		if err != nil {
			return false
		}
		resp.Body.Close()
		return resp.StatusCode == 503 && resp.Header.Get("Retry-After") != ""
	}, "none is refused")
	close(s.stall)
	whole := 0
	for range most {
		switch a := <-answers; {
		case a == "200 OK"+text:
			whole++
		case !strings.HasPrefix(a, "503"):
			t.Fatalf("%.200q", a)
		}
	}
	if whole < most/2 {
		t.Errorf("%d of %d answers are whole", whole, most)
	}
}

// A file that cannot be read, or has become shorter, ends the answer.
func TestSource_brokenFile(t *testing.T) {
	s := &slow{file: filterrig.File(t, text), stall: make(chan struct{}), err: errors.New("the disk is gone")}
	defer s.Close()
	close(s.stall)
	ended := &slow{file: filterrig.File(t, text), stall: s.stall, ends: true}
	defer ended.Close()
	short := filterrig.File(t, strings.Repeat(text, 50))
	defer short.Close()
	at, _ := short.File()
	name, err := os.Readlink(fmt.Sprintf("/proc/self/fd/%d", at))
	if err == nil {
		err = os.Truncate(name, 9000)
	}
	if err != nil {
		t.Fatal(err)
	}
	for of, d := range map[string]proxy.Destination{
		"unreadable": s, "ended": ended, "shorter": proxy.Always(proxy.RespondFile(200, short)),
	} {
		url := serve(t, d)
		one := &http.Client{Transport: &http.Transport{}}
		for proto, c := range map[string]*http.Client{"HTTP/1": one, "HTTP/2": testutil.H2C(t)} {
			resp, err := c.Get(url)
			if err != nil {
				t.Fatal(err)
			}
			if body, err := io.ReadAll(resp.Body); err == nil {
				t.Errorf("%s, %s: %d bytes are a whole answer", of, proto, len(body))
			}
			resp.Body.Close()
			c.CloseIdleConnections()
		}
	}
}

// The last of the owner and the answers closes the file.
func TestFile_references(t *testing.T) {
	f := filterrig.File(t, text)
	at, _ := f.File()
	if !f.Take() {
		t.Fatal("it is gone")
	}
	if f.Close(); !f.Take() {
		t.Fatal("it is gone before its last answer")
	}
	f.Release()
	f.Release()
	if f.Take() {
		t.Error("it is there after its last answer")
	}
	if n, err := at.ReadAt(make([]byte, 1), 0); err == nil {
		t.Errorf("%d bytes of a file that is closed", n)
	}
	if _, err := content.Open(t.TempDir()); err == nil {
		t.Error("a folder is a file")
	}
}

func TestFile_Ready(t *testing.T) {
	long := strings.Repeat(text, 50)
	f := filterrig.File(t, long)
	defer f.Close()
	for at := int64(0); at < f.Size(); {
		to, err := f.Load(at)
		if err != nil || to <= at || to > f.Size() {
			t.Fatalf("%d, %v", to, err)
		}
		if ready := f.Ready(at); ready != to && ready != at { // the kernel may have given pages away
			t.Fatalf("from %d: %d, loaded up to %d", at, ready, to)
		}
		at = to
	}
	if _, err := f.Load(f.Size() - 1); err != nil {
		t.Fatal(err)
	}
}
