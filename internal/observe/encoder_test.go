package observe

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"io/fs"
	"log/slog"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

var update = flag.Bool("update", false, "write the golden files anew")

const browser = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) " +
	"Chrome/126.0.0.0 Safari/537.36"

func sample() *Record {
	return &Record{
		Time: time.Date(2026, 1, 2, 3, 4, 5, 678901234, time.UTC).UnixNano(),
		ID: [16]byte{
			0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0xf0, 0xe1, 0xd2, 0xc3, 0xb4, 0xa5, 0x96, 0x87,
		},
		Listener:   "web",
		ClientIP:   netip.MustParseAddr("203.0.113.77"),
		ClientPort: 51234,
		Proto:      ProtoHTTP11,
		Method:     []byte("GET"), Host: []byte("www.example.org"),
		Path: []byte("/assets/app/main.css"), Query: []byte("v=20260102&theme=dark"),
		Route: "assets", Upstream: "api", Backend: "10.0.0.11:8080",
		Status: 200, BytesIn: 652, BytesOut: 16384,
		Dur:      1_234_567,
		T:        Timings{Connect: 0, Queue: 0, FirstByte: 1_100_000, Body: 98_765},
		Attempts: 1, Reused: true,
		UserAgent: []byte(browser), Referer: []byte("https://www.example.org/"),
	}
}

func samples() []*Record {
	refused := &Record{
		Time: sample().Time, Listener: "plain", ClientIP: netip.MustParseAddr("2001:db8::7%eth0"),
		Status: 400, Reason: "down-head", BytesOut: 120,
	}
	hostile := sample()
	hostile.Proto, hostile.ClientIP = ProtoHTTP2, netip.MustParseAddr("::ffff:192.0.2.1")
	hostile.Path = []byte("/a\"b\\c\nd\x00\x7f\xff/ä/\u2028\u0085/\t" + strings.Repeat("x", 300))
	hostile.UserAgent = []byte("\x1b[31mred\" 200 1 \"-")
	hostile.Referer = nil
	hostile.Reason, hostile.Status, hostile.Attempts, hostile.Reused = "up-first_byte-timeout", 504, 3, false
	hostile.Dur, hostile.BytesOut = -5, 0
	unix := &Record{
		Time: -1, Listener: "local", Proto: ProtoHTTP10, Method: []byte("HEAD"), Path: []byte("/"),
		Status: 204, Dur: math.MaxInt64, BytesIn: math.MinInt64, BytesOut: math.MaxInt64,
	}
	call := sample()
	call.SampleRate = "0.1"
	call.Fields = []Field{{"tenant", "a\"b"}, {"note", "x\n"}}
	call.Proto, call.GRPC, call.GRPCStatus = ProtoHTTP2, true, 14
	call.TLSVersion, call.TLSGroup, call.SNI, call.ClientCert = "TLS 1.3", "X25519", "www.example.org", "CN=a\r\nb\""
	hit := sample()
	hit.Upstream, hit.Backend, hit.Attempts, hit.Reused = "", "", 0, false
	hit.Cache.Status, hit.Cache.Reason, hit.Cache.Age = "hit", "", 12
	conn := sample()
	conn.Proto, conn.Method, conn.Host, conn.Path, conn.Query = ProtoTCP, nil, nil, nil, nil
	conn.Listener, conn.Reason = "d\"b\n", "backend:reset"
	miss := sample()
	miss.Cache.Status, miss.Cache.Reason, miss.Cache.Age = "miss", "set-cookie", -1
	miss.Encoding, miss.Saved = "zstd", 12_345
	return []*Record{sample(), refused, hostile, unix, call, hit, miss, conn}
}

// Lines of JSON, and lines of the Common Log Format, name each version of HTTP.
func TestProto_names(t *testing.T) {
	for proto, want := range map[uint8][2]string{
		ProtoHTTP10: {"HTTP/1.0", "HTTP/1.0"}, ProtoHTTP11: {"HTTP/1.1", "HTTP/1.1"},
		ProtoHTTP2: {"HTTP/2", "HTTP/2.0"},
		ProtoHTTP3: {"HTTP/3", "HTTP/3.0"}, ProtoTCP: {"TCP", "TCP"}, 0: {"-", "-"},
	} {
		if got := [2]string{protoName(proto), protoText(proto)}; got != want {
			t.Errorf("%d: %q, not %q", proto, got, want)
		}
	}
}

