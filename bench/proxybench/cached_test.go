package proxybench

import (
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
		cached, files := s.Hits || s.Numbered, strings.HasPrefix(s.Name, "file-")
		both := func(a, b string) bool { return slices.Contains(names, a) && slices.Contains(names, b) }
		if both(cacheName, nginxCacheName) != (cached && !files) || both(filesName, nginxFilesName) != files {
			t.Errorf("%s runs with %v", s.Name, names)
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
