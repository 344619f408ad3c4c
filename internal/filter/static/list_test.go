package static_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/edge-proxy/edge"
	"github.com/edge-proxy/edge/internal/filter/static"
	"github.com/edge-proxy/edge/internal/test/filterrig"
	"github.com/edge-proxy/edge/internal/test/testutil"
	"github.com/edge-proxy/edge/proxy"
)

// many makes a folder with so many files, whose list does not fit into what is held of a file.
func many(t testing.TB, files int) (dir string) {
	t.Helper()
	all := map[string]string{}
	for i := range files {
		all[fmt.Sprintf("many/file-%04d", i)] = ""
	}
	return site(t, all)
}

// All who ask within a second get one text, whatever their paths are spelled like. It is on the account of a reactor
// until it is forgotten.
func TestLists_madeOnce(t *testing.T) {
	const files = 5000
	to, err := filterrig.Made(static.New, &static.Config{Root: many(t, files), Listing: true}, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := &edge.Server{Addr: "127.0.0.1:0", Routes: []proxy.Route{{To: to}}}
	url := filterrig.Start(t, s)
	charged := func() int { return int(s.Reactors()[0].Engine().Stats().BufBytes) }
	before, most := charged(), 0
	testutil.Eventually(t, testutil.Patience, func() bool { return static.MadeLists() == 0 }, "lists of other tests")
	var all sync.WaitGroup
	var mu sync.Mutex
	bodies := map[string]int{}
	for i := range 100 {
		all.Go(func() {
			_, body := ask(t, url, "GET", []string{"/many/", "/%6dany/", "//many/"}[i%3])
			mu.Lock()
			defer mu.Unlock()
			bodies[body]++
			most = max(most, static.MadeLists())
		})
	}
	all.Wait()
	if len(bodies) != 1 || most > 1 {
		t.Errorf("%d texts, %d lists at a time", len(bodies), most)
	}
	for body := range bodies {
		if n := strings.Count(body, `<a href="./file-`); n != files {
			t.Errorf("%d files are listed", n)
		}
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		_, body := ask(t, url, "GET", "/many/")
		return charged() >= before+len(body)
	}, "the list is not counted")
	testutil.Eventually(t, testutil.Patience, func() bool {
		return static.MadeLists() == 0 && charged() <= before+64<<10
	}, "the list is counted still")
}

// A folder that changes has another list a second later.
func TestLists_change(t *testing.T) {
	dir := many(t, 3)
	url := serve(t, &static.Config{Root: dir, Listing: true})
	ask(t, url, "GET", "/many/")
	if err := os.WriteFile(filepath.Join(dir, "many", "fresh"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	testutil.Eventually(t, testutil.Patience, func() bool {
		_, body := ask(t, url, "GET", "/many/")
		return strings.Contains(body, "fresh")
	}, "it is not listed")
}

// While as many lists are made as may be, others are refused, and files are not.
func TestLists_busy(t *testing.T) {
	dir := many(t, 3)
	url := serve(t, &static.Config{Root: dir, Listing: true})
	leave := static.OccupyLists()
	defer leave()
	if resp, _ := ask(t, url, "GET", "/many/"); resp.StatusCode != 503 || resp.Header.Get("Retry-After") == "" {
		t.Error(resp.Status, resp.Header)
	}
	if resp, _ := ask(t, url, "GET", "/many/file-0001"); resp.StatusCode != 200 {
		t.Error(resp.Status)
	}
}

// Lists are answered as files are: by form, for HEAD, by conditions and ranges; past net/http as by it. A page has the
// path of the request without the prefix that its route takes off.
func TestLists_answers(t *testing.T) {
	for _, files := range []int{3, 500} { // held as bytes, and in a file
		url, plain := both(t, &static.Config{Root: many(t, files), Listing: true, Try: []string{"{path}", "/many"},
			CacheControl: map[string]string{"/many": "no-cache"}})
		page, body := ask(t, url, "GET", "/http/many/")
		object, jsonBody := ask(t, url, "GET", "/http/many/", "Accept: application/json")
		tag := page.Header.Get("ETag")
		for i, c := range []struct {
			method, target string
			fields         []string
			status         int
			body           string
			field, value   string
		}{
			{"GET", "/many/", nil, 200, body, "Content-Type", "text/html; charset=utf-8"},
			{"GET", "/many/", nil, 200, body, "Cache-Control", "no-cache"},
			{"GET", "/many/", nil, 200, body, "ETag", tag},
			{"GET", "/many/", []string{"Accept: text/html, application/json"}, 200, body, "Vary", "Accept"},
			{"GET", "/many/", []string{"Accept: application/json"}, 200, jsonBody, "ETag", object.Header.Get("ETag")},
			{"GET", "/many/", []string{"Accept: application/json"}, 200, jsonBody, "Content-Type", "application/json"},
			{"HEAD", "/many/", nil, 200, "", "Content-Length", fmt.Sprint(len(body))},
			{"GET", "/many/", []string{"If-None-Match: " + tag}, 304, "", "Vary", "Accept"},
			{"GET", "/many/", []string{`If-None-Match: "x"`}, 200, body, "", ""},
			{"GET", "/many/", []string{"Range: bytes=1-4"}, 206, body[1:5], "Content-Range",
				fmt.Sprintf("bytes 1-4/%d", len(body))},
			{"GET", "/many/", nil, 200, body, "Last-Modified", ""},
			{"GET", "/many", nil, 301, "", "Location", "./many/"},
		} {
			for _, way := range []string{"/plain", "/http"} {
				resp, got := ask(t, url, c.method, way+c.target, c.fields...)
				value := resp.Header.Get(c.field)
				if resp.StatusCode != c.status || got != c.body || c.field != "" && value != c.value {
					t.Errorf("%d files, %d, %s: %s %v %q", files, i, way, resp.Status, resp.Header, got)
				}
			}
		}
		if plain.found.Load() < 10 {
			t.Errorf("%d lists go past net/http", plain.found.Load())
		}
		for target, title := range map[string]string{"/": "/", "/none": "/none/", "/a%3Cb/": "/a&lt;b/"} {
			_, got := ask(t, url, "GET", "/plain"+target)
			if !strings.Contains(got, "<title>"+title+"</title>") || strings.Contains(got, `"../"`) == (target == "/") {
				t.Errorf("%s: %q", target, got)
			}
		}
	}
	http.DefaultClient.CloseIdleConnections()
}
