package process

import (
	"os"
	"os/signal"
	"syscall"
)

// Signals hears what steers a process. Each kind waits in a place of its own: a signal to end is neither lost nor late
// because many to reload came before it, and of those that did, one stands for all.
// Safe for any goroutine.
type Signals struct {
	ends    chan os.Signal // the first begins to end, the second ends
	reloads chan os.Signal
	reopens chan os.Signal
}

// NewSignals begins to hear SIGHUP and SIGUSR1, which end a process that does not. Those to end do so until Run.
func NewSignals() *Signals {
	s := &Signals{make(chan os.Signal, 2), make(chan os.Signal, 1), make(chan os.Signal, 1)}
	signal.Notify(s.reloads, syscall.SIGHUP)
	signal.Notify(s.reopens, syscall.SIGUSR1)
	return s
}

func (s *Signals) hearEnds() { signal.Notify(s.ends, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGINT) }

func (s *Signals) stop() {
	for _, c := range []chan os.Signal{s.ends, s.reloads, s.reopens} {
		signal.Stop(c)
	}
}

// next waits for a signal, one to end before all others. It returns nil once done has something to say.
func (s *Signals) next(done <-chan struct{}) os.Signal {
	select {
	case sig := <-s.ends:
		return sig
	default:
	}
	select {
	case sig := <-s.ends:
		return sig
	case sig := <-s.reloads:
		return sig
	case sig := <-s.reopens:
		return sig
	case <-done:
		return nil
	}
}