// Characters that nobody sees make two texts that look alike.
func TestEscapeJSON_charactersThatDoNotShow(t *testing.T) {
	const hidden, want = "a\u200bd\ufeffm\U000e0001i\u2066n\u00ad", `a\u200bd\ufeffm\udb40\udc01i\u2066n\u00ad`
	got := EscapeJSON(nil, []byte(hidden))
	if string(got) != want {
		t.Errorf("%s, want %s", got, want)
	}
	var decoded string
	if err := json.Unmarshal([]byte(`"`+string(got)+`"`), &decoded); err != nil || decoded != hidden {
		t.Errorf("%q, %v", decoded, err)
	}
}

func TestEncoder_golden(t *testing.T) {
	for name, encode := range map[string]func(*Encoder, []byte, *Record) []byte{
		"json": (*Encoder).AppendJSON, "common": (*Encoder).AppendCommon, "combined": (*Encoder).AppendCombined,
		"timed": (*Encoder).AppendTimed, "logfmt": (*Encoder).AppendLogfmt,
	} {
		t.Run(name, func(t *testing.T) {
			var e Encoder
			var got []byte
			for _, r := range samples() {
				got = encode(&e, got, r)
			}
			file := filepath.Join("testdata", name+".golden")
			if *update {
				testutil.Must(t, os.WriteFile(file, got, 0o644))
			}
			want := testutil.ReadFile(t, file)
			if !bytes.Equal(got, want) {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
		})
	}
}

// line is how a reader of the JSON form sees a record.
type line struct {
	Time       time.Time `json:"time"`
	ID         string    `json:"id"`
	Trace      string    `json:"trace_id,omitempty"`
	Listener   string    `json:"listener"`
	ClientIP   string    `json:"client_ip"`
	ClientPort uint16    `json:"client_port"`
	Proto      string    `json:"proto"`
	Method     string    `json:"method"`
	Host       string    `json:"host"`
	Path       string    `json:"path"`
	Query      string    `json:"query,omitempty"`
	Route      string    `json:"route,omitempty"`
	Status     int       `json:"status"`
	Reason     string    `json:"reason,omitempty"`
	BytesIn    int64     `json:"bytes_in"`
	BytesOut   int64     `json:"bytes_out"`
	Dur        float64   `json:"dur_ms"`
	T          lineTimes `json:"t"`
	Upstream   string    `json:"upstream,omitempty"`
	Backend    string    `json:"backend,omitempty"`
	Attempts   int       `json:"attempts"`
	Reused     bool      `json:"reused"`
	UserAgent  string    `json:"user_agent,omitempty"`
	Referer    string    `json:"referer,omitempty"`
	Cache      string    `json:"cache,omitempty"`
	Because    string    `json:"cache_reason,omitempty"`
	Age        *int      `json:"cache_age,omitempty"`
	Encoding   string    `json:"encoding,omitempty"`
	Saved      *int64    `json:"bytes_saved,omitempty"`
	Call       int       `json:"grpc_status,omitempty"`
	Rate       float64   `json:"sample_rate,omitempty"`
	TLS        string    `json:"tls_version,omitempty"`
	Group      string    `json:"tls_group,omitempty"`
	SNI        string    `json:"sni,omitempty"`
	Cert       string    `json:"client_cert,omitempty"`
	Tenant     string    `json:"tenant,omitempty"`
	Note       string    `json:"note,omitempty"`
}

type lineTimes struct {
	Queue     float64 `json:"queue"`
	Connect   float64 `json:"connect"`
	FirstByte float64 `json:"first_byte"`
	Body      float64 `json:"body"`
	TLS       float64 `json:"tls,omitempty"`
}

// expected encodes r by encoding/json: the model of AppendJSON.
func expected(t testing.TB, r *Record) line {
	text := func(p []byte) string {
		if len(p) > TextMax {
			cut := TextMax
			for cut > TextMax-utf8.UTFMax && !utf8.RuneStart(p[cut]) {
				cut--
			}
			if cut == TextMax-utf8.UTFMax { // a character that begins here ends before TextMax
				cut = TextMax
			}
			p = p[:cut]
		}
		return string(p)
	}
	millis := func(ns int64) float64 { return float64(max(ns, 0)/1000) / 1000 }
	ip := ""
	if r.ClientIP.IsValid() {
		ip = r.ClientIP.Unmap().WithZone("").String()
	}
	l := line{
		Time: time.Unix(0, r.Time).UTC().Truncate(time.Microsecond), ID: fmt.Sprintf("%x", r.ID),
		Listener: text([]byte(r.Listener)), ClientIP: ip, ClientPort: r.ClientPort, Proto: protoName(r.Proto),
		Method: text(r.Method), Host: text(r.Host), Path: text(r.Path), Query: text(r.Query),
		Route: text([]byte(r.Route)), Status: r.Status, Reason: text([]byte(r.Reason)),
		BytesIn: r.BytesIn, BytesOut: r.BytesOut, Dur: millis(r.Dur),
		T: lineTimes{millis(r.T.Queue), millis(r.T.Connect), millis(r.T.FirstByte), millis(r.T.Body),
			millis(r.T.TLS)},
		Upstream: text([]byte(r.Upstream)), Backend: text([]byte(r.Backend)),
		Attempts: r.Attempts, Reused: r.Reused, UserAgent: text(r.UserAgent), Referer: text(r.Referer),
	}
	if len(r.RequestID) > 0 {
		l.ID = text(r.RequestID)
	}
	if r.Proto == ProtoTCP { // there is no request
		l.Method, l.Host, l.Path, l.Query = "", "", "", ""
	}
	l.Trace = text(r.TraceID)
	if r.GRPC {
		l.Call = r.GRPCStatus
	}
	if l.Cache = text([]byte(r.Cache.Status)); r.Cache.Status != "" {
		if l.Because = text([]byte(r.Cache.Reason)); r.Cache.Age >= 0 {
			l.Age = &r.Cache.Age
		}
	}
	if l.Encoding = text([]byte(r.Encoding)); r.Encoding != "" {
		l.Saved = &r.Saved
	}
	if r.SampleRate != "" {
		l.Rate, _ = strconv.ParseFloat(r.SampleRate, 64)
	}
	if r.TLSVersion != "" || r.SNI != "" {
		l.TLS, l.Group, l.SNI, l.Cert = r.TLSVersion, r.TLSGroup, r.SNI, text([]byte(r.ClientCert))
	}
	for _, f := range r.Fields {
		*map[string]*string{"tenant": &l.Tenant, "note": &l.Note}[f.Name] = f.Value
	}
	b, err := json.Marshal(l)
	testutil.Must(t, err)
	return decode(t, b)
}

func decode(t testing.TB, b []byte) (l line) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&l); err != nil {
		t.Fatalf("%v in %q", err, b)
	}
	return l
}

