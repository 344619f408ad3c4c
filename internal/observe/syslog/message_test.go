package syslog

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/observe"
	"github.com/edge-proxy/edge/internal/test/testutil"
)

// at is when the exchanges of records end.
var at = time.Date(2026, 2, 3, 4, 5, 6, 123456789, time.UTC)

func recordOf(status int, reason, line string) *observe.Record {
	return &observe.Record{
		Time: at.Add(-2 * time.Second).UnixNano(), Dur: int64(2 * time.Second), Listener: "web", Route: "a]\"b",
		Status: status, Reason: reason, Method: []byte("GET"), Line: observe.Line{Text: []byte(line)},
	}
}

func frames(lines ...string) (p []byte) {
	for _, line := range lines {
		p = observe.AppendRecord(p, recordOf(200, "", line))
	}
	return p
}

func composed(o Options) *composer {
	o.Hostname = cmp.Or(o.Hostname, "host.example")
	c := newComposer(o.withDefaults(), "77")
	c.local = time.FixedZone("", 3600)
	return &c
}

func TestMessage_access(t *testing.T) {
	for name, tc := range map[string]struct {
		o      Options
		record *observe.Record
		want   string
	}{
		"plain": {Options{}, recordOf(200, "", "a line"),
			"<134>1 2026-02-03T04:05:06.123456Z host.example edge 77 access - a line"},
		"a failure": {Options{}, recordOf(502, "up:refused", "x"),
			"<131>1 2026-02-03T04:05:06.123456Z host.example edge 77 access - x"},
		"a fault of 4xx": {Options{Facility: 1}, recordOf(408, "down:timeout", "x"),
			"<4>1 2026-02-03T04:05:06.123456Z host.example edge 77 access - x"},
		"4xx without one": {Options{Facility: 24}, recordOf(404, "", "x"),
			"<190>1 2026-02-03T04:05:06.123456Z host.example edge 77 access - x"},
		"structured data": {Options{SD: true}, recordOf(404, "a\\b\x01\xff", "x"),
			"<132>1 2026-02-03T04:05:06.123456Z " +
				`host.example edge 77 access [edge@32473 status="404" listener="web" route="a\]\"b" ` +
				"reason=\"a\\\\b?�\"] x"},
		"header fields": {Options{App: "my app\n", Hostname: "ä"}, recordOf(200, "", "x"),
			"<134>1 2026-02-03T04:05:06.123456Z __ my_app_ 77 access - x"},
		"line feeds": {Options{}, recordOf(200, "", "\na\n\n<0>b\n"),
			"<134>1 2026-02-03T04:05:06.123456Z host.example edge 77 access -  a  <0>b "},
		"RFC 3164": {Options{Format: RFC3164, App: "a[b]:c d", SD: true}, recordOf(200, "", "x"),
			"<134>Feb  3 05:05:06 host.example a_b__c_d[77]: x"},
		"RFC 3164 on a Unix socket": {Options{Network: "unix"}, recordOf(200, "", "x"),
			"<134>Feb  3 05:05:06 edge[77]: x"},
		"RFC 5424 on a Unix socket": {Options{Network: "unix", Format: RFC5424}, recordOf(200, "", "x"),
			"<134>1 2026-02-03T04:05:06.123456Z host.example edge 77 access - x"},
	} {
		c := composed(tc.o)
		if err := c.access(observe.AppendRecord(nil, tc.record)); err != nil || string(c.msg) != tc.want {
			t.Errorf("%s: %v\n%q, want\n%q", name, err, c.msg, tc.want)
		}
	}
	long := strings.Repeat("x", 999)
	c := composed(Options{App: long, Hostname: long, SD: true})
	r := recordOf(500, long, "m")
	r.Listener, r.Route = strings.Repeat(`"`, 99), strings.Repeat("€", 99)
	if err := c.access(observe.AppendRecord(nil, r)); err != nil || len(c.msg) > sizeMin {
		t.Errorf("%v, %d bytes: %s", err, len(c.msg), c.msg)
	}
	if !utf8.Valid(c.msg) || !bytes.Contains(c.msg, []byte(` `+long[:255]+` `+long[:48]+` 77 `)) {
		t.Errorf("%s", c.msg)
	}
}

