package observe

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"
	"weak"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// buffer is an output that is safe to look at while it is written to.
type buffer struct {
	mu    sync.Mutex
	b     bytes.Buffer
	calls int
	fail  error
	part  int // bytes taken by a call that fails
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fail != nil {
		n, _ := b.b.Write(p[:min(b.part, len(p))])
		return n, b.fail
	}
	return b.b.Write(p)
}

func (b *buffer) text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (b *buffer) setFail(err error, part int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fail, b.part = err, part
}

// pass lets the clock of a synctest bubble advance.
func pass(d time.Duration) { <-time.After(d) }

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

func open(t testing.TB, o Options) *Sink {
	t.Helper()
	if o.Events == nil {
		o.Events = quiet()
	}
	s, err := Open(o)
	testutil.Must(t, err)
	return s
}

func closeSink(t testing.TB, s *Sink) {
	t.Helper()
	testutil.Must(t, s.Close())
}

func wantText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %q, want %q", what, got, want)
	}
}

func TestSink_firstLineAtOnceOthersWithinFlush(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out buffer
		s := open(t, Options{Writer: &out})
		r := s.Ring()
		synctest.Wait()
		r.Write([]byte("a\n"))
		synctest.Wait()
		wantText(t, "after the first line", out.text(), "a\n")
		r.Write([]byte("b\n"))
		r.Write([]byte("c\n"))
		synctest.Wait()
		wantText(t, "within the second", out.text(), "a\n")
		testutil.Pass(time.Second)
		wantText(t, "a second later", out.text(), "a\nb\nc\n")
		if out.calls != 2 {
			t.Errorf("%d writes, want 2", out.calls)
		}
		testutil.Pass(10 * time.Second)
		if got := s.state.Load(); got != asleep {
			t.Errorf("idle sink is in state %d, want asleep", got)
		}
		r.Write([]byte("d\n"))
		synctest.Wait()
		wantText(t, "after a silence", out.text(), "a\nb\nc\nd\n")
		closeSink(t, s)
	})
}

// A ring that fills is emptied before the flush; what was in it is written when there is much of it, in pieces.
func TestSink_fullRingsAreGathered(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out buffer
		s := open(t, Options{Writer: &out, RingBytes: ringBytesMin})
		r := s.Ring()
		r.Write([]byte("first\n"))
		synctest.Wait()
		line := []byte(strings.Repeat("x", 1023) + "\n")
		pourBytes := s.writer.pourBytes()
		written, calls := 6, 1
		for n := 1; n <= pourBytes/len(line); n++ {
			if !r.Write(line) {
				t.Fatalf("dropped line %d", n)
			}
			if n%16 != 0 {
				continue
			}
			synctest.Wait()
			if r.holds() != 0 {
				t.Fatalf("%d bytes in the ring behind %d lines", r.holds(), n)
			}
			if n < pourBytes/len(line) && len(out.text()) != written {
				t.Fatalf("%d bytes written behind %d lines, want %d", len(out.text()), n, written)
			}
		}
		written, calls = written+pourBytes, calls+pourBytes/pieceBytes
		if got := len(out.text()); got != written || out.calls != calls {
			t.Errorf("%d bytes in %d writes, want %d in %d", got, out.calls, written, calls)
		}
		for range 16 {
			r.Write(line)
		}
		testutil.Pass(time.Second)
		if got, want := len(out.text()), written+16*len(line); got != want {
			t.Errorf("%d bytes within the time of flush, want %d", got, want)
		}
		closeSink(t, s)
	})
}

func TestSink_closeWritesAll(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := open(t, Options{Path: path})
	logs := []*AccessLog{s.AccessLog(FormatJSON), s.AccessLog(FormatCommon), s.AccessLog(FormatCombined)}
	for range 10 {
		for _, a := range logs {
			a.Append(sample())
		}
	}
	closeSink(t, s)
	closeSink(t, s)
	b := testutil.ReadFile(t, path)
	if n := bytes.Count(b, []byte{'\n'}); n != 30 {
		t.Errorf("%d lines, want 30", n)
	}
	if n := bytes.Count(b, []byte("{\"time\"")); n != 10 {
		t.Errorf("%d lines of JSON, want 10", n)
	}
	logs[0].Append(sample())
	if n := logs[0].Dropped(); n != 1 {
		t.Errorf("%d dropped after Close, want 1", n)
	}
}

