package observe

import (
	"errors"
	"io"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"strings"
	"sync"
	"testing"
	"testing/quick"
	"time"
	"unicode/utf8"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// frames is an output that takes records.
type frames struct {
	mu   sync.Mutex
	p    []byte
	most int // frames of equal length that a call takes; 0: all
	keep bool
}

func (f *frames) WriteRecords(p []byte) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, err := len(p), error(nil)
	if f.most > 0 {
		n, err = min(FrameLen(p)*f.most, len(p)), io.ErrShortWrite
	}
	if f.keep {
		f.p = append(f.p, p[:n]...)
	}
	return n, err
}

// full is a record with all members set, as far as their lengths allow.
func full() *Record {
	r := sample()
	r.RequestID, r.TraceID = []byte("a-1"), []byte(strings.Repeat("ab", 16))
	r.Reason, r.Encoding, r.Saved, r.SampleRate = "edge:timeout", "zstd", -3, "0.1"
	r.Cache = CacheUse{"hit", "stale", 12}
	r.TLSVersion, r.TLSGroup, r.SNI, r.ClientCert = "TLS 1.3", "X25519", "a.example", "CN=a"
	r.GRPC, r.GRPCStatus = true, 14
	r.Fields = []Field{{"retry", "budget"}, {"x", ""}}
	r.Members = []Member{{"tenant", []byte("a")}, {"none", nil}}
	r.Line = Line{FormatLogfmt, []byte(strings.Repeat("l", 2*TextMax))}
	r.Span = &Span{
		Trace: [16]byte{1}, ID: [8]byte{2}, Parent: [8]byte{3}, Flags: 3, State: []byte("a=1"), Name: []byte("GET x"),
		Pattern: "/a/*", Secured: true, Peer: netip.MustParseAddrPort("[2001:db8::1]:80"), Error: "connection_refused",
		Target: []byte("/b?c"), Attributes: []Member{{"a", []byte("b")}},
		Request: []Member{{"c", []byte("d")}}, Answer: []Member{{"e", nil}},
		Attempts: []Attempt{
			{ID: [8]byte{4}, Began: 1, Ended: 2, Number: 1, Backend: "a:1", Error: "connection_timeout", DNS: 5},
			{ID: [8]byte{5}, Began: 3, Ended: 4, Number: 2, Backend: "b:2", Secured: true, Proto: ProtoHTTP2,
				Status: 200, T: Timings{1, 2, 3, 4, 5}, Reused: true, Hedge: true},
		},
	}
	return r
}

func TestAppendRecord_readsBack(t *testing.T) {
	all := append(samples(), full(), &Record{})
	for i := range reflect.TypeFor[Record]().NumField() {
		if f := reflect.ValueOf(full()).Elem().Field(i); f.IsZero() && reflect.TypeFor[Record]().Field(i).IsExported() {
			t.Errorf("full leaves %s out", reflect.TypeFor[Record]().Field(i).Name)
		}
	}
	var p []byte
	for _, r := range all {
		p = AppendRecord(p, r)
	}
	var got Record
	for i, r := range all {
		var err error
		if p, err = ReadRecord(p, &got); err != nil {
			t.Fatal(i, err)
		}
		want := *r
		want.Path, want.UserAgent = cut(want.Path), cut(want.UserAgent)
		want.ClientIP = want.ClientIP.WithZone("")
		got.Fields, got.Members = orNil(got.Fields), orNil(got.Members)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%d:\n%+v\nwant\n%+v", i, got, want)
		}
	}
	if len(p) > 0 {
		t.Errorf("%d bytes are left", len(p))
	}
}

func orNil[T any](s []T) []T {
	if len(s) == 0 {
		return nil
	}
	return s
}

func cut(p []byte) []byte { return Cut(p, TextMax) }

// A record of texts and lists of any length makes a frame that is read back, with what fits.
func TestAppendRecord_anyLengths(t *testing.T) {
	check := func(path, line []byte, sni string, fields []Field, spanned bool, attempts uint8) bool {
		r := &Record{Path: path, SNI: sni, Fields: fields, Line: Line{Text: line}}
		if spanned {
			r.Span = &Span{Attempts: make([]Attempt, attempts)}
			for i := range r.Span.Attempts {
				r.Span.Attempts[i].Number = i + 1
			}
		}
		var got Record
		rest, err := ReadRecord(append(AppendRecord(nil, r), 1, 2, 3), &got)
		if err != nil || len(rest) != 3 || string(got.Path) != string(cut(path)) ||
			got.SNI != string(cut([]byte(sni))) ||
			len(got.Fields) != min(len(fields), FieldsMax) || (got.Span != nil) != spanned {
			return false
		}
		if !spanned || attempts == 0 {
			return true
		}
		last := got.Span.Attempts[len(got.Span.Attempts)-1].Number
		return len(got.Span.Attempts) == min(int(attempts), AttemptsMax) && last == int(attempts)
	}
	if err := quick.Check(check, &quick.Config{MaxCount: 500}); err != nil {
		t.Error(err)
	}
	long := strings.Repeat("ä", 200)
	if !check([]byte(long), make([]byte, LineMax), long, make([]Field, 99), true, 200) {
		t.Error("what is too long is not cut")
	}
	if p := Cut([]byte(long), TextMax-1); !utf8.Valid(p) {
		t.Errorf("%q is cut within a character", p)
	}
}

