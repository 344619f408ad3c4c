package handover

import (
	"errors"
	"time"

	"github.com/edge-proxy/edge/internal/process/upgrade"
)

// Conn is a connection on its way from one process to another: a descriptor that no kernel watches, and what is known
// of it. Owned by its holder.
type Conn struct {
	FD       int
	Socket   int // index in the manifest
	Requests uint32
	Age      time.Duration // since the last answer, or since it was accepted
}

// OldProcess is the process that hands over. All methods are called by the goroutine of OldSide.Run.
type OldProcess interface {
	// Suspend stops accepting on the sockets of the manifest with these numbers. After an error nothing has changed,
	// and the attempt ends.
	Suspend(claims []int) error
	// Yield gives up the names and begins to drain: the process with this number serves. With give it begins to give.
	Yield(pid int, give bool)
	// Batches returns where connections come from after Yield, up to upgrade.FilesMax at once; it is closed when none
	// is left and none will be.
	Batches() <-chan []Conn
	// Left returns what is left.
	Left() upgrade.DrainBody
	// Owned says that the new process has confirmed n further connections.
	Owned(n int)
	// Keep takes back connections that could not be given, if there are any, and gives no more.
	Keep(conns []Conn, why error)
	// CloseSocket closes the copy of a socket that the new process has closed, or that no process takes back any more.
	CloseSocket(socket int)
	// EndDraining ends a process that drains: this one where before is 0, else its predecessor of that number.
	EndDraining(before int)
	// Kill ends the new process.
	Kill()
	// Resume accepts again on all sockets and takes connections back: the new process has ended.
	Resume(conns []Conn, why error)
}

// OldSide hands over to one new process. Owned by the goroutine of Run.
type OldSide struct {
	Channel  *Channel
	Offer    upgrade.OfferBody
	Files    []int // descriptors of Offer.Files
	Sockets  []int // descriptors in the order of the manifest; OldProcess.Suspend may close them
	Process  OldProcess
	Cancel   <-chan error  // why this process wants no upgrade any more; nil: none comes
	Times    upgrade.Times // zero: upgrade.DefaultTimes
	Progress func(step string)
	First    []byte // a message that has come already; nil: none

	machine *upgrade.Old
	batches map[uint32][]Conn
	drained time.Time // when nothing was left here; zero: not yet
	result  error
}

// leftEvery is how often the old process says what is left.
const leftEvery = time.Second

// confirmTime is how long a process with nothing left waits for the confirmation of its last batches.
const confirmTime = 10 * time.Second

var (
	errUnsent = errors.New("the sockets cannot be sent")
	errNoRoom = errors.New("they do not fit into the new process")
)

// Run hands over. The error says why this process serves on; nil: the new one serves, and nothing is left here. The
// descriptors of Files and Sockets stay open.
func (s *OldSide) Run() error {
	s.batches = make(map[uint32][]Conn)
	s.machine = upgrade.BeginOld(s.Times, s.Offer, time.Now())
	if s.First != nil {
		s.reportProgress(s.First)
		s.do(s.machine.Receive(s.First, time.Now()))
	}
	in := receiveAll(s.Channel)
	defer in.stop()
	timer := time.NewTimer(0)
	defer timer.Stop()
	for !s.machine.Finished() {
		timer.Reset(s.wait())
		select {
		case m, open := <-in.messages:
			if !open {
				s.do(s.machine.End())
				continue
			}
			s.reportProgress(m.bytes)
			s.do(s.machine.Receive(m.bytes, time.Now()))
			CloseAll(m.fds) // no frame of the new process has any
		case <-timer.C:
			s.do(s.machine.Tick(time.Now()))
			if s.machine.Yielded() {
				s.do(s.machine.Left(s.Process.Left()))
			}
		case conns, more := <-s.incoming():
			if more {
				s.give(conns)
			} else {
				s.drained = time.Now()
			}
		case why := <-s.Cancel:
			s.do(s.machine.Cancel(why))
		}
		s.end()
	}
	return s.result
}

func (s *OldSide) wait() time.Duration {
	if at := s.machine.Deadline(); !at.IsZero() {
		return time.Until(at)
	}
	return leftEvery
}

