package process

import (
	"log/slog"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/edge-proxy/edge/internal/testutil"
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
		try(t, syscall.Kill(os.Getpid(), syscall.SIGHUP))
	}
	<-s.reloads
}