func TestSink_reopen(t *testing.T) {
	path := filepath.Join(t.TempDir(), "access.log")
	s := open(t, Options{Path: path})
	r := s.Ring()
	for i := range 3 {
		r.Write(fmt.Appendf(nil, "line %d\n", i))
		testutil.Must(t, os.Rename(path, fmt.Sprintf("%s.%d", path, i)))
		testutil.Must(t, s.Reopen())
	}
	r.Write([]byte("last\n"))
	closeSink(t, s)
	for i := range 3 {
		b, _ := os.ReadFile(fmt.Sprintf("%s.%d", path, i))
		wantText(t, "rotated file", string(b), fmt.Sprintf("line %d\n", i))
	}
	b, _ := os.ReadFile(path)
	wantText(t, "new file", string(b), "last\n")
	if err := s.Reopen(); err != ErrClosed {
		t.Errorf("Reopen after Close: %v", err)
	}
}

func TestSink_reopenOfAWriter(t *testing.T) {
	s := open(t, Options{Writer: io.Discard})
	if err := s.Reopen(); err != ErrNoPath {
		t.Errorf("got %v, want ErrNoPath", err)
	}
	closeSink(t, s)
}

func TestSink_blockedOutputNeverBlocksProducer(t *testing.T) {
	in, out := io.Pipe()
	s := open(t, Options{Writer: out, RingBytes: ringBytesMin, CloseWait: testutil.Patience})
	const total = 20_000
	logs := []*AccessLog{s.AccessLog(FormatJSON), s.AccessLog(FormatJSON)}
	r := sample()
	for i := range total { // returns though nobody reads
		r.BytesOut = int64(i)
		logs[i%2].Append(r)
	}
	dropped := s.Stats().Dropped
	if dropped == 0 {
		t.Fatal("nothing dropped: the output did not block")
	}
	closed := make(chan error)
	go func() {
		err := s.Close()
		_ = out.Close()
		closed <- err
	}()
	read := uint64(0)
	last := [2]int64{-1, -1}
	for lines := bufio.NewScanner(in); lines.Scan(); read++ {
		var l line
		if err := json.Unmarshal(lines.Bytes(), &l); err != nil {
			t.Fatalf("%v in %q", err, lines.Text())
		}
		if l.BytesOut <= last[l.BytesOut%2] {
			t.Fatalf("%d after %d", l.BytesOut, last[l.BytesOut%2])
		}
		last[l.BytesOut%2] = l.BytesOut
	}
	testutil.Must(t, <-closed)
	if st := s.Stats(); read+st.Dropped != total || st.Lost != 0 || st.Dropped != dropped {
		t.Errorf("read %d, stats %+v, want %d in all", read, st, total)
	}
}

func TestSink_closeGivesUpOnBlockedOutput(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		in, out := io.Pipe()
		s := open(t, Options{Writer: out})
		s.Ring().Write([]byte("never read\n"))
		synctest.Wait()
		if err := s.Close(); err != ErrCloseWait {
			t.Errorf("got %v, want ErrCloseWait", err)
		}
		_ = in.Close()
		<-s.done
	})
}

func TestSink_failingOutput(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out, events buffer
		s := open(t, Options{Writer: &out, Events: slog.New(slog.NewTextHandler(&events, nil))})
		r := s.Ring()
		out.setFail(errors.New("disk full"), 3)
		for range 30 {
			r.Write([]byte("one\ntwo\n"))
			pass(2 * time.Second)
		}
		synctest.Wait()
		if st := s.Stats(); st.Lost != 60 || st.Dropped != 0 {
			t.Errorf("stats %+v, want 60 lost", st)
		}
		if n := strings.Count(events.text(), "disk full"); n != 1 {
			t.Errorf("reported %d times in a minute, want once: %s", n, events.text())
		}
		pass(time.Minute)
		out.setFail(nil, 0)
		r.Write([]byte("three\n"))
		synctest.Wait()
		if !strings.HasSuffix(out.text(), "one\nthree\n") {
			t.Errorf("got %q, want the torn line ended and the next one whole", out.text())
		}
		if !strings.Contains(events.text(), "lost=58") {
			t.Errorf("the rest was not reported: %s", events.text())
		}
		closeSink(t, s)
	})
}

