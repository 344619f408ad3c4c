package loadreport

import (
	"bytes"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/edge-proxy/edge/bench/load"
	"github.com/edge-proxy/edge/bench/report"
)

const ms = time.Millisecond

// result has latencies that are the longer the nearer the rate is to 10 000.
func result(rate float64, base time.Duration) *load.Result {
	r := &load.Result{
		Requests: 1e6, Elapsed: 100 * time.Second, BytesIn: 1 << 30, BytesOut: 1 << 20, Opened: 64, Rate: rate,
		CPU: 5 * time.Second,
	}
	if rate > 0 {
		r.Requests, r.Unsent, r.Late = uint64(rate*100), 7, 3*ms
		base = time.Duration(float64(base) / (1 - rate/11000))
	}
	r.Status.Success = r.Requests
	r.Latency = load.Latency{Mean: base, P50: base, P75: 2 * base, P90: 3 * base, P99: 10 * base, P999: 20 * base,
		P9999: 30 * base, Max: 40 * base}
	for _, share := range []float64{0, 0.5, 0.9, 0.99, 0.999, 0.9999} {
		value := time.Duration(float64(base) * (1 + 30*share))
		r.Latency.Curve = append(r.Latency.Curve, load.Point{Share: share, Value: value})
	}
	r.Latency.Curve = append(r.Latency.Curve, load.Point{Share: 1, Value: r.Latency.Max})
	return r
}

// sample has rows of two targets at several rates.
func sample() *Report {
	r := &Report{
		Time: time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC), What: "HTTP/1.1 · 64 connections",
		Command: "edge-bench self h1", Notes: []string{"one <CPU> & no more"},
	}
	for _, target := range []string{"direct", "edge"} {
		base := ms
		if target == "edge" {
			base = 2 * ms
		}
		r.Rows = append(r.Rows, Row{Target: target, Result: result(0, base), CPUPerRequest: 12.3, Busy: 0.98})
		for _, percent := range []int{10, 50, 90} {
			r.Rows = append(r.Rows, Row{Target: target, Percent: percent, Result: result(100*float64(percent), base)})
		}
	}
	return r
}

func single(rate float64) *Report {
	r := sample()
	r.Rows = []Row{{Target: "http://a.test/", Result: result(rate, ms)}}
	return r
}

func textOf(t *testing.T, r *Report) string {
	t.Helper()
	var b strings.Builder
	if err := r.WriteText(&b, nil); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func wantAll(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in\n%s", w, text)
		}
	}
}

func TestWriteText_tellsOfOneRow(t *testing.T) {
	closed := textOf(t, single(0))
	wantAll(t, closed, "1000000 in 100.00 s, 10.0k/s", "in 10.2 MiB/s, out 10.2 KiB/s", "p50 1.00 ms", "p99 10.0 ms",
		"p99.9 20.0 ms", "max 40.0 ms", "2xx 1000000", "errors       none", "5.00 µs CPU a request, 5 % of a CPU",
		"note: closed loop: while the server stalls nothing is sent")
	if strings.Contains(closed, "unsent") {
		t.Errorf("a closed loop has no schedule:\n%s", closed)
	}
	open := textOf(t, single(1000))
	wantAll(t, open, "1000/s asked for, 7 unsent, sent 3.00 ms late at worst")
	late := single(1000)
	late.Rows[0].Result.Unsent = late.Rows[0].Result.Requests + 1
	wantAll(t, textOf(t, late), "100001 (most: useless) unsent")
	if strings.Contains(open, "note: closed loop") {
		t.Errorf("this is an open loop:\n%s", open)
	}
	r := single(0)
	r.Rows[0].Result.Errors = load.Errors{Connect: 1, Read: 2, Timeout: 3}
	r.Rows[0].Result.Failure = "connection refused"
	wantAll(t, textOf(t, r), "connect 1, read 2, timeout 3; the first: connection refused")
}

func TestWriteText_tellsOfSeveralRows(t *testing.T) {
	text := textOf(t, sample())
	for _, row := range []string{
		`direct +closed loop +10\.0k +1\.00 ms .* 12\.3 +98 %`, `edge +open, 90 % +9000 +11\.0 ms .* +7 +0\n`,
		`note: one <CPU> & no more`,
	} {
		if !regexp.MustCompile(row).MatchString(text) {
			t.Errorf("no %s in\n%s", row, text)
		}
	}
}