func checkJSON(t testing.TB, r *Record) {
	var e Encoder
	got := e.AppendJSON(nil, r)
	if !json.Valid(got) || !utf8.Valid(got) {
		t.Fatalf("not JSON: %q", got)
	}
	steers := func(c rune) bool { return c < ' ' || 0x7f <= c && c < 0xa0 || unicode.Is(unicode.Cf, c) }
	if n := bytes.IndexFunc(got, steers); n != len(got)-1 {
		t.Fatalf("control character at %d of %d: %q", n, len(got), got)
	}
	if len(got) > RecordMax {
		t.Fatalf("%d bytes, more than RecordMax", len(got))
	}
	if l, want := decode(t, got), expected(t, r); !reflect.DeepEqual(l, want) {
		t.Fatalf("got  %+v\nwant %+v", l, want)
	}
}

func TestEncoder_jsonReadsBack(t *testing.T) {
	for _, r := range samples() {
		checkJSON(t, r)
	}
}

func FuzzEncoder_json(f *testing.F) {
	f.Add([]byte("/a\"b\\\xff\u2028\u202egpj"), []byte("curl/8"), "web",
		int64(1767323045678901234), int64(12345), []byte{127, 0, 0, 1})
	f.Add(bytes.Repeat([]byte("ä"), 200), []byte("\x80\x80"), "", int64(-1), int64(-1), make([]byte, 16))
	f.Add([]byte(strings.Repeat("ä", 127)+strings.Repeat("\xab", 9)), []byte{}, "", int64(0), int64(0), []byte{})
	f.Fuzz(func(t *testing.T, path, agent []byte, name string, at, n int64, ip []byte) {
		addr, _ := netip.AddrFromSlice(ip)
		if len(name) > 0 && addr.Is6() {
			addr = addr.WithZone(name)
		}
		r := &Record{
			Time: at, Listener: name, ClientIP: addr, ClientPort: uint16(n), Proto: uint8(n),
			Method: agent, Host: path, Path: path, Query: agent, Route: name, Upstream: name, Backend: name,
			Status: int(n), Reason: name, BytesIn: n, BytesOut: -n, Dur: n,
			T: Timings{n / 3, n / 5, n / 7, n / 11, n / 13}, Attempts: int(n), Reused: n%2 == 0,
			UserAgent: agent, Referer: path, RequestID: path, TraceID: agent,
			Cache: CacheUse{name, string(agent), int(n)}, Encoding: name, Saved: n,
		}
		copy(r.ID[:], path)
		checkJSON(t, r)
		var e Encoder
		for _, b := range [][]byte{e.AppendCommon(nil, r), e.AppendCombined(nil, r)} {
			if bytes.ContainsFunc(b[:len(b)-1], func(c rune) bool { return c < ' ' || c > '~' }) || len(b) > RecordMax {
				t.Fatalf("not plain ASCII: %q", b)
			}
			if quotes := bytes.Count(b, []byte{'"'}); quotes != 2 && quotes != 6 {
				t.Fatalf("%d quotes in %q", quotes, b)
			}
		}
	})
}

