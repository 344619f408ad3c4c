package observe

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

func notice(dropped, refused uint64, err error) []byte {
	return fmt.Appendf(nil, "missing %d %d %v\n", dropped, refused, err)
}

// readNumbers reads numbered lines and notices to the end, and fails unless each number that is missing is told where
// it would be.
func readNumbers(t *testing.T, in io.Reader, total int) (told int) {
	t.Helper()
	next := 0
	for lines := bufio.NewScanner(in); lines.Scan(); {
		var n, dropped int
		if k, _ := fmt.Sscanf(lines.Text(), "missing %d 0 <nil>", &dropped); k == 1 {
			next, told = next+dropped, told+dropped
			continue
		}
		if _, err := fmt.Sscanf(lines.Text(), "line %d", &n); err != nil || n != next {
			t.Fatalf("%.40q, want line %d", lines.Text(), next)
		}
		next++
	}
	if next != total {
		t.Errorf("told of %d lines, want %d", next, total)
	}
	return told
}

// The output stalls and goes on at random: no line is missing without a notice in its place.
func TestLines_missingOnesAreToldInTheirPlace(t *testing.T) {
	for _, long := range []int{20, 1000, 30_000} {
		t.Run(fmt.Sprint(long), func(t *testing.T) {
			total := min(20_000, 8<<20/long)
			in, out := io.Pipe()
			s := open(t, Options{Writer: out, RingBytes: ringBytesMin, BatchBytes: pieceBytes, Notice: notice,
				Flush: time.Millisecond, CloseWait: testutil.Patience})
			l := s.Lines()
			gate, told := make(chan struct{}), make(chan int)
			go func() {
				<-gate
				told <- readNumbers(t, in, total)
			}()
			pad := strings.Repeat("x", long)
			for i := range total {
				fmt.Fprintf(l, "line %d %s\n", i, pad)
				if i == total/2 {
					close(gate)
				}
				if i%100 == 0 {
					runtime.Gosched()
				}
			}
			closeSink(t, s)
			_ = out.Close()
			st := s.Stats()
			if got := uint64(<-told); got == 0 || got != st.Dropped || got != st.Told || st.Lost != 0 {
				t.Errorf("told of %d, stats %+v", got, st)
			}
		})
	}
}

// The notice of missing lines comes as soon as the output is read again, though no line follows.
func TestLines_noticeNeedsNoOtherLine(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		in, out := io.Pipe()
		s := open(t, Options{Writer: out, RingBytes: ringBytesMin, BatchBytes: pieceBytes, Notice: notice})
		l := s.Lines()
		total := 0
		for s.Stats().Dropped == 0 {
			fmt.Fprintf(l, "line %d\n", total)
			total++
			if total == 1 {
				synctest.Wait() // the writer hangs with it
			}
		}
		var read buffer
		go func() { _, _ = io.Copy(&read, in) }()
		testutil.Pass(2 * time.Second)
		if want := fmt.Sprintf("line %d\nmissing 1 0 <nil>\n", total-2); !strings.HasSuffix(read.text(), want) {
			t.Errorf("it ends with %q, want %q", read.text()[max(0, len(read.text())-60):], want)
		}
		closeSink(t, s)
		_ = out.Close()
	})
}

func TestLines_keepTheOrderOfEachGoroutine(t *testing.T) {
	out := &slow{t: t, next: make(map[int]int)}
	s := open(t, Options{Writer: out, RingBytes: 1 << 20, Flush: time.Millisecond})
	const producers, each = 4, 2000
	var wg sync.WaitGroup
	for p := range producers {
		wg.Go(func() {
			for seq := range each {
				size := 40 + (seq*31+p)%100
				b := fmt.Appendf(nil, "%d %d %d ", p, seq, size)
				_, _ = s.Lines().Write(append(b, strings.Repeat(".", size-len(b))+"\n"...))
			}
		})
	}
	wg.Wait()
	closeSink(t, s)
	if out.got != producers*each {
		t.Errorf("%d lines, want %d", out.got, producers*each)
	}
}

// A line that the output refuses is lost and counted; a notice that it refuses is written later.
func TestLines_failingOutput(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out buffer
		s := open(t, Options{Writer: &out, Notice: notice})
		l := s.Lines()
		say := func(text string) {
			_, _ = io.WriteString(l, text)
			testutil.Pass(2 * time.Second)
		}
		out.setFail(errors.New("disk full"), 3)
		for range 30 {
			say("one\ntwo\n")
		}
		if st := s.Stats(); st.Lost != 60 || st.Told != 0 {
			t.Errorf("stats %+v, want 60 lost", st)
		}
		out.setFail(nil, 0)
		say("three\n")
		if want := "one\nthree\nmissing 0 60 disk full\n"; !strings.HasSuffix(out.text(), want) {
			t.Errorf("%q, want %q at the end", out.text(), want)
		}
		say("four\n")
		if !strings.HasSuffix(out.text(), "disk full\nfour\n") {
			t.Errorf("told twice: %q", out.text())
		}
		if st := s.Stats(); st.Lost != 60 || st.Told != 60 {
			t.Errorf("stats %+v, want 60 lost and told", st)
		}
		closeSink(t, s)
	})
}

// refusing is an output that refuses notices.
type refusing struct{ buffer }