func TestMessage_event(t *testing.T) {
	now := at.Add(time.Hour)
	for line, want := range map[string]string{
		`{"time":"2026-02-03T05:05:06.5+01:00","level":"INFO","msg":"a"}`: "<134>1 2026-02-03T04:05:06.500000Z",
		`{"time":"2026-02-03T04:05:06Z","level":"WARN+1","msg":"a"}`:      "<132>1 2026-02-03T04:05:06.000000Z",
		`{"time":"2026-02-03T04:05:06Z","level":"ERROR","msg":"a"}`:       "<131>1 2026-02-03T04:05:06.000000Z",
		`{"time":"2026-02-03T04:05:06Z","level":"DEBUG-4","msg":"a"}`:     "<135>1 2026-02-03T04:05:06.000000Z",
		`{"time":"yesterday","level":"ERROR","msg":"a"}`:                  "<134>1 2026-02-03T05:05:06.123456Z",
		`{"level":"ERROR","msg":"a"}`:                                     "<134>1 2026-02-03T05:05:06.123456Z",
		`{"time":"`:                                                       "<134>1 2026-02-03T05:05:06.123456Z",
		"goroutine 1 [running]:":                                          "<134>1 2026-02-03T05:05:06.123456Z",
	} {
		c := composed(Options{})
		if c.event([]byte(line+"\n"), now); string(c.msg) != want+" host.example edge 77 event - "+line {
			t.Errorf("%s:\n%s", line, c.msg)
		}
	}
	c := composed(Options{Format: RFC3164})
	if c.event([]byte("x"), now); string(c.msg) != "<134>Feb  3 06:05:06 host.example edge[77]: x" {
		t.Errorf("%s", c.msg)
	}
	if c.event([]byte("\n"), now); len(c.msg) > 0 {
		t.Errorf("an empty line is a message: %s", c.msg)
	}
}

func TestCut_onARune(t *testing.T) {
	for _, tc := range []struct {
		in   string
		most int
		want string
	}{
		{"abc", 3, "abc"}, {"abcd", 3, "abc"}, {"aä", 2, "a"}, {"aä", 3, "aä"}, {"a\U0001f600", 4, "a"},
		{"\x80\x80\x80\x80\x80\x80", 5, "\x80\x80\x80\x80\x80"}, {"€€", 5, "€"},
	} {
		if got := observe.Cut([]byte(tc.in), tc.most); string(got) != tc.want {
			t.Errorf("%q at %d: %q, want %q", tc.in, tc.most, got, tc.want)
		}
	}
}

var (
	form5424 = regexp.MustCompile(`^<1(3[1-6])>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z ` +
		`[!-~]{1,255} [!-~]{1,48} 77 access (?:-|\[edge@32473 (?:[a-z]+="(?:[^"\\\]]|\\["\\\]])*" ?)+\]) ((?s:.*))$`)
	form3164 = regexp.MustCompile(`^<1(3[1-6])>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d ` +
		`[!-~]{1,255} [!-Z\\^-~]{1,32}\[77\]: ((?s:.*))$`)
)

// What becomes of any record has the form of its RFC, is one line, and ends with the line of the record.
func FuzzMessage(f *testing.F) {
	f.Add(uint16(200), "", "web", "a line", "edge", int64(0))
	f.Add(uint16(502), "\n]\"", "\xff\\", "\n<0>1 - forged", "a b]:", int64(-1))
	f.Fuzz(func(t *testing.T, status uint16, reason, route, line, app string, when int64) {
		r := recordOf(int(status), reason, line)
		r.Route, r.Time = route, when>>1
		if y := time.Unix(0, r.Time+r.Dur).UTC().Year(); y < 1000 || y > 9999 {
			t.Skip()
		}
		want := strings.ReplaceAll(line, "\n", " ")
		for _, o := range []Options{{App: app}, {App: app, SD: true}, {App: app, Format: RFC3164}} {
			c := composed(o)
			testutil.Must(t, c.access(observe.AppendRecord(nil, r)))
			form := form5424
			if o.Format == RFC3164 {
				form = form3164
			}
			m := form.FindSubmatch(c.msg)
			if m == nil || bytes.ContainsRune(c.msg, '\n') {
				t.Fatalf("%q", c.msg)
			}
			if got := string(m[len(m)-1]); line != "" && len(line) < observe.LineMax && got != want {
				t.Errorf("%q, want %q", got, want)
			}
		}
	})
}