func TestRead_takesBackWhatWasWritten(t *testing.T) {
	r := sample()
	var b bytes.Buffer
	if err := report.WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	if back, err := Read(&b); err != nil || !reflect.DeepEqual(back, r) {
		t.Errorf("%+v, %v", back, err)
	}
	for _, text := range []string{"", "{}", `{"results": []}`, `{"rows": [{"target": "x"}]}`} {
		if _, err := Read(strings.NewReader(text)); err == nil {
			t.Errorf("%q: no error", text)
		}
	}
}

func TestCompare_tellsWhatChanged(t *testing.T) {
	old, now := sample(), sample()
	now.Rows[0].Result.Elapsed /= 2
	now.Rows[0].Result.Latency.P99 *= 3
	now.What, now.Rows[3].Percent = "HTTP/2", 80
	now.Machine.CPU.Model = "another"
	if changes, _ := now.Compare(old); len(changes.Rows) != len(now.Rows)-1 {
		t.Errorf("%d changes of %d rows, one of which is new", len(changes.Rows), len(now.Rows))
	}
	var b strings.Builder
	if err := now.WriteText(&b, old); err != nil {
		t.Fatal(err)
	}
	wantAll(t, b.String(), "direct, closed loop", "requests/s 10.0k → 20.0k  +100.0 %",
		"p99 10.0 ms → 30.0 ms  +200.0 %",
		"CPU µs/request 12.3 → 12.3  +0.0 %", "how much of a change is chance", "not the same load: HTTP/1.1",
		"not the same machine: CPU: another")
	changes, notes := single(0).Compare(sample())
	if len(changes.Rows) != 0 || !strings.Contains(notes[0], "no row in common") {
		t.Errorf("%+v, %q", changes, notes)
	}
	if changes, _ := single(0).Compare(single(10)); len(changes.Rows) != 1 {
		t.Errorf("two loads of a URL: %+v", changes)
	}
}

// place is what a mark of a plot says of where it stands.
var place = regexp.MustCompile(`[ML](-?[\d.]+) (-?[\d.]+)`)

func TestHTML_showsEverything(t *testing.T) {
	var b strings.Builder
	r := sample()
	if err := r.Page(sample()).Write(&b); err != nil {
		t.Fatal(err)
	}
	text := b.String()
	if _, err := html.Parse(strings.NewReader(text)); err != nil {
		t.Fatal(err)
	}
	wantAll(t, text, `id="load"`, `id="curves"`, `id="numbers"`, `id="changes"`, `id="machine"`, "edge-bench self h1",
		"one &lt;CPU&gt; &amp; no more", "21 November 2026, 22:00 UTC", "edge p99.9 at 9000/s: 220 ms",
		"direct, open, 50 %: 99 % within", "prefers-color-scheme: dark", "width=device-width", "99.99",
		"the open loops count that")
	loads := regexp.MustCompile(`(?i)\bhttps?:|//[a-z]|@import|url\(|\bsrc=|\bhref=|<script|<link|<img|<iframe`)
	if m := loads.FindString(text); m != "" {
		t.Errorf("the page has %q", m)
	}
	marks := place.FindAllStringSubmatch(text, -1)
	if len(marks) < 2*2*3*3 {
		t.Errorf("%d marks", len(marks))
	}
	for _, m := range marks {
		x, _ := strconv.ParseFloat(m[1], 64)
		y, _ := strconv.ParseFloat(m[2], 64)
		if x < 0 || x > 1000 || y < 0 || y > 1000 {
			t.Errorf("%s is outside of its plot", m[0])
		}
	}
}

func TestHTML_leavesOutWhatThereIsNot(t *testing.T) {
	var b strings.Builder
	r := single(0)
	r.Rows[0].Result = &load.Result{Failure: "nothing came"}
	if err := r.Page(nil).Write(&b); err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"load", "curves", "changes"} {
		if strings.Contains(b.String(), `id="`+id+`"`) {
			t.Errorf("there is a %s of nothing", id)
		}
	}
}

// Of one time on an axis, and of times that differ by decades, each has a place.
func TestScale_hasAPlaceForEachTime(t *testing.T) {
	for _, times := range [][]time.Duration{{0, 0}, {ms, ms}, {1, time.Hour}, {ms, 9 * ms}} {
		s := scaleOf([]*Row{{}}, func(*Row) (low, high time.Duration) { return times[0], times[1] })
		for _, d := range times {
			if y := s.At(float64(d)); y < 0 || y > 1 || y != y {
				t.Errorf("%v of %v at %v", d, times, y)
			}
		}
		if n := len(s.Ticks(timeText)); n == 0 && times[1] > times[0] || n > 14 {
			t.Errorf("%v: %d ticks", times, n)
		}
	}
}
