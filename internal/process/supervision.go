package process

import (
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/edge-proxy/edge/internal/process/supervisor"
	"github.com/edge-proxy/edge/internal/server"
)

const (
	statusEvery   = 5 * time.Second  // at most: a status that has not changed is not sent again
	drainEvery    = time.Second      // while it drains
	drainExtends  = 15 * time.Second // how long the supervisor waits for the next status of a drain
	watchdogParts = 4                // how often the reactors are asked within the time of the watchdog
)

// supervision tells the supervisor of the service, which usually is systemd, what the process does. Without a
// supervisor it does nothing. Owned by the goroutine of Run, but for notify, which has one of its own.
//
//	serving ──► reloading ⇄ reloaded ──► draining ──► ending
//	   └ notify: the status, and that all reactors go on ┘
type supervision struct {
	to     *supervisor.NotifySocket // nil: there is none
	server *server.Server

	phases chan phase
	now    phase         // the last phase sent to phases
	done   chan struct{} // closed when notify has ended; nil: it has not begun
}

// phase is what the process does between two of its steps.
type phase struct {
	addresses int       // that it listens on
	reloads   int       // configurations that took the place of another one
	failed    bool      // the last reload changed nothing, since it failed
	until     time.Time // when connections that drain are cut; zero: it does not drain
}

// newSupervision looks for a supervisor.
func newSupervision() *supervision {
	to, err := supervisor.FindNotifySocket()
	if err != nil {
		slog.Warn(err.Error())
	}
	return &supervision{to: to, phases: make(chan phase)}
}

// serving says that s serves, and from now on how it is.
func (v *supervision) serving(s *server.Server) {
	if v.to == nil {
		return
	}
	v.server, v.done = s, make(chan struct{})
	v.now.addresses = len(s.Addresses())
	v.to.Ready(v.now.status(s))
	go v.notify(v.now)
}

// reloaded says that the process serves on, by another configuration or by the one before.
func (v *supervision) reloaded(applied bool) {
	if v.done == nil {
		return
	}
	if v.now.failed = !applied; applied {
		v.now.reloads++
		v.now.addresses = len(v.server.Addresses()) // notify must not ask: a reload that takes long would delay it
	}
	v.phases <- v.now
	v.to.Ready(v.now.status(v.server))
}

// handOver says that process pid serves instead of this one, which tells nothing of itself from then on: that it drains
// is not the end of the service.
func (v *supervision) handOver(pid int) {
	if v.done == nil {
		return
	}
	close(v.phases)
	<-v.done
	v.done = nil
	v.to.MainPID(pid)
}

// takeBack says that this process serves s again, after handOver.
func (v *supervision) takeBack(s *server.Server) {
	v.phases = make(chan phase)
	v.to.MainPID(os.Getpid())
	v.serving(s)
}

// reloadWithNotice reloads, and tells the supervisor.
func (p *running) reloadWithNotice(reload func() os.Signal) (end os.Signal) {
	before := p.reloads.config()
	p.supervision.to.Reloading("reading the configuration again")
	if end = reload(); end == nil {
		p.supervision.reloaded(p.reloads.config() != before)
	}
	return end
}

// draining says that the process ends within grace.
func (v *supervision) draining(grace time.Duration) {
	if v.done == nil {
		return
	}
	v.now.until = time.Now().Add(grace)
	v.to.Stopping(v.now.status(v.server), drainExtends)
	v.phases <- v.now
}

// ending says that the process closes its connections and files.
func (v *supervision) ending() {
	if v.done == nil {
		return
	}
	close(v.phases)
	<-v.done
	v.to.Stopping("closing connections and logs", drainExtends)
}

// failed returns err, and says why the process ends unless err is nil.
func (v *supervision) failed(err error) error {
	if err != nil {
		v.to.Failed(err)
	}
	return err
}

// notify sends the status, and that the reactors go on, until phases is closed.
func (v *supervision) notify(now phase) {
	defer close(v.done)
	pulse, said := v.server.NewPulse(), ""
	for timer := time.NewTimer(0); ; timer.Reset(now.nextStatusIn(v.to.Watchdog())) {
		select {
		case next, more := <-v.phases:
			if !more {
				return
			}
			now = next
		case <-timer.C:
		}
		if v.to.Watchdog() > 0 && pulse.Beat() {
			v.to.Alive()
		}
		status := now.status(v.server)
		switch {
		case !now.until.IsZero():
			v.to.Status(status, drainExtends)
		case status != said:
			v.to.Status(status, 0)
		}
		said = status
	}
}

// nextStatusIn returns how long the next look waits, where the supervisor expects a sign of life within watchdog, or
// none if it is 0.
func (f phase) nextStatusIn(watchdog time.Duration) time.Duration {
	pause := statusEvery
	if !f.until.IsZero() {
		pause = drainEvery
	}
	if watchdog > 0 {
		pause = min(pause, watchdog/watchdogParts)
	}
	return pause
}

// status says in one line what s does.
func (f phase) status(s *server.Server) string {
	conns := counted(s.Conns(), "connection")
	if !f.until.IsZero() {
		cut := max(0, time.Until(f.until)).Round(time.Second)
		return fmt.Sprintf("draining: %s left (%v), cut in %s", conns, s.Draining(), cut)
	}
	text := fmt.Sprintf("serving %s on %s", conns, counted(f.addresses, "address"))
	if f.reloads > 0 {
		text += ", " + counted(f.reloads, "reload")
	}
	if f.failed {
		text += "; the last reload failed, see the error log"
	}
	return text
}

// counted returns a number of things with their name.
func counted(n int, name string) string {
	switch {
	case n == 1:
	case name == "address":
		name += "es"
	default:
		name += "s"
	}
	return fmt.Sprint(n, " ", name)
}