func TestEncoder_longestRecordFits(t *testing.T) {
	bad := bytes.Repeat([]byte{0xff}, 2*TextMax)
	r := &Record{
		Time: math.MinInt64, Listener: string(bad), Route: string(bad), Upstream: string(bad), Backend: string(bad),
		Reason: string(bad), Method: bad, Host: bad, Path: bad, Query: bad, UserAgent: bad, Referer: bad,
		Cache:    CacheUse{string(bad), string(bad), math.MaxInt64},
		Encoding: string(bad), Saved: math.MinInt64,
		RequestID:  bad,
		TraceID:    bad,
		ClientIP:   netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
		ClientPort: math.MaxUint16, Status: math.MinInt64, Attempts: math.MinInt64,
		BytesIn: math.MinInt64, BytesOut: math.MinInt64, Dur: math.MaxInt64,
		T: Timings{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64},
	}
	checkJSON(t, r)
	var e Encoder
	if n := len(e.AppendCombined(nil, r)); n > RecordMax {
		t.Errorf("combined: %d bytes", n)
	}
}

func TestEncoder_secondChanges(t *testing.T) {
	var e Encoder
	for _, at := range []int64{0, 999_999_999, 1_000_000_000, 0, -1, -1_000_000_000, -1_000_000_001, 1767323045e9} {
		r := &Record{Time: at}
		if got, want := decode(t, e.AppendJSON(nil, r)), expected(t, r); got.Time != want.Time {
			t.Errorf("%d: got %v, want %v", at, got.Time, want.Time)
		}
		want := time.Unix(0, at).UTC().Format("[02/Jan/2006:15:04:05 -0700]")
		if got := e.AppendCommon(nil, r); !strings.Contains(string(got), want) {
			t.Errorf("%d: got %s, want %s", at, got, want)
		}
	}
}

func TestPlain_everyByteAtEveryPlace(t *testing.T) {
	for size := 1; size <= 50; size++ {
		for at := range size {
			for c := range 256 {
				p := bytes.Repeat([]byte{' '}, size)
				p[at] = byte(c)
				want := c >= 0x20 && c < 0x7f && c != '"' && c != '\\'
				if plain(p) != want {
					t.Fatalf("byte %#x at %d of %d: got %v", c, at, size, !want)
				}
			}
		}
	}
}

