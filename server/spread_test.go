package server

import (
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/edge-proxy/edge/backend"
)

// A backend that a reload adds beside another one gets few requests at first, and all of them once that is off.
func TestUpstream_slowStart(t *testing.T) {
	one, two := mirror(t, "one"), mirror(t, "two")
	file := func(slow string, backends ...string) string {
		text := quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\nslow_start = \"" + slow + "\"\nbackends = ["
		for _, b := range backends {
			text += fmt.Sprintf("{ address = %q }, ", b)
		}
		return text + "]\n"
	}
	s := serve(t, parse(t, file("1h", one)), Options{})
	for _, step := range []struct {
		file string
		want int // of 18 requests for the second backend
	}{
		{file("1h", one), 0},
		{file("1h", one, two), 2},
		{file("0", one, two), 9},
	} {
		mustApply(t, s, parse(t, step.file))
		seconds := 0
		for range 18 {
			if _, body := get(t, s, "web", "/"); len(body) > 3 && body[:3] == "two" {
				seconds++
			}
		}
		if seconds != step.want {
			t.Errorf("%d of 18 requests for the second backend, not %d, with\n%s", seconds, step.want, step.file)
		}
	}
}

// Where all checks fail, requests are answered if the configuration says so, and nobody is kept in the dark about it.
func TestUpstream_panic(t *testing.T) {
	closed, err := net.Listen("tcp", "127.0.0.1:0")
	try(t, err)
	closed.Close()
	well, dead := mirror(t, "well"), closed.Addr().String()
	file := func(keys, backend string) string {
		return fmt.Sprintf("%shttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n[upstreams.default]\n%s"+
			"backends = [{ address = %q }]\n"+
			"health_check = { path = \"/\", interval = \"1h\", expected_status = 599, start = \"down\" }\n",
			quiet, keys, backend)
	}
	var s *Server
	for _, c := range []struct {
		keys, backend string
		status        int
		details       string
		panics        float64
	}{
		{"", well, 503, "edge; error=destination_unavailable", 0},
		{"panic = \"50%\"\n", well, 200, "", 1},
		{"panic = \"50%\"\n", dead, 502, "edge; error=connection_refused; details=\"panic\"", 1},
		{"panic = 0\n", well, 503, "edge; error=destination_unavailable", 0},
	} {
		conf := parse(t, file(c.keys, c.backend))
		if s == nil {
			s = serve(t, conf, Options{})
		} else if _, err := s.Apply(conf); err != nil {
			t.Fatal(err)
		}
		resp, err := http.Get(urlOf(t, s, "web"))
		try(t, err)
		resp.Body.Close()
		if got := resp.Header.Get("Proxy-Status"); resp.StatusCode != c.status || got != c.details {
			t.Errorf("%s: %d %q", c.keys, resp.StatusCode, got)
		}
		wantCounter(t, s, c.panics, "edge_upstream_panic", "default")
	}
}

// Backups help the others where that is wanted.
func TestUpstream_spill(t *testing.T) {
	first, backup := mirror(t, "first"), mirror(t, "backup")
	file := func(keys string) string {
		text := quiet + "global.worker_threads = 1\nhttp = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\n" + keys + "backends = [{ address = %q }, " +
			"{ address = \"127.0.0.9:1\" }, { address = %q, backup = true }, { address = \"[::9]:1\", tier = 2 }]\n"
		return fmt.Sprintf(text, first, backup)
	}
	s := serve(t, parse(t, file("")), Options{})
	for _, c := range []struct {
		keys string
		want int
	}{{"", 0}, {"spill = true\n", 30}} {
		mustApply(t, s, parse(t, file(c.keys)))
		s.upstreams.now.services["default"].set.Members()[1].Down(backend.Ejected) // of two: 70 % remain
		got := 0
		for range 100 {
			if _, body := get(t, s, "web", "/"); strings.HasPrefix(body, "backup") {
				got++
			}
		}
		if got < c.want-1 || got > c.want+1 {
			t.Errorf("%q: %d of 100 requests go to the backup", c.keys, got)
		}
	}
}

// Requests stay in the zone of the process where they can, and a subset leaves the others out.
func TestUpstream_zonesAndSubsets(t *testing.T) {
	var all []string
	for i := range 4 {
		all = append(all, mirror(t, fmt.Sprint("n", i)))
	}
	file := func(keys string) string {
		text := quiet + "global.worker_threads = 1\nglobal.zone = \"a\"\n" +
			"http = { name = \"web\", listen = \"127.0.0.1:0\" }\n" +
			"[upstreams.default]\nload_balancing = \"round_robin\"\n" + keys + "backends = ["
		for i, address := range all {
			text += fmt.Sprintf("{ address = %q, zone = %q }, ", address, string("aabb"[i]))
		}
		return text + "]\n"
	}
	s := serve(t, parse(t, file("")), Options{})
	for _, c := range []struct{ keys, want string }{
		{"", "n0 n1 n2 n3"},
		{"zones = \"prefer\"\n", "n0 n1"},
		{"zones = \"only\"\n", "n0 n1"},
		{"zones = \"off\"\nsubset = { size = 3 }\n", "3 of them"},
		{"zones = \"only\"\nsubset = { size = 1, index = 0, of = 2 }\n", "1 of them"},
		{"", "n0 n1 n2 n3"},
	} {
		mustApply(t, s, parse(t, file(c.keys)))
		var seen []string
		for range 12 {
			_, body := get(t, s, "web", "/")
			name, _, _ := strings.Cut(body, " ")
			if !slices.Contains(seen, name) {
				seen = append(seen, name)
			}
		}
		slices.Sort(seen)
		if got := strings.Join(seen, " "); got != c.want && fmt.Sprint(len(seen), " of them") != c.want {
			t.Errorf("%q: answered by %s, want %s", c.keys, got, c.want)
		}
	}
}