// slow is an output that now and then lets others run before it returns, and checks each line.
type slow struct {
	t    *testing.T
	next map[int]int // the next sequence number of each producer
	got  int
}

func (s *slow) Write(p []byte) (int, error) {
	if p[len(p)-1] != '\n' {
		s.t.Error("a write that ends within a line")
	}
	for _, l := range bytes.Split(p[:len(p)-1], []byte{'\n'}) {
		var producer, seq, size int
		if _, err := fmt.Sscanf(string(l), "%d %d %d", &producer, &seq, &size); err != nil || len(l) != size {
			s.t.Errorf("%v: %d bytes in %q", err, len(l), l)
			return len(p), nil
		}
		if seq != s.next[producer] {
			s.t.Errorf("producer %d: got %d, want %d", producer, seq, s.next[producer])
		}
		s.next[producer] = seq + 1
		s.got++
		if seq%64 == 0 {
			runtime.Gosched()
		}
	}
	return len(p), nil
}

func TestSink_manyProducers(t *testing.T) {
	out := &slow{t: t, next: make(map[int]int)}
	s := open(t, Options{Writer: out, RingBytes: ringBytesMin, Flush: time.Millisecond})
	const producers, each = 4, 5000
	var wg sync.WaitGroup
	for p := range producers {
		r := s.Ring()
		wg.Go(func() {
			for seq := range each {
				size := 40 + (seq*seq*31+p)%3000
				var b []byte
				for b == nil {
					if b = r.Reserve(size + 1 + seq%500); b == nil { // more than is used
						runtime.Gosched()
					}
				}
				b = fmt.Appendf(b, "%d %d %d ", p, seq, size)
				for len(b) < size {
					b = append(b, '.')
				}
				b = append(b, '\n')
				r.Commit(len(b))
			}
		})
	}
	wg.Wait()
	closeSink(t, s)
	if out.got != producers*each {
		t.Errorf("%d lines, want %d", out.got, producers*each)
	}
}

func TestRing_againstAModel(t *testing.T) {
	s := &Sink{wake: make(chan struct{}, 1)}
	s.rings.Store(new([]*Ring))
	r := newRing(s, 64)
	var want []byte
	x := uint32(1)
	for i := range 200_000 {
		x = x*1664525 + 1013904223
		switch n := int(x>>20)%40 + 1; {
		case x>>31 == 0:
			before := r.Dropped()
			b := r.Reserve(n)
			if b == nil {
				if n <= 32 && len(want) == 0 {
					t.Fatalf("step %d: an empty ring has no room for %d", i, n)
				}
				if r.Dropped() != before+1 {
					t.Fatalf("step %d: the drop was not counted", i)
				}
				break
			}
			if len(b) != 0 || cap(b) != n {
				t.Fatalf("step %d: reserved %d, %d for %d", i, len(b), cap(b), n)
			}
			use := n - int(x>>10)%n
			for range use {
				b = append(b, byte(len(want)+len(b)+i))
			}
			if x>>5%8 != 0 { // else: reserved and let go
				r.Commit(use)
				want = append(want, b...)
			}
		default:
			got := r.peek()
			if len(want) > 0 && len(got) == 0 || !bytes.HasPrefix(want, got) {
				t.Fatalf("step %d: got %v, want the front of %v", i, got, want)
			}
			r.advance(len(got))
			want = want[len(got):]
		}
		if r.holds() > r.size {
			t.Fatalf("step %d: %d of %d taken", i, r.holds(), r.size)
		}
	}
}

// The smallest ring, so that a lap, a gap and a full ring come every few lines.
func TestRing_twoGoroutines(t *testing.T) {
	s := &Sink{wake: make(chan struct{}, 1)}
	r := newRing(s, 64)
	const total = 1 << 20
	go func() {
		x := uint32(1)
		for sent := 0; sent < total; {
			x = x*1664525 + 1013904223
			n := min(int(x>>20)%20+1, total-sent)
			b := r.Reserve(n)
			if b == nil {
				runtime.Gosched()
				continue
			}
			for range n {
				b = append(b, byte(sent%251))
				sent++
			}
			r.Commit(n)
		}
	}()
	for got := 0; got < total; {
		p := r.peek()
		if len(p) == 0 {
			runtime.Gosched()
			continue
		}
		for _, c := range p {
			if c != byte(got%251) {
				t.Fatalf("byte %d: got %d, want %d", got, c, byte(got%251))
			}
			got++
		}
		r.advance(len(p))
	}
}

