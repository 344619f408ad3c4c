package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/edge-proxy/edge/bench/loadreport"
	"github.com/edge-proxy/edge/bench/proxybench"
)

// counting is a server that counts requests and keeps the last one.
func counting(t *testing.T) (s *httptest.Server, served *atomic.Uint64, last *atomic.Pointer[http.Request]) {
	t.Helper()
	served, last = new(atomic.Uint64), new(atomic.Pointer[http.Request])
	s = httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Header.Set("Body-Was", string(body))
		last.Store(r)
		served.Add(1)
	}))
	s.EnableHTTP2 = true
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetHTTP2(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	t.Cleanup(s.Close)
	return s, served, last
}

func TestURL_loadsWhatItIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		secure bool
		args   []string
		proto  string
		method string
		body   string
	}{
		"plain":     {proto: "HTTP/1.1", method: "GET"},
		"tls":       {secure: true, proto: "HTTP/1.1", method: "GET", args: []string{"--group", "X25519"}},
		"h2":        {args: []string{"--h2", "-m", "4"}, proto: "HTTP/2.0", method: "GET"},
		"h2, tls":   {secure: true, args: []string{"--h2"}, proto: "HTTP/2.0", method: "GET"},
		"body":      {args: []string{"--body", "hello"}, proto: "HTTP/1.1", method: "POST", body: "hello"},
		"body size": {args: []string{"--body-size", "3", "-X", "PUT"}, proto: "HTTP/1.1", method: "PUT", body: "xxx"},
		"pipelined": {args: []string{"-p", "4"}, proto: "HTTP/1.1", method: "GET"},
		"rate":      {args: []string{"--rate", "0.4k"}, proto: "HTTP/1.1", method: "GET"},
		"reconnect": {args: []string{"--reconnect"}, proto: "HTTP/1.1", method: "GET"},
	} {
		t.Run(name, func(t *testing.T) {
			s, served, last := counting(t)
			if c.secure {
				s.StartTLS()
			} else {
				s.Start()
			}
			args := []string{s.URL + "/p?q=1", "-c", "3", "-d", "30ms", "-t", "2", "-H", "A: b", "--json"}
			out, _, err := runBench(t, append(args, c.args...)...)
			if err != nil {
				t.Fatal(err)
			}
			r, err := loadreport.Read(strings.NewReader(out))
			if err != nil {
				t.Fatal(err, out)
			}
			got := r.Rows[0].Result
			if got.Requests != served.Load() || got.Requests == 0 || got.Failed() != 0 ||
				got.Rate > 0 != (name == "rate") {
				t.Errorf("the server counted %d, of the load there is %+v", served.Load(), got)
			}
			if r.Machine.CPU.Threads == 0 || !strings.Contains(r.Command, "--header 'A: b'") {
				t.Errorf("%+v", r)
			}
			l := last.Load()
			if l.Proto != c.proto || l.Method != c.method || l.RequestURI != "/p?q=1" || l.Header.Get("A") != "b" ||
				l.Header.Get("Body-Was") != c.body || "http://"+l.Host != s.URL && "https://"+l.Host != s.URL {
				t.Errorf("the server was asked %+v", l)
			}
		})
	}
}

// What the flags say of each request gets into requests.
func TestURL_asksEachTimeForAnother(t *testing.T) {
	s, _, last := counting(t)
	s.Start()
	if _, _, err := runBench(t, s.URL+"/p", "-c", "1", "-d", "20ms", "--hosts", "3", "--numbered"); err != nil {
		t.Fatal(err)
	}
	if l := last.Load(); !strings.HasPrefix(l.Host, "h00000") || !strings.HasPrefix(l.RequestURI, "/p?n=") {
		t.Errorf("the server was asked %s of %q", l.RequestURI, l.Host)
	}
}

func TestURL_printsComparesAndWritesAPage(t *testing.T) {
	s, _, _ := counting(t)
	s.Start()
	_, text := wantComparison(t, []string{s.URL, "-c", "2", "-d", "20ms"})
	if !strings.Contains(text, "2 connections") || !strings.Contains(text, "note: closed loop") {
		t.Error(text)
	}
}

func TestQuote(t *testing.T) {
	for text, want := range map[string]string{"": "''", "a-b": "a-b", "a b": "'a b'", "it's": `'it'\''s'`} {
		if got := quote(text); got != want {
			t.Errorf("%q is %s, want %s", text, got, want)
		}
	}
}

// A load that brings no answer but failures is printed, and fails.
func TestURL_failsWhereNothingIsServed(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }))
	defer s.Close()
	out, _, err := runBench(t, s.URL, "-c", "2", "-d", "30ms")
	if err == nil || !strings.Contains(err.Error(), "no request brought") || !strings.Contains(out, "5xx ") {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestURL_refuses(t *testing.T) {
	s, served, _ := counting(t)
	s.Start()
	refuses(t, [][]string{
		{"ftp://a.test/"}, {"http:///"}, {"nosuch"}, {s.URL, "more"}, {s.URL, "--rate", "fast"},
		{s.URL, "--rate", "-1"},
		{s.URL, "--rate", "0"}, {s.URL, "--rate", "k"}, {s.URL, "--rate", "NaN"}, {s.URL, "-m", "2"},
		{s.URL, "--h2", "-p", "2"}, {s.URL, "-H", "nothing"}, {s.URL, "--body", "a", "--body-size", "1"},
		{s.URL, "--group", "X25519"}, {"https://a.test", "--group", "X1"}, {"ws://a.test", "--h2"},
		{s.URL, "--h3"}, {"wss://a.test", "--h3"}, {"https://a.test", "--h2", "--h3"},
		{"https://a.test", "--h3", "-p", "2"},
		{s.URL, "--compare", "/nosuch.json"}, {s.URL, "--compare", "/dev/null"},
		{s.URL, "--report", "/nosuch/out.html"},
		{s.URL, "-H", "A b: c"}, {s.URL, "--hosts", "-1"}, {s.URL, "--hosts", "3", "--h2"},
	})
	if n := served.Load(); n != 0 {
		t.Errorf("the server was asked %d times", n)
	}
}

// The load of the other commands is this one where there is neither wrk nor h2load.
func TestProxy_loadsByItself(t *testing.T) {
	o, _ := options(t)
	t.Setenv("PATH", t.TempDir())
	o.Edge, o.Peers, o.Load = o.Self, []string{"edge", "edge+h3", "quic-go"}, "auto"
	o.Scenarios = []string{"upload", "pipeline16", "tlsfull", "h2", "h3"}
	if !testing.Short() {
		o.Scenarios = append(o.Scenarios, "browser", "close", "chunked", "h2c", "tls", "h3-1m", "h3full")
	}
	report, err := proxybench.Run(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Scenarios {
		if want := map[bool]int{false: 2, true: 4}[strings.HasPrefix(s.Name, "h3")]; len(s.Peers) != want {
			t.Errorf("%s: %d peers, want %d", s.Name, len(s.Peers), want)
		}
		for _, p := range s.Peers {
			if len(p.Samples) == 0 || p.Errors != 0 || p.RequestsPerSecond <= 0 || p.P99 <= 0 {
				t.Errorf("%s: %+v", s.Name, p)
			}
		}
	}
	if len(report.Scenarios) != len(o.Scenarios) {
		t.Errorf("%d scenarios of %d", len(report.Scenarios), len(o.Scenarios))
	}
}
