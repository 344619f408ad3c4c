package process

import (
	"log/slog"
	"os"
	"os/signal"
	"syscall"
)

// Signals receives the signals for a process. Each kind has a queue of its own: many signals to reload neither
// delay nor displace one to end. Of equal signals to reload or reopen that wait, one is kept.
// Safe for any goroutine.
type Signals struct {
	ends     chan os.Signal // the first one begins to drain, the second one ends the process
	reloads  chan os.Signal
	reopens  chan os.Signal
	upgrades chan os.Signal // to upgrade
	others   chan os.Signal // that mean something to other servers, and nothing here
	kept     bool           // stop does nothing; owned by the goroutine of Run
}

// NewSignals begins to receive SIGHUP and SIGUSR1, which otherwise end the process, and those that do nothing, to tell
// so. Signals to end do that until Run.
func NewSignals() *Signals {
	s := newSignals()
	signal.Notify(s.reloads, syscall.SIGHUP)
	signal.Notify(s.reopens, syscall.SIGUSR1)
	signal.Notify(s.upgrades, syscall.SIGUSR2)
	signal.Notify(s.others, syscall.SIGPWR)
	if tty, err := os.Open("/dev/tty"); err == nil {
		_ = tty.Close() // it sends SIGWINCH whenever its window changes
	} else {
		signal.Notify(s.others, syscall.SIGWINCH)
	}
	return s
}

func newSignals() *Signals {
	one := func() chan os.Signal { return make(chan os.Signal, 1) }
	return &Signals{ends: make(chan os.Signal, 2), reloads: one(), reopens: one(), upgrades: one(), others: one()}
}

func (s *Signals) hearEnds() { signal.Notify(s.ends, syscall.SIGTERM, syscall.SIGQUIT, syscall.SIGINT) }

// keep lets signals be received until the process has ended, where they are not obeyed. One with its default effect
// would kill the process before its pid file is removed. signal.Ignore would not do: the runtime dies of a signal that
// comes while it is called.
func (s *Signals) keep() { s.kept = true }

func (s *Signals) stop() {
	if s.kept {
		return
	}
	for _, c := range []chan os.Signal{s.ends, s.reloads, s.reopens, s.upgrades, s.others} {
		signal.Stop(c)
	}
}

// next waits for a signal and returns one to end before others. It tells of those that do nothing, and waits on. It
// returns nil when done is closed or has an element.
func (s *Signals) next(done <-chan struct{}) os.Signal {
	for {
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
		case sig := <-s.upgrades:
			return sig
		case sig := <-s.others:
			// SIGWINCH and SIGPWR end some other servers, and are what their containers are stopped by.
			slog.Warn("a signal that does nothing", "signal", sig.String(),
				"try", "SIGTERM drains and ends, SIGINT ends at once")
		case <-done:
			return nil
		}
	}
}