// No timer comes to the rescue here: each line fills a quarter of the ring, and is appended while
// the writer is on its way from the last one to sleep.
func TestSink_noWakeUpIsLost(t *testing.T) {
	s := open(t, Options{Writer: io.Discard, RingBytes: ringBytesMin, Flush: time.Hour})
	r := s.Ring()
	line := append(bytes.Repeat([]byte{'x'}, ringBytesMin/4), '\n')
	deadline := time.NewTimer(testutil.Patience)
	for i := range testutil.RaceRounds(20_000) {
		deadline.Reset(testutil.Patience)
		if !r.Write(line) {
			t.Fatalf("round %d: no room", i)
		}
		for r.holds() > 0 {
			select {
			case <-deadline.C:
				t.Fatalf("round %d: the writer sleeps in state %d", i, s.state.Load())
			default:
				runtime.Gosched()
			}
		}
	}
	closeSink(t, s)
}

func TestRing_commitNeedsReserve(t *testing.T) {
	s := open(t, Options{Writer: io.Discard})
	defer closeSink(t, s)
	r := s.Ring()
	r.Commit(len(append(r.Reserve(10), "line\n"...)))
	testutil.Panics(t, "a second Commit", func() { r.Commit(1) })
}

func TestRing_sizeKeepsNeighboursApart(t *testing.T) {
	// The allocator aligns objects of 128 bytes to 128: two rings share no pair of cache lines.
	if n := unsafe.Sizeof(Ring{}); n != 128 {
		t.Errorf("%d bytes, want 128", n)
	}
}

func TestAccessLog_allocatesNothing(t *testing.T) {
	s := open(t, Options{Writer: io.Discard})
	defer closeSink(t, s)
	framed := open(t, Options{Records: &frames{}})
	defer closeSink(t, framed)
	for name, a := range map[string]*AccessLog{
		"JSON": s.AccessLog(FormatJSON), "logfmt": s.AccessLog(FormatLogfmt), "records": framed.AccessLog(FormatJSON),
	} {
		r := sample()
		r.Members, r.Span = []Member{{"tenant", []byte("a")}}, &Span{Attempts: make([]Attempt, 1)}
		a.Append(r) // makes room
		if n := testutil.Allocs(1000, func() { a.Append(r) }); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

// room waits for the writer when the ring is half full, so that nothing is dropped and the time
// of a bench is that of producer and writer together.
func room(r *Ring) {
	for r.tail.Load()-r.head.Load() > r.size/2 {
		runtime.Gosched()
	}
}

// All that a record costs: encoding, the ring, the writer and its write to a file.
func BenchmarkAccessLog_append(b *testing.B) {
	for _, path := range []string{os.DevNull, filepath.Join(b.TempDir(), "access.log")} {
		b.Run(filepath.Base(path), func(b *testing.B) {
			s := open(b, Options{Path: path})
			a, r := s.AccessLog(FormatJSON), sample()
			b.ReportAllocs()
			for b.Loop() {
				r.Time += 10_000
				a.Append(r)
				room(a.ring)
			}
			closeSink(b, s)
			st := s.Stats()
			b.ReportMetric(float64(st.Dropped)/float64(b.N), "dropped/op")
			b.ReportMetric(float64(st.Writes)/float64(b.N), "writes/op")
		})
	}
}

func BenchmarkRing_write(b *testing.B) {
	s := open(b, Options{Writer: io.Discard})
	r := s.Ring()
	line := []byte(strings.Repeat("x", 399) + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		r.Write(line)
		room(r)
	}
	closeSink(b, s)
	b.ReportMetric(float64(s.Stats().Dropped)/float64(b.N), "dropped/op")
}

func BenchmarkRing_baselineChannel(b *testing.B) {
	lines := make(chan []byte, 512)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for l := range lines {
			_, _ = io.Discard.Write(l)
		}
	}()
	line := []byte(strings.Repeat("x", 399) + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		lines <- bytes.Clone(line)
	}
	close(lines)
	<-done
}

func BenchmarkRing_baselineMutexBuffer(b *testing.B) {
	var mu sync.Mutex
	w := bufio.NewWriterSize(io.Discard, 64<<10)
	line := []byte(strings.Repeat("x", 399) + "\n")
	b.SetBytes(int64(len(line)))
	b.ReportAllocs()
	for b.Loop() {
		mu.Lock()
		_, _ = w.Write(line)
		mu.Unlock()
	}
}

// leisurely is an output that takes its time.
type leisurely struct{ perPiece time.Duration }

func (l leisurely) Write(p []byte) (int, error) {
	pass(time.Duration(len(p)) * l.perPiece / pieceBytes)
	return len(p), nil
}

// An output that is a little faster than what is appended loses nothing, however long it takes for all that was
// gathered.
func TestSink_slowOutputKeepsUp(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		s := open(t, Options{Writer: leisurely{10 * time.Millisecond}})
		r := s.Ring()
		line := []byte(strings.Repeat("x", 1023) + "\n")
		for range 4 * batchBytes / (7 * 8 << 10) {
			for range 7 * 8 { // seven eighths of what it takes
				if !r.Write(line) {
					t.Fatalf("dropped with %d bytes in the ring", r.holds())
				}
			}
			pass(10 * time.Millisecond)
		}
		closeSink(t, s)
	})
}