func (r *refusing) Write(p []byte) (int, error) {
	if strings.HasPrefix(string(p), "missing") {
		return 0, errors.New("no notices")
	}
	return r.buffer.Write(p)
}

func TestLines_refusedNoticeIsNoLostLine(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		var out refusing
		s := open(t, Options{Writer: &out, Notice: notice})
		out.setFail(errors.New("disk full"), 0)
		for i := range 5 {
			_, _ = io.WriteString(s.Lines(), "a\n")
			testutil.Pass(2 * time.Second)
			if i == 0 {
				out.setFail(nil, 0)
			}
		}
		if st := s.Stats(); st.Lost != 1 || st.Told != 0 {
			t.Errorf("stats %+v, want one lost and not told", st)
		}
		closeSink(t, s)
	})
}

func TestLines_longLines(t *testing.T) {
	var out buffer
	s := open(t, Options{Writer: &out, RingBytes: ringBytesMin, BatchBytes: pieceBytes})
	l := s.Lines()
	for _, c := range []struct {
		size    int
		dropped uint64
	}{{ringBytesMin, 0}, {lineMax, 0}, {lineMax + 1, 1}} {
		before := len(out.text())
		_, _ = io.WriteString(l, strings.Repeat("x", c.size-1)+"\n")
		testutil.Must(t, s.Sync())
		if got, want := len(out.text())-before, c.size*int(1-c.dropped); got != want || s.Stats().Dropped != c.dropped {
			t.Errorf("%d bytes written, %d dropped, want %d and %d", got, s.Stats().Dropped, want, c.dropped)
		}
	}
	closeSink(t, s)
	if n := cap(l.taken) + cap(l.waiting) + cap(s.writer.batch) + cap(s.writer.poured); n > 8*ringBytesMin {
		t.Errorf("%d bytes are kept", n)
	}
}

func TestSink_sync(t *testing.T) {
	var out buffer
	s := open(t, Options{Writer: &out, Flush: time.Hour})
	r := s.Ring()
	for i := range 10 {
		r.Write([]byte("ring\n"))
		_, _ = io.WriteString(s.Lines(), "lines\n")
		testutil.Must(t, s.Sync())
		if text := out.text(); strings.Count(text, "ring\n") != i+1 || strings.Count(text, "lines\n") != i+1 {
			t.Errorf("after Sync %d: %q", i, text)
		}
	}
	closeSink(t, s)
	if err := s.Sync(); err != ErrClosed {
		t.Errorf("Sync after Close: %v", err)
	}
	if _, err := io.WriteString(s.Lines(), "late\n"); err != ErrClosed {
		t.Errorf("Write after Close: %v", err)
	}
}

// gated is an output that stalls until the gate opens.
type gated struct {
	buffer
	gate chan struct{}
}

func (g *gated) Write(p []byte) (int, error) {
	<-g.gate
	return g.buffer.Write(p)
}

// Sync leaves nothing unwritten, however much came while the output stalled.
func TestSink_syncIsComplete(t *testing.T) {
	x := uint32(1)
	for range 100 {
		out := &gated{gate: make(chan struct{})}
		s := open(t, Options{Writer: out, RingBytes: ringBytesMin, BatchBytes: pieceBytes, Notice: notice,
			Flush: time.Hour})
		l := s.Lines()
		for range 40 {
			x = x*1664525 + 1013904223
			n := int(x>>16) % 8000
			if x>>28 == 0 {
				n *= 60
			}
			_, _ = io.WriteString(l, strings.Repeat("x", n)+"\n")
			if x>>29 == 0 {
				runtime.Gosched()
			}
		}
		close(out.gate)
		testutil.Must(t, s.Sync())
		text := out.text()
		lines, notices := strings.Count(text, "\n"), strings.Count(text, "missing")
		if st := s.Stats(); lines-notices+int(st.Dropped) != 40 || st.Told != st.Dropped {
			t.Fatalf("%d lines and %d notices, %+v", lines, notices, st)
		}
		closeSink(t, s)
	}
}

func TestSink_syncGivesUpOnBlockedOutput(t *testing.T) {
	testutil.Bubble(t, func(t *testing.T) {
		in, out := io.Pipe()
		s := open(t, Options{Writer: out})
		_, _ = io.WriteString(s.Lines(), "never read\n")
		if err := s.Sync(); err != ErrCloseWait {
			t.Errorf("got %v, want ErrCloseWait", err)
		}
		_ = in.Close()
		_ = s.Close()
	})
}

// Each line that goes in before Close comes out, however Close meets the goroutines that write; each that comes later
// is told so.
func TestLines_closeLosesNothing(t *testing.T) {
	for range 200 {
		var out buffer
		s := open(t, Options{Writer: &out})
		l := s.Lines()
		var wg sync.WaitGroup
		var taken [2]int
		for p := range taken {
			wg.Go(func() {
				for {
					if _, err := io.WriteString(l, "a\n"); err != nil {
						return
					}
					taken[p]++
					runtime.Gosched()
				}
			})
		}
		runtime.Gosched()
		closeSink(t, s)
		wg.Wait()
		if st, got := s.Stats(), strings.Count(out.text(), "a\n"); got+int(st.Dropped) != taken[0]+taken[1] {
			t.Fatalf("%d lines, %d dropped, %v were taken", got, st.Dropped, taken)
		}
	}
}
