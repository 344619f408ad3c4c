package proxybench

import (
	"compress/gzip"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/bench/origin"
)

func TestScenarios_takeTheirPeersAlone(t *testing.T) {
	all, _ := FindPeers(nil)
	for _, s := range Scenarios {
		var names []string
		for _, p := range Peers {
			if p.runs(s) {
				names = append(names, p.Name)
			}
		}
		files := strings.HasPrefix(s.Name, "file-")
		for with, want := range map[string]bool{
			withCache: (s.Hits || s.Numbered) && !files, withFiles: files, withGzip: s.Zipped, withHosts: s.Hosts > 0,
			withHTTP3: s.Proto == H3,
		} {
			for _, name := range each(with, edgeName, nginxName) {
				if slices.Contains(names, name) != want {
					t.Errorf("%s runs with %v", s.Name, names)
				}
			}
		}
		want := append([]string{floorName}, s.Peers...)
		if s.Peers != nil && len(names) != len(want) || names[0] != floorName {
			t.Errorf("%s runs with %v, want %v", s.Name, names, want)
		}
		if s.Beside != "" && !slices.ContainsFunc(all, func(p Peer) bool { return p.Name == s.Beside && p.runs(s) }) {
			t.Errorf("%s: %s does not run", s.Name, s.Beside)
		}
		r := &runner{wrk: "wrk", dir: "dir", options: Options{Self: "edge-bench"}}
		gen, _ := r.generator(s, 0)
		argv, err := gen.command(s, "127.0.0.1:1")
		if s.Peers != nil && (err != nil || argv[0] != "edge-bench" ||
			slices.Contains(argv, "--counter") != s.Counted ||
			slices.Contains(argv, "--numbered") != s.Numbered ||
			slices.Contains(argv, "--hosts") != (s.Hosts > 0) ||
			slices.Contains(argv, "--rate") != (s.Rate > 0)) {
			t.Errorf("%s: %v, %v", s.Name, argv, err)
		}
	}
}

// A cache that stores nothing would be measured as one that is slow, and a proxy that has a cache as one that is quick.
func TestCheckStored_leavesOutWhatIsNotAsTheScenarioSays(t *testing.T) {
	counter := origin.NewCounter()
	from := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		counter.Add(1)
		_, _ = w.Write(make([]byte, 1<<10))
	}))
	defer from.Close()
	kept := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(make([]byte, 1<<10))
	}))
	defer kept.Close()
	short := httptest.NewServer(http.NotFoundHandler())
	defer short.Close()
	for _, c := range []struct {
		server *httptest.Server
		keeps  bool
		note   string // of the error
	}{
		{kept, true, ""},
		{from, false, ""},
		{from, true, errNotStored.Error()},
		{kept, false, errStored.Error()},
		{short, true, "404"},
	} {
		err := checkStored(t.Context(), c.server.URL, from.URL, counter.Load, c.keeps)
		if c.note == "" && err != nil || c.note != "" && (err == nil || !strings.Contains(err.Error(), c.note)) {
			t.Errorf("keeps %v: %v, want %q", c.keeps, err, c.note)
		}
	}
}

func TestCheckZipped_leavesOutWhatDoesNotCompress(t *testing.T) {
	body := make([]byte, 1<<10)
	serve := func(zip bool, body []byte) string {
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if zip && r.Header.Get("Accept-Encoding") == "gzip" {
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = z.Write(body)
				_ = z.Close()
				return
			}
			_, _ = w.Write(body)
		}))
		t.Cleanup(s.Close)
		return s.URL
	}
	from := serve(false, body)
	for name, c := range map[string]struct{ url, note string }{
		"compresses": {serve(true, body), ""},
		"does not":   {from, `its content coding is "", not "gzip"`},
		"cuts off":   {serve(true, body[1:]), "1023 bytes in gzip, want 1024"},
		"is gone":    {"http://127.0.0.1:1", "refused"},
	} {
		err := checkZipped(t.Context(), c.url, from)
		if c.note == "" && err != nil || c.note != "" && (err == nil || !strings.Contains(err.Error(), c.note)) {
			t.Errorf("%s: %v, want %q", name, err, c.note)
		}
	}
}
