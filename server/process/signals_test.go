package process

import (
	"os"
	"syscall"
	"testing"
)

// A process that is asked to end does not first do all the reloads that it was asked for.
func TestSignals_toEndComeFirst(t *testing.T) {
	for range 100 {
		s := newSignals()
		s.reopens <- syscall.SIGUSR1
		s.reloads <- syscall.SIGHUP
		s.ends <- syscall.SIGTERM
		s.ends <- syscall.SIGINT
		for _, want := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
			if sig := s.next(nil); sig != want {
				t.Fatalf("%v, not %v", sig, want)
			}
		}
		done := make(chan struct{})
		s.others <- syscall.SIGUSR2
		seen := map[os.Signal]bool{s.next(done): true, s.next(done): true, s.next(done): true}
		if !seen[syscall.SIGHUP] || !seen[syscall.SIGUSR1] || !seen[syscall.SIGUSR2] {
			t.Fatal(seen)
		}
		close(done)
		if sig := s.next(done); sig != nil {
			t.Fatal(sig)
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