func TestFrameLen(t *testing.T) {
	whole := frames("a")
	for n := range whole {
		if observe.FrameLen(whole[:n]) != 0 {
			t.Errorf("a frame of %d bytes of %d is whole", n, len(whole))
		}
	}
	if got := observe.FrameLen(append(whole, 1, 2, 3, 4, 5)); got != len(whole) {
		t.Errorf("%d of %d", got, len(whole))
	}
	if observe.FrameLen(binary.LittleEndian.AppendUint32(nil, 1<<32-1)) != 0 {
		t.Error("a frame of 4 GiB is whole")
	}
}

func TestParseTarget(t *testing.T) {
	for text, want := range map[string]string{
		"syslog://h":                     "udp h:514",
		"syslog+udp://10.0.0.5:514":      "udp 10.0.0.5:514",
		"syslog+udp://[2001:db8::1]":     "udp [2001:db8::1]:514",
		"syslog+tcp://h.example:601/":    "tcp h.example:601",
		"syslog+tcp://h":                 "tcp h:514",
		"syslog+tls://h":                 "tls h:6514",
		"syslog+tls://[::1]:1":           "tls [::1]:1",
		"syslog+unix:///dev/log":         "unix /dev/log",
		"h:514":                          "has no scheme: write",
		"udp://h":                        "has no scheme: write",
		"syslogs://h":                    "unknown transport: write",
		"syslog+ssl://h":                 "unknown transport: write",
		"syslog+://h":                    "unknown transport: write",
		"syslog+unix://dev/log":          "no absolute path: write syslog+unix:///dev/log",
		"syslog+unix:///":                "no absolute path",
		"syslog:///dev/log":              "has a path and no host: write syslog+unix:///dev/log",
		"syslog+udp://":                  "has no host: write syslog+udp://host:514",
		"syslog+udp://:514":              "has no host",
		"syslog+udp://[]":                "has no host",
		"syslog+tcp://h:0":               "a number from 1 to 65535",
		"syslog+tcp://h:":                `the port "": write`,
		"syslog+tcp://h:70000":           "a number from 1 to 65535",
		"syslog+tcp://h:x":               "a number from 1 to 65535",
		"syslog+tls://2001:db8::1":       "in brackets, as in syslog+tls://[2001:db8::1]",
		"syslog+tcp://h:514/x?y":         "more than a host and a port",
		"syslog+tcp://user:secret@h:514": "more than a host and a port",
	} {
		network, address, err := ParseTarget(text)
		if err == nil && network+" "+address != want || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %s %s, %v; want %s", text, network, address, err, want)
		}
	}
}

func TestParseFacility(t *testing.T) {
	for word, want := range map[string]int{"kern": 0, "authpriv": 10, "local0": 16, "local7": 23} {
		f, err := ParseFacility(word)
		if c := newComposer(Options{Facility: f}, ""); err != nil || c.facility != want {
			t.Errorf("%s: %v, %v", word, c.facility, err)
		}
	}
	if _, err := ParseFacility("local8"); err == nil || !strings.Contains(err.Error(), "local7") {
		t.Error(err)
	}
}

func TestMessage_allocatesNothing(t *testing.T) {
	p := frames(strings.Repeat("x", 300))
	line := []byte(`{"time":"2026-02-03T04:05:06.5Z","level":"WARN","msg":"a"}` + "\n")
	for _, o := range []Options{{}, {SD: true}, {Format: RFC3164}} {
		c := composed(o)
		if n := testutil.Allocs(100, func() { _ = c.access(p); c.event(line, at) }); n > 0 {
			t.Errorf("%+v: %v allocations", o, n)
		}
	}
}
