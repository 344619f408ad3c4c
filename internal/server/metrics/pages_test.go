package metrics

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// counted are Pages whose one value is how often they were collected.
func counted() (*Pages, *int) {
	n := new(int)
	return NewPages(func() { *n++ }, func(e *observe.Exposition) {
		e.Family("edge_n", "How often.", observe.KindGauge)
		e.Value(observe.AppendLine(nil, "edge_n"), float64(*n))
	}), n
}

func ask(p *Pages, method, from string, fields ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/metrics", nil)
	r.RemoteAddr = from
	for i := 0; i < len(fields); i += 2 {
		r.Header.Add(fields[i], fields[i+1])
	}
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	return w
}

func TestPages_formats(t *testing.T) {
	const here, away = "127.0.0.1:1", "192.0.2.1:1"
	page := "# HELP edge_n How often.\n# TYPE edge_n gauge\nedge_n 1\n"
	for _, c := range []struct {
		method, from, accept, encoding string
		want                           string
		gzipped                        bool
	}{
		{"GET", here, "", "", page, false},
		{"GET", here, "application/openmetrics-text", "gzip", page + "# EOF\n", false},
		{"GET", "@", "", "gzip", page, false},
		{"GET", "[::1]:1", "", "gzip", page, false},
		{"GET", "[::ffff:127.0.0.1]:1", "", "gzip", page, false},
		{"GET", away, "", "deflate, gzip;q=0.5", page, true},
		{"GET", away, "application/openmetrics-text;version=1.0.0", "GZIP", page + "# EOF\n", true},
		{"GET", away, "", "*", page, true},
		{"GET", away, "", "*;q=0.0", page, false},
		{"GET", away, "", "gzip; q=0, *", page, false},
		{"GET", away, "", "", page, false},
		{"HEAD", away, "", "", "", false},
		{"HEAD", away, "", "gzip", "", true},
	} {
		p, _ := counted()
		w := ask(p, c.method, c.from, "Accept", c.accept, "Accept-Encoding", c.encoding)
		body := w.Body.Bytes()
		gzipped := w.Header().Get("Content-Encoding") == "gzip"
		if gzipped && c.method == "GET" {
			z, err := gzip.NewReader(bytes.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			if body, err = io.ReadAll(z); err != nil {
				t.Fatal(err)
			}
		}
		f := observe.ChooseMetricFormat(c.accept)
		if w.Code != 200 || string(body) != c.want || gzipped != c.gzipped ||
			w.Header().Get("Content-Type") != f.ContentType() {
			t.Errorf("%+v: %d %v\n%s", c, w.Code, w.Header(), body)
		}
		if n := w.Header().Get("Content-Length"); !gzipped && c.method == "GET" && n != strconv.Itoa(len(c.want)) {
			t.Errorf("%+v: length %s", c, n)
		}
	}
	p, n := counted()
	if w := ask(p, "POST", here); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" || *n != 0 {
		t.Errorf("POST: %d %v", w.Code, w.Header())
	}
}

// Those that ask within 200 ms get what was collected once, in either format.
func TestPages_shareWhatWasCollected(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		p, n := counted()
		for range 3 {
			ask(p, "GET", "@")
			ask(p, "GET", "@", "Accept", "application/openmetrics-text")
		}
		if *n != 1 {
			t.Errorf("collected %d times at once", *n)
		}
		time.Sleep(sharedFor)
		if w := ask(p, "GET", "@"); *n != 2 || !strings.Contains(w.Body.String(), "edge_n 2\n") {
			t.Errorf("collected %d times 200 ms later: %s", *n, w.Body)
		}
		w := ask(p, "GET", "@", "Accept", "application/openmetrics-text")
		if !strings.Contains(w.Body.String(), "edge_n 2\n") {
			t.Errorf("the other format is of before: %s", w.Body)
		}
	})
}

// stuck is a client that reads nothing until it is let.
type stuck struct {
	http.ResponseWriter
	begun, let chan struct{}
	got        []byte
}

func (s *stuck) Write(b []byte) (int, error) {
	close(s.begun)
	<-s.let
	s.got = append(s.got, b...)
	return len(b), nil
}

// A client that does not read keeps the page that it was given, and others get theirs.
func TestPages_slowReader(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		p, _ := counted()
		slow := &stuck{ResponseWriter: httptest.NewRecorder(), begun: make(chan struct{}), let: make(chan struct{})}
		var done sync.WaitGroup
		done.Go(func() {
			r := httptest.NewRequest("GET", "/metrics", nil)
			r.RemoteAddr = "@"
			p.ServeHTTP(slow, r)
		})
		<-slow.begun
		for i := 2; i < 10; i++ {
			time.Sleep(sharedFor)
			if w := ask(p, "GET", "@"); !strings.Contains(w.Body.String(), "edge_n "+strconv.Itoa(i)+"\n") {
				t.Errorf("got %s", w.Body)
			}
		}
		close(slow.let)
		done.Wait()
		if !strings.HasSuffix(string(slow.got), "edge_n 1\n") {
			t.Errorf("the slow one got %q", slow.got)
		}
		if len(p.spare) > spareMax {
			t.Errorf("%d pages are spare", len(p.spare))
		}
	})
}
