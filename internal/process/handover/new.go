package handover

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/edge-proxy/edge/internal/process/upgrade"
)

// NewProcess is the process that takes over. Its methods are called by the goroutine of NewSide.
type NewProcess interface {
	// Accept begins to accept.
	Accept() error
	// TakeNames takes pid_file and the other names. The process before has given them up, or is about to.
	TakeNames()
	// Receive takes connections over.
	Receive(conns []Conn)
}

// Inheritance is what the process before hands over. Its descriptors are the receiver's.
type Inheritance struct {
	Manifest upgrade.Manifest
	Secrets  upgrade.Secrets
	Sockets  []int          // in the order of the manifest; fewer where the process before has ended
	Files    map[string]int // other memory files and descriptors, by their names
	OldEnded bool           // the process before has ended

	Generation int // of this process: see upgrade.OfferBody
}

// NewSide takes over from the running process. Safe for any goroutine.
//
//	Join ─► Inherit ─► Ready ─► Done
type NewSide struct {
	channel *Channel
	events  chan event    // what the machine is to hear from this process
	arrived chan struct{} // closed when the inheritance is there, or err
	accepts chan struct{} // closed when it accepts, or err
	done    chan struct{} // closed when nothing more comes

	machine     *upgrade.New // of the goroutine
	process     NewProcess   // of the goroutine, once loaded
	inheritance Inheritance  // before arrived is closed of the goroutine, after it never changed

	mu   sync.Mutex
	err  error             // why the process cannot serve; guarded by mu
	end  error             // how the process before ended; guarded by mu
	left upgrade.DrainBody // guarded by mu
}

// event tells the machine of something, on the goroutine of NewSide.
type event = func(m *upgrade.New) []upgrade.Action

// Join says HELLO to the process at the other end of c, which it takes over.
func Join(c *Channel, hello upgrade.HelloBody, times upgrade.Times) *NewSide {
	s := &NewSide{
		channel: c, events: make(chan event),
		arrived: make(chan struct{}), accepts: make(chan struct{}), done: make(chan struct{}),
	}
	var do []upgrade.Action
	s.machine, do = upgrade.BeginNew(times, hello, time.Now())
	go s.run(do)
	return s
}

// Inherit waits until all sockets have come. The error says why there is nothing to take over: the process has to end.
func (s *NewSide) Inherit() (*Inheritance, error) {
	<-s.arrived
	if err := s.failure(); err != nil {
		return nil, err
	}
	return &s.inheritance, nil
}

// tell passes an event to the machine, unless nothing more comes.
func (s *NewSide) tell(e event) {
	select {
	case s.events <- e:
	case <-s.done:
	}
}

// Step says what the process is at.
func (s *NewSide) Step(name string) {
	s.tell(func(m *upgrade.New) []upgrade.Action {
		m.Step(name)
		return nil
	})
}

// Ready says that all but accepting is done, waits for the process before to let go, and returns when t accepts. claims
// are sockets of the manifest. The error says why it may not: the process has to end.
func (s *NewSide) Ready(claims []int, p NewProcess) error {
	s.tell(func(m *upgrade.New) []upgrade.Action {
		s.process = p
		return m.Loaded(claims, time.Now())
	})
	<-s.accepts
	return s.failure()
}

// Refuse says that the process cannot serve.
func (s *NewSide) Refuse(why error) {
	s.tell(func(m *upgrade.New) []upgrade.Action { return m.Failed(why) })
	<-s.accepts
}

// Tell sends a frame of the type Drop, Cut or Pass: see upgrade.New.Tell.
func (s *NewSide) Tell(t upgrade.Type, body any) {
	s.tell(func(m *upgrade.New) []upgrade.Action { return m.Tell(t, body) })
}

// Done is closed when the process before has ended, or has nothing left.
func (s *NewSide) Done() <-chan struct{} { return s.done }

// End returns how the process before ended, after Done: nil, or an error where connections may be lost.
func (s *NewSide) End() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.end
}

// Left returns what the process before has left, as it last said.
func (s *NewSide) Left() upgrade.DrainBody {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.left
}

