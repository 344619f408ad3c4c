package process

import (
	"log/slog"
	"math"
	"os"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/test/testutil"
)

// A process that is asked to end does not first do all the reloads that it was asked for.
func TestSignals_toEndComeFirst(t *testing.T) {
	var said testutil.Output
	testutil.EventLog(t, slog.NewTextHandler(&said, nil))
	for range 100 {
		s := newSignals()
		s.others <- syscall.SIGWINCH
		s.upgrades <- syscall.SIGUSR2
		s.reopens <- syscall.SIGUSR1
		s.reloads <- syscall.SIGHUP
		s.ends <- syscall.SIGTERM
		s.ends <- syscall.SIGINT
		for _, want := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
			if sig := s.next(nil); sig != want {
				t.Fatalf("%v, not %v", sig, want)
			}
		}
		if log := said.String(); log != "" {
			t.Fatal(log)
		}
		done, last := make(chan struct{}), make(chan os.Signal)
		seen := map[os.Signal]bool{s.next(done): true, s.next(done): true, s.next(done): true}
		if !seen[syscall.SIGHUP] || !seen[syscall.SIGUSR1] || !seen[syscall.SIGUSR2] {
			t.Fatal(seen)
		}
		go func() { last <- s.next(done) }()
		s.others <- syscall.SIGPWR // there is room for it once SIGWINCH was heard
		close(done)
		if sig := <-last; sig != nil {
			t.Fatal(sig)
		}
		if log := said.Take(); !strings.Contains(log, "window changed") {
			t.Fatal(log)
		}
	}
}

// However many reloads wait, there is room for what ends the process.
func TestSignals_oneStandsForAll(t *testing.T) {
	s := NewSignals()
	s.hearEnds()
	defer s.stop()
	if cap(s.reloads) != 1 || cap(s.reopens) != 1 || cap(s.ends) != 2 {
		t.Errorf("%d reloads, %d reopens, %d ends", cap(s.reloads), cap(s.reopens), cap(s.ends))
	}
}

// Once the process ends, no signal has its default effect, which would be to kill it.
func TestSignals_keptAtTheEnd(t *testing.T) {
	s := NewSignals()
	s.hearEnds()
	s.keep()
	s.stop()
	defer func() { s.kept = false; s.stop() }()
	for range 3 { // more than there is room for
		testutil.Must(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	}
	<-s.reloads
}

func TestSpareProcessor(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(0))
	for _, c := range []struct {
		has, reactors int
		ownThreads    bool
		want          int
	}{
		{2, 2, false, 2}, {2, 3, false, 2}, {4, 2, false, 3}, {2, 2, true, 3}, {1, 1, true, 2}, {8, 2, true, 3},
	} {
		runtime.GOMAXPROCS(c.has)
		if spareProcessor(c.reactors, c.ownThreads); runtime.GOMAXPROCS(0) != c.want {
			t.Errorf("%+v: got %d", c, runtime.GOMAXPROCS(0))
		}
	}
}

// What is outside of the heap is taken from the limit of the collector while it is there.
func TestLimitMemory_reserve(t *testing.T) {
	before := debug.SetMemoryLimit(-1)
	defer debug.SetMemoryLimit(before)
	reserve := limitMemory(1 << 30)
	for _, c := range []struct{ bytes, want int64 }{{256 << 20, 768 << 20}, {0, 1 << 30}} {
		if reserve(c.bytes); debug.SetMemoryLimit(-1) != c.want {
			t.Errorf("with %d bytes the limit is %d, want %d", c.bytes, debug.SetMemoryLimit(-1), c.want)
		}
	}
	t.Setenv("GOMEMLIMIT", "off")
	debug.SetMemoryLimit(math.MaxInt64)
	if limitMemory(0)(256 << 20); debug.SetMemoryLimit(-1) != math.MaxInt64 {
		t.Errorf("there is a limit of %d where there was none", debug.SetMemoryLimit(-1))
	}
}

// BoringCrypto and the FIPS 140-3 mode of Go in one process make the runtime panic: it must not come to that.
func TestExcludedFromFIPS(t *testing.T) {
	for provider, want := range map[string]error{
		"boringcrypto go1.26.8-X:boringcrypto": errBoringFIPS,
		"crypto/tls go1.26.8":                  nil,
		"crypto/tls go1.26.8 fips140":          nil,
	} {
		if err := excludedFromFIPS(provider); err != want {
			t.Errorf("%s: %v", provider, err)
		}
	}
}