// overCounter is a RecordWriter that says that it took a part of a frame.
type overCounter struct{}

func (overCounter) WriteRecords(p []byte) (int, error) { return FrameLen(p) + 1, io.ErrShortWrite }

// A count that ends within a frame, which a writer of a module may return, is taken for the whole frames before it.
func TestSink_countWithinFrame(t *testing.T) {
	s := open(t, Options{Records: overCounter{}, Events: slog.New(slog.DiscardHandler)})
	log := s.AccessLog(FormatJSON)
	for range 3 {
		log.Append(&Record{Path: []byte("/" + strings.Repeat("a", 200))})
	}
	testutil.Must(t, s.Sync())
	if st := s.Stats(); st.Lost != 3-st.Writes { // each write takes one record
		t.Errorf("%d records are lost of 3 in %d writes", st.Lost, st.Writes)
	}
	closeSink(t, s)
}

// The counters of a Sink are read for as long as there are any; its rings and lines go with it.
func TestSink_closedHasCountersAlone(t *testing.T) {
	var registry Registry
	register := func() (gone func() bool) {
		s, err := Open(Options{Writer: io.Discard})
		testutil.Must(t, err)
		s.Register(&registry, Label{Name: "output", Value: "a"})
		r, lines := s.Ring(), s.Lines()
		r.Write([]byte("a line\n"))
		_, _ = lines.Write([]byte("another\n"))
		closeSink(t, s)
		r.Write([]byte("too late\n"))
		waits, taken := weak.Make(&r.buf[0]), cap(lines.waiting)+cap(lines.taken)
		return func() bool { return waits.Value() == nil && taken == 0 }
	}
	gone := register()
	testutil.Eventually(t, testutil.Patience, func() bool {
		runtime.GC()
		return gone()
	}, "a ring is freed")
	want := map[string]float64{"edge_log_bytes_total": 15, "edge_log_dropped_total": 1}
	registry.Each(func(s Sample) {
		if n, known := want[s.Name]; known && n != s.Value {
			t.Errorf("%s %v, want %v", s.Name, s.Value, n)
		}
	})
}

// A log may be a pipe, but nobody waits for its reader.
func TestOpenFile_pipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	testutil.Must(t, syscall.Mkfifo(path, 0o600))
	if f, err := OpenFile(path); !errors.Is(err, syscall.ENXIO) {
		t.Fatal(f, err)
	}
	r, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	testutil.Must(t, err)
	defer r.Close()
	w, err := OpenFile(path)
	testutil.Must(t, err)
	defer w.Close()
	if _, err := io.WriteString(w, "line\n"); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(r).ReadString('\n'); line != "line\n" {
		t.Errorf("%q %v", line, err)
	}
}
