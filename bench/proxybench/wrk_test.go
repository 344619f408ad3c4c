package proxybench

import (
	"cmp"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

const wrkHead = `Running 10m test @ http://127.0.0.1:8080/small
  1 threads and 64 connections
  Thread Stats   Avg      Stdev     Max   +/- Stdev
    Latency     1.02ms  200.00us   5.00ms   90.00%
    Req/Sec    60.00k     1.00k   61.00k    50.00%
  Latency Distribution
`

func TestParseWrk(t *testing.T) {
	for name, c := range map[string]struct {
		out  string
		want loadResult
	}{
		"clean": {
			wrkHead + "     50%  676.00us\n     75%    1.00ms\n     90%    1.10ms\n     99%    1.34ms\n" +
				"  66000 requests in 1.10s, 15.00MB read\nRequests/sec:  60000.00\nTransfer/sec:     13.00MB\n",
			loadResult{requests: 66000, p50: 676 * time.Microsecond, p99: 1340 * time.Microsecond},
		},
		"seconds and minutes": {
			wrkHead + "     50%    1.50s \n     99%    1.20m \n  3 requests in 4.00s, 1.00KB read\n",
			loadResult{requests: 3, p50: 1500 * time.Millisecond, p99: 72 * time.Second},
		},
		"errors": {
			wrkHead + "     50%    1.00ms\n     99%    2.00ms\n  100 requests in 1.00s, 1.00KB read\n" +
				"  Socket errors: connect 1, read 2, write 3, timeout 4\n  Non-2xx or 3xx responses: 5\n",
			loadResult{
				requests: 100, p50: time.Millisecond, p99: 2 * time.Millisecond, errors: 15,
				detail: "Socket errors: connect 1, read 2, write 3, timeout 4; Non-2xx or 3xx responses: 5",
			},
		},
		"no latencies": {
			"  0 requests in 1.00s, 0.00B read\n",
			loadResult{},
		},
	} {
		if got, err := parseWrk(c.out); err != nil || got != c.want {
			t.Errorf("%s: got %+v, %v, want %+v", name, got, err, c.want)
		}
	}
}

func TestParseWrk_refusesWhatIsNoSummary(t *testing.T) {
	for _, out := range []string{"", "unable to connect to 127.0.0.1:1 Connection refused\n"} {
		if _, err := parseWrk(out); !errors.Is(err, errNoSummary) {
			t.Errorf("%q: %v", out, err)
		}
	}
	if _, err := parseWrk(wrkHead + "     50%    1.00xs\n"); err == nil {
		t.Error("a time without a known unit is no error")
	}
}

func TestParseGoLoad(t *testing.T) {
	r, err := parseGoLoad(`{"rows":[{"target":"x","result":{"requests":7,"errors":{"read":1},"status":{"2xx":6,"5xx":1},
		"latency":{"p50_ns":10,"p99_ns":20},"failure":"x"}}]}`)
	if err != nil || r != (loadResult{requests: 7, errors: 2, p50: 10, p99: 20, detail: "x"}) {
		t.Errorf("got %+v, %v", r, err)
	}
	if _, err := parseGoLoad("panic"); err == nil {
		t.Error("no error")
	}
}

func TestScenarios_browserHeadIsAsLongAsSaid(t *testing.T) {
	if n := len(browserFields) + 1; n != 12 {
		t.Errorf("%d fields with Host, want 12", n)
	}
	const line = "GET /small HTTP/1.1\r\nHost: 127.0.0.1:18080\r\n\r\n"
	if n := len(line) + len(strings.Join(browserFields, "\r\n")); n < 620 || n > 700 {
		t.Errorf("%d bytes, want about 650", n)
	}
}

func TestFind_keepsOrderAndRefusesUnknownNames(t *testing.T) {
	found, err := FindScenarios([]string{"close", "small"})
	if err != nil || len(found) != 2 || found[0].Name != "small" || found[1].Name != "close" {
		t.Errorf("got %v, %v", found, err)
	}
	if _, err := FindScenarios([]string{"smal"}); err == nil || !strings.Contains(err.Error(), "small1000") {
		t.Errorf("unknown scenario: %v", err)
	}
	peers, err := FindPeers([]string{"nginx", "floor-syscall"})
	var names []string
	for _, p := range peers {
		names = append(names, p.Name)
	}
	if err != nil || !slices.Equal(names, []string{"floor", "floor-syscall", "nginx"}) {
		t.Errorf("got %v, %v", names, err)
	}
	all := []string{"before", "before+cache", "before+files", "before+gzip", "before+hosts", "before+h3", "edge"}
	if got := withBefore([]string{"edge"}); !slices.Equal(got, all) {
		t.Errorf("got %v", got)
	}
	if got := withBefore(nil); !slices.Contains(got, "nginx") || slices.Contains(got, "floor-syscall") {
		t.Errorf("all beside the one before: %v", got)
	}
}

func TestWrkCommand_writesAScriptOnlyWhenNeeded(t *testing.T) {
	dir := t.TempDir()
	for _, s := range Scenarios {
		argv, err := wrkCommand("wrk", s, "127.0.0.1:1", dir)
		if err != nil {
			t.Fatal(err)
		}
		if got, want := slices.Contains(argv, "-s"), s.Body > 0 || s.Pipeline > 1; got != want {
			t.Errorf("%s: script %v, want %v", s.Name, got, want)
		}
		want := "http://127.0.0.1:1" + cmp.Or(s.Path, "/small")
		if s.Proto == H1TLS || s.Proto == H2TLS || s.Proto == H3 {
			want = strings.Replace(want, "http:", "https:", 1)
		}
		if argv[len(argv)-1] != want {
			t.Errorf("%s: %v", s.Name, argv)
		}
	}
}

func TestParseH2Load(t *testing.T) {
	const out = `finished in 2.00s, 51728.50 req/s, 9.08MB/s
requests: 103457 total, 103713 started, 103457 done, 103450 succeeded, 7 failed, 0 errored, 0 timeout
status codes: 103450 2xx, 0 3xx, 0 4xx, 7 5xx
traffic: 18.15MB (19035356) total, 4.54MB (4759022) headers (space savings 75.00%), 12.63MB (13242496) data
`
	r, err := parseH2Load(out)
	if err != nil {
		t.Fatal(err)
	}
	if r.requests != 103450 || r.errors != 14 || !strings.Contains(r.detail, "7 failed") {
		t.Errorf("parsed %+v", r)
	}
	if _, err := parseH2Load("h2load: cannot connect"); err == nil {
		t.Error("an error of h2load passed for a result")
	}
}