func FuzzReadRecord(f *testing.F) {
	whole := AppendRecord(nil, full())
	f.Add(whole)
	f.Add(whole[:len(whole)-1])
	f.Add([]byte{1, 0, 0, 0, 0})
	f.Add([]byte{0, 0, 0, 0})
	f.Fuzz(func(t *testing.T, p []byte) {
		var r Record
		rest, err := ReadRecord(p, &r)
		if err != nil {
			return
		}
		if len(rest) >= len(p) {
			t.Fatalf("nothing was read of %d bytes", len(p))
		}
		var again Record
		if _, err := ReadRecord(AppendRecord(nil, &r), &again); err != nil {
			t.Fatal(err)
		}
	})
}

// Cut anywhere, a frame is none; what has its length and other bytes in it is read as some record, or refused.
func TestReadRecord_malformed(t *testing.T) {
	whole, r := AppendRecord(nil, full()), &Record{}
	for n := range whole {
		if rest, err := ReadRecord(whole[:n], r); err != ErrFrame || rest != nil {
			t.Fatalf("%d of %d bytes are a frame: %v", n, len(whole), err)
		}
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 20_000 {
		p := append([]byte(nil), whole...)
		for range 3 {
			p[frameHead+random.IntN(len(p)-frameHead)] = byte(random.Uint32())
		}
		if _, err := ReadRecord(p, r); err != nil && err != ErrFrame {
			t.Fatal(err)
		}
	}
}

// Producers and one output of records: all that found room comes whole, however batches cut it.
func TestSink_records(t *testing.T) {
	out := &frames{keep: true}
	s := open(t, Options{Records: out, BatchBytes: 1, RingBytes: 1})
	const each, producers = 3000, 3
	logs := make([]*AccessLog, producers)
	var wait sync.WaitGroup
	for i := range logs {
		logs[i] = s.AccessLog(FormatCommon)
		wait.Go(func() {
			r := full()
			for n := range each {
				r.BytesIn, r.ClientPort = int64(n), uint16(i)
				r.Path = []byte(strings.Repeat("p", n%300))
				logs[i].Append(r)
			}
		})
	}
	wait.Wait()
	closeSink(t, s)
	var next [producers]int64
	var dropped, got uint64
	for _, l := range logs {
		dropped += l.Dropped()
	}
	for p := out.p; len(p) > 0; got++ {
		var r Record
		var err error
		if p, err = ReadRecord(p, &r); err != nil {
			t.Fatal(err)
		}
		if r.BytesIn < next[r.ClientPort] || len(r.Path) != min(int(r.BytesIn%300), TextMax) ||
			r.Line.Form != FormatCommon {
			t.Fatalf("record %d of producer %d, after %d", r.BytesIn, r.ClientPort, next[r.ClientPort])
		}
		next[r.ClientPort] = r.BytesIn + 1
	}
	if got+dropped != each*producers || got == 0 || s.Stats().Dropped != dropped {
		t.Errorf("%d came and %d were dropped, of %d", got, dropped, each*producers)
	}
}

// Records that the output does not take are lost, and counted to the one.
func TestSink_recordsRefused(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		out := &frames{keep: true, most: 2}
		s := open(t, Options{Records: out})
		a := s.AccessLog(FormatJSON)
		a.Append(full())
		pass(2 * time.Second)
		if st := s.Stats(); st.Lost != 0 || st.Errors != 1 { // an error without a loss
			t.Errorf("%+v", st)
		}
		for range 5 {
			a.Append(full())
		}
		pass(2 * time.Second)
		closeSink(t, s)
		if st := s.Stats(); st.Lost+st.Dropped == 0 || st.Lost != uint64(5-countFrames(t, out.p)+1) {
			t.Errorf("%+v, %d came", st, countFrames(t, out.p))
		}
	})
}

func countFrames(t *testing.T, p []byte) (n int) {
	t.Helper()
	for ; len(p) > 0; n++ {
		var err error
		if p, err = ReadRecord(p, &Record{}); errors.Is(err, ErrFrame) {
			t.Fatal(err)
		}
	}
	return n
}

func BenchmarkAppendRecord(b *testing.B) {
	r := sample()
	p := AppendRecord(nil, r)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		p = AppendRecord(p[:0], r)
	}
}

func BenchmarkAppendRecord_span(b *testing.B) {
	r := sample()
	r.Span = &Span{Pattern: "/assets/*", Attempts: []Attempt{{Backend: "10.0.0.11:8080", Number: 1}}}
	p := AppendRecord(nil, r)
	b.ReportAllocs()
	b.SetBytes(int64(len(p)))
	for b.Loop() {
		p = AppendRecord(p[:0], r)
	}
}

func BenchmarkReadRecord(b *testing.B) {
	p, r := AppendRecord(nil, sample()), &Record{}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ReadRecord(p, r); err != nil {
			b.Fatal(err)
		}
	}
}