func TestAppendUint_edges(t *testing.T) {
	for v := uint64(1); v != 0 && v < math.MaxUint64/10; v *= 10 {
		for _, n := range []uint64{v - 1, v, v + 1, 5 * v} {
			if got, want := string(appendUint(nil, n)), fmt.Sprint(n); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	}
	if got := string(appendInt(nil, math.MinInt64)); got != fmt.Sprint(math.MinInt64) {
		t.Errorf("got %s", got)
	}
}

func TestEncoder_allocatesNothing(t *testing.T) {
	var e Encoder
	dst := make([]byte, 0, RecordMax)
	all := samples()
	if n := testutil.Allocs(100, func() {
		for _, r := range all {
			_ = e.AppendJSON(dst, r)
			_ = e.AppendCommon(dst, r)
			_ = e.AppendCombined(dst, r)
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func benchEncoder(b *testing.B, encode func(*Encoder, []byte, *Record) []byte) {
	var e Encoder
	dst := make([]byte, 0, RecordMax)
	r := sample()
	b.SetBytes(int64(len(encode(&e, dst, r))))
	b.ReportAllocs()
	for b.Loop() {
		r.Time += 10_000 // a second passes every 100 000 records
		dst = encode(&e, dst[:0], r)
	}
}

func BenchmarkEncoder_json(b *testing.B)     { benchEncoder(b, (*Encoder).AppendJSON) }
func BenchmarkEncoder_common(b *testing.B)   { benchEncoder(b, (*Encoder).AppendCommon) }
func BenchmarkEncoder_combined(b *testing.B) { benchEncoder(b, (*Encoder).AppendCombined) }

func BenchmarkEncoder_jsonSmall(b *testing.B) {
	var e Encoder
	dst := make([]byte, 0, RecordMax)
	r := sample()
	r.Query, r.Referer, r.UserAgent, r.Path = nil, nil, []byte("curl/8.5.0"), []byte("/")
	b.ReportAllocs()
	for b.Loop() {
		dst = e.AppendJSON(dst[:0], r)
	}
}

type discard struct{}

func (discard) Write(p []byte) (int, error) { return len(p), nil }

func BenchmarkEncoder_baselineEncodingJSON(b *testing.B) {
	l := expected(b, sample())
	enc := json.NewEncoder(discard{})
	b.ReportAllocs()
	for b.Loop() {
		testutil.Must(b, enc.Encode(&l))
	}
}

func BenchmarkEncoder_baselineSlog(b *testing.B) {
	log := slog.New(slog.NewJSONHandler(discard{}, nil))
	l := expected(b, sample())
	b.ReportAllocs()
	for b.Loop() {
		log.LogAttrs(b.Context(), slog.LevelInfo, "", slog.String("id", l.ID), slog.String("listener", l.Listener),
			slog.String("client_ip", l.ClientIP), slog.Int("client_port", int(l.ClientPort)),
			slog.String("proto", l.Proto),
			slog.String("method", l.Method), slog.String("host", l.Host), slog.String("path", l.Path),
			slog.String("query", l.Query), slog.String("route", l.Route), slog.Int("status", l.Status),
			slog.Int64("bytes_in", l.BytesIn), slog.Int64("bytes_out", l.BytesOut), slog.Float64("dur_ms", l.Dur),
			slog.Group("t", slog.Float64("queue", l.T.Queue), slog.Float64("connect", l.T.Connect),
				slog.Float64("first_byte", l.T.FirstByte), slog.Float64("body", l.T.Body)),
			slog.String("upstream", l.Upstream), slog.String("backend", l.Backend), slog.Int("attempts", l.Attempts),
			slog.Bool("reused", l.Reused), slog.String("user_agent", l.UserAgent), slog.String("referer", l.Referer))
	}
}

// Text that an Encoder remembers of one record never appears in another.
func TestEncoder_namesChange(t *testing.T) {
	var e Encoder
	names := []string{"", "a", `"b"`, "", "a", strings.Clone("a"), "ab", "\xff", "c"}
	for i, n := range names {
		r := sample()
		r.Listener, r.Route, r.Upstream, r.Backend = n, names[(i+1)%len(names)], n+n, names[(i+4)%len(names)]
		got, want := string(e.AppendJSON(nil, r)), string(new(Encoder).AppendJSON(nil, r))
		wantText(t, fmt.Sprintf("record %d", i), got, want)
		if !json.Valid([]byte(got)) {
			t.Errorf("record %d: %s", i, got)
		}
	}
}

func TestAppendIP_everyOctet(t *testing.T) {
	for i := range 256 {
		ip := netip.AddrFrom4([4]byte{byte(i), byte(i + 1), byte(255 - i), byte(i * 7)})
		wantText(t, "address", string(AppendIP([]byte("a"), ip)), "a"+ip.String())
	}
}

// A configuration adds no member that a line has already: those of records, and those that edge adds to them.
func TestHasMember_allThatLinesHave(t *testing.T) {
	want := make(map[string]bool)
	model := reflect.TypeFor[line]()
	for i := range model.NumField() {
		name, _, _ := strings.Cut(model.Field(i).Tag.Get("json"), ",")
		want[name] = true
	}
	delete(want, "tenant") // Fields of the samples
	delete(want, "note")
	noted := regexp.MustCompile(`\.LogField\("(\w+)"`)
	for _, folder := range []string{"../../proxy", "../filter", "../forward"} {
		err := filepath.WalkDir(folder, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			for _, found := range noted.FindAllSubmatch(text, -1) {
				want[string(found[1])] = true
			}
			return err
		})
		testutil.Must(t, err)
	}
	if !want["sample_rate"] || !want["hedge"] {
		t.Fatalf("found %v", want)
	}
	for name := range want {
		if !HasMember(name) || !HasMember(strings.ToUpper(name)) {
			t.Errorf("%q is no member", name)
		}
	}
	if len(members) != len(want) {
		t.Errorf("%d members, lines have %d", len(members), len(want))
	}
}

// A line of the largest record with all members that a configuration may add finds room in a ring.
func TestLineMax_fitsIntoARing(t *testing.T) {
	s, err := Open(Options{Path: os.DevNull})
	testutil.Must(t, err)
	defer func() { _ = s.Close() }()
	a := s.AccessLog(FormatJSON)
	if a.AppendLine(make([]byte, LineMax)); a.Dropped() != 0 {
		t.Errorf("a line of %d bytes is dropped", LineMax)
	}
}