// incoming returns the batches, as long as one may be sent. Without room for more, or where nothing is to be given,
// they are not taken, but for the end.
func (s *OldSide) incoming() <-chan []Conn {
	m := s.machine
	if !m.Yielded() || !s.drained.IsZero() || m.Room() == 0 && m.Unconfirmed() > 0 {
		return nil
	}
	return s.Process.Batches()
}

func (s *OldSide) give(conns []Conn) {
	if s.machine.Room() == 0 { // nothing is to be given, or no longer
		s.Process.Keep(conns, errNoRoom)
		return
	}
	body := upgrade.GiveBody{Kind: upgrade.KindH1}
	for _, c := range conns {
		body.Listeners = append(body.Listeners, c.Socket)
		body.Requests = append(body.Requests, c.Requests)
		body.Ages = append(body.Ages, c.Age.Milliseconds())
	}
	number, do := s.machine.Give(body)
	s.batches[number] = conns
	s.do(do)
}

// end ends the hand-over when nothing is left here and all batches were confirmed, or after confirmTime: they are in
// the channel, and the new process finds them there even after the end of this one.
func (s *OldSide) end() {
	if s.drained.IsZero() || s.machine.Finished() {
		return
	}
	if s.machine.Unconfirmed() == 0 || time.Since(s.drained) > confirmTime {
		s.do(s.machine.Drained())
	}
}

func (s *OldSide) reportProgress(message []byte) {
	f, err := upgrade.Parse(message)
	if err != nil || s.Progress == nil {
		return
	}
	switch b := f.Body.(type) {
	case upgrade.WorkingBody:
		s.Progress(b.Step)
	case upgrade.HelloBody:
		s.Progress("it has begun")
	case upgrade.ReadyBody:
		s.Progress("it is ready")
	}
}

// do does what the machine asks for.
func (s *OldSide) do(actions []upgrade.Action) {
	for _, a := range actions {
		switch a.Do {
		case upgrade.Send:
			s.send(a.Frame)
		case upgrade.Suspend:
			err := s.Process.Suspend(a.Claims)
			s.do(s.machine.Suspended(err, time.Now()))
		case upgrade.Yield:
			s.Process.Yield(s.machine.Hello().PID, s.machine.Gives())
		case upgrade.Release:
			conns := s.batches[a.Batch]
			delete(s.batches, a.Batch)
			for _, c := range conns[:a.Count] {
				CloseAll([]int{c.FD})
			}
			s.Process.Owned(a.Count)
			if a.Count < len(conns) {
				s.Process.Keep(conns[a.Count:], errNoRoom)
			}
		case upgrade.CloseSocket:
			s.Process.CloseSocket(a.Socket)
		case upgrade.EndDraining:
			s.Process.EndDraining(a.Before)
		case upgrade.Kill:
			s.Process.Kill()
		case upgrade.Resume:
			s.Process.Resume(s.takeBatches(a.Batches), a.Err)
		case upgrade.Keep:
			s.Process.Keep(s.takeBatches(a.Batches), a.Err)
		case upgrade.Finish:
			s.result = a.Err
		}
	}
}

// takeBatches returns the connections of batches, which are this process's again.
func (s *OldSide) takeBatches(batches []uint32) (conns []Conn) {
	for _, b := range batches {
		conns = append(conns, s.batches[b]...)
		delete(s.batches, b)
	}
	return conns
}

// send sends a frame with what belongs to it. The machine need not know that it failed where the end of the channel
// comes next, but it may be that this process may not send so many descriptors (ETOOMANYREFS).
func (s *OldSide) send(f *upgrade.Frame) {
	var fds []int
	switch b := f.Body.(type) {
	case upgrade.OfferBody:
		fds = s.Files
	case upgrade.SocketsBody:
		fds = s.Sockets[b.First : b.First+b.Count]
	case upgrade.GiveBody:
		for _, c := range s.batches[f.Number] {
			fds = append(fds, c.FD)
		}
	}
	err := s.Channel.Send(f, fds)
	if err == nil || len(fds) == 0 {
		return
	}
	if f.Type == upgrade.Give {
		s.do(s.machine.Unsent(f.Number))
		return
	}
	s.do(s.machine.Cancel(errors.Join(errUnsent, err)))
}