func (s *NewSide) failure() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// run drives the machine until the end.
func (s *NewSide) run(begin []upgrade.Action) {
	in := receiveAll(s.channel)
	defer close(s.done)
	defer in.stop()
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	s.do(begin, nil)
	messages := in.messages
	for !s.machine.Finished() {
		var due <-chan time.Time
		if at := s.machine.Deadline(); !at.IsZero() {
			timer.Reset(time.Until(at))
			due = timer.C
		}
		select {
		case m, open := <-messages:
			if !open {
				messages = nil
				s.do(s.machine.End(time.Now()), nil)
				continue
			}
			s.receive(m)
		case <-due:
			s.do(s.machine.Tick(time.Now()), nil)
		case tell := <-s.events:
			s.do(tell(s.machine), nil)
		}
	}
}

// receive takes a message. Descriptors that nothing is done with are closed.
func (s *NewSide) receive(m message) {
	offered, arrived := s.machine.Offer().Version > 0, s.machine.Arrived()
	do := s.machine.Receive(m.bytes, len(m.fds), time.Now())
	kept := false
	switch {
	case !offered && s.machine.Offer().Version > 0:
		kept = true
		if err := s.unpack(s.machine.Offer(), m.fds); err != nil {
			do = s.machine.Failed(err)
		}
	case s.machine.Arrived() > arrived:
		kept = true
		s.inheritance.Sockets = append(s.inheritance.Sockets, m.fds...)
	}
	for _, a := range do {
		kept = kept || a.Do == upgrade.Receive
	}
	if !kept {
		CloseAll(m.fds)
	}
	s.do(do, m.fds)
	s.mu.Lock()
	s.left = s.machine.Left()
	s.mu.Unlock()
}

// unpack reads the memory files of an offer that are known, and keeps the others.
func (s *NewSide) unpack(b upgrade.OfferBody, fds []int) error {
	s.inheritance.Files, s.inheritance.Generation = make(map[string]int), b.Generation
	var errs []error
	for i, name := range b.Files {
		switch name {
		case upgrade.ManifestFile:
			errs = append(errs, ReadMemory(name, fds[i], &s.inheritance.Manifest))
		case upgrade.SecretsFile:
			errs = append(errs, ReadMemory(name, fds[i], &s.inheritance.Secrets))
		default:
			s.inheritance.Files[name] = fds[i]
			continue
		}
		CloseAll(fds[i : i+1])
	}
	if n := len(s.inheritance.Manifest.Sockets); n != b.Sockets {
		errs = append(errs, fmt.Errorf("the manifest has %d sockets, the offer %d", n, b.Sockets))
	}
	return errors.Join(errs...)
}

// do does what the machine asks for. fds came with the message that it answers.
func (s *NewSide) do(actions []upgrade.Action, fds []int) {
	for _, a := range actions {
		switch a.Do {
		case upgrade.Send:
			_ = s.channel.Send(a.Frame, nil) // after an error the end of the channel comes
		case upgrade.Load:
			s.inheritance.OldEnded = s.machine.OldEnded()
			close(s.arrived)
		case upgrade.Accept:
			if err := s.process.Accept(); err != nil {
				s.fail(err) // the end of this process makes the one before accept again
				return
			}
		case upgrade.TakeNames:
			s.process.TakeNames()
			close(s.accepts)
		case upgrade.Receive:
			conns := make([]Conn, len(fds))
			for i, fd := range fds {
				conns[i] = Conn{FD: fd, Socket: a.Given.Listeners[i], Requests: a.Given.Requests[i],
					Age: time.Duration(a.Given.Ages[i]) * time.Millisecond}
			}
			s.process.Receive(conns)
		case upgrade.Abort:
			s.fail(a.Err)
		case upgrade.Finish:
			s.mu.Lock()
			s.end = a.Err
			s.mu.Unlock()
		}
	}
}

// fail makes Inherit and Ready return err.
func (s *NewSide) fail(err error) {
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	for _, c := range []chan struct{}{s.arrived, s.accepts} {
		select {
		case <-c:
		default:
			close(c)
		}
	}
}
