package upgrade

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// Old is the side of the process that hands over. Owned by one goroutine.
//
//	awaitsHello ─► awaitsReady ─► suspending ─► awaitsServing ─► yielded ─► finished
//	     │              │             │ it failed       │            │ end: Resume, or Keep after PASS
//	     │              │             │                 ├── end: Resume, finished
//	     └──────────────┴── time-out: ┴─────────────────┴─► killing ── end ─► finished, after Resume if GO was sent
//
//	goSent == (GO was sent)
//	len(unconfirmed) <= windowMax, ascending, none above the last number of GIVE
type Old struct {
	times       Times
	offer       OfferBody
	state       oldState
	until       time.Time // of the state; zero: none
	silence     time.Time // when the new process has said nothing for too long; zero: no limit
	goSent      bool
	passed      bool // a further process serves, so nothing is taken back from this one
	claims      []int
	given       uint32   // number of the last GIVE
	counts      []int    // of the batches of unconfirmed
	unconfirmed []uint32 // batches without OWN
	why         error    // of killing
	hello       HelloBody
}

type oldState uint8

const (
	awaitsHello oldState = iota
	awaitsReady
	suspending
	awaitsServing
	yielded
	killing
	finished
)

// spareFiles is how many descriptors a new process needs beyond sockets and connections: logs, event loops, backends.
const spareFiles = 64

// windowMax is how many batches are under way: the kernel bounds the descriptors in flight by RLIMIT_NOFILE of the
// sender.
const windowMax = 4

var (
	errEnded    = errors.New("the new process has ended before it served")
	errSilent   = errors.New("the new process does not answer")
	errNotReady = errors.New("the new process was not ready in time")
	errNoAccept = errors.New("the new process did not accept in time")
	errLost     = errors.New("the new process has ended: sockets and unconfirmed connections are taken back")
	errPassed   = errors.New("the new process has ended, and the serving process takes no connections from this one")
)

// BeginOld makes the machine. offer says what there is; its Version is chosen by HELLO. now begins the time for HELLO.
func BeginOld(t Times, offer OfferBody, now time.Time) *Old {
	if t == (Times{}) {
		t = DefaultTimes
	}
	return &Old{times: t, offer: offer, until: now.Add(t.Hello)}
}

// Hello returns what the new process has said of itself; the zero value before HELLO.
func (o *Old) Hello() HelloBody { return o.hello }

// Yielded reports whether the new process serves, and lived when the machine last heard of it.
func (o *Old) Yielded() bool { return o.state == yielded }

// Finished reports whether the machine is done.
func (o *Old) Finished() bool { return o.state == finished }

// Deadline returns when Tick is due; the zero time: never.
func (o *Old) Deadline() time.Time {
	switch {
	case o.until.IsZero():
		return o.silence
	case !o.silence.IsZero() && o.silence.Before(o.until):
		return o.silence
	}
	return o.until
}

// Receive takes a message of the new process.
func (o *Old) Receive(message []byte, now time.Time) []Action {
	f, err := Parse(message)
	if err != nil {
		// After GO the new process may accept: it is not killed for what it says.
		return o.Cancel(fmt.Errorf("the new process sent %w", err))
	}
	if invariant.On {
		defer o.check()
	}
	if o.state == awaitsReady {
		o.silence = now.Add(o.times.Working)
	}
	switch body := f.Body.(type) {
	case HelloBody:
		return o.onHello(body, now)
	case ReadyBody:
		return o.onReady(body)
	case ServingBody:
		return o.onServing()
	case OwnBody:
		return o.onOwn(f.Number, body)
	case DropBody:
		if o.goSent && o.state != finished && body.Socket >= 0 && body.Socket < o.offer.Sockets {
			return []Action{{Do: CloseSocket, Socket: body.Socket}}
		}
	case CutBody:
		if o.state == yielded && body.Before >= 0 {
			return []Action{{Do: EndDraining, Before: body.Before}}
		}
	case PassBody:
		o.passed = o.state == yielded && body.Passed
	case RefuseBody:
		return o.onRefuse(errors.New(body.Reason))
	}
	return nil // WORKING has been noted by its arrival; types that are not known, or not for this side, are ignored
}

func (o *Old) onHello(b HelloBody, now time.Time) []Action {
	if o.state != awaitsHello {
		return nil
	}
	version := min(b.Max, Version)
	if version < max(b.Min, VersionMin) {
		return o.giveUp(fmt.Errorf("the new process speaks versions %d to %d of the protocol, this one %d to %d",
			b.Min, b.Max, VersionMin, Version))
	}
	if needs := o.offer.Sockets + spareFiles; b.Free < needs {
		return o.giveUp(fmt.Errorf("the new process may open %d files more and needs %d: raise RLIMIT_NOFILE, "+
			"LimitNOFILE= in systemd", b.Free, needs))
	}
	if needs := o.offer.Sockets + o.offer.Conns; b.Free < needs+needs/10+spareFiles {
		o.offer.Give = GiveNone // the connections drain instead
	}
	o.hello, o.offer.Version = b, version
	o.state, o.until, o.silence = awaitsReady, now.Add(o.times.Ready), now.Add(o.times.Working)
	do := []Action{o.send(Offer, 0, o.offer)}
	for n, first := uint32(1), 0; first < o.offer.Sockets; n, first = n+1, first+FilesMax {
		do = append(do, o.send(Sockets, n, SocketsBody{first, min(FilesMax, o.offer.Sockets-first)}))
	}
	return do
}

// onReady stops accepting. The answer is Suspended.
func (o *Old) onReady(b ReadyBody) []Action {
	if o.state != awaitsReady {
		return nil
	}
	for _, s := range b.Claims {
		if s < 0 || s >= o.offer.Sockets {
			return o.giveUp(fmt.Errorf("the new process claims socket %d of %d", s, o.offer.Sockets))
		}
	}
	o.claims = b.Claims
	o.state, o.until, o.silence = suspending, time.Time{}, time.Time{}
	return []Action{{Do: Suspend, Claims: b.Claims}}
}

// Suspended says how Suspend has ended, before anything else happens: nil lets the new process accept. An error says
// that this process still accepts on all sockets, and ends the attempt.
func (o *Old) Suspended(err error, now time.Time) []Action {
	if o.state != suspending {
		return nil
	}
	if err != nil {
		return o.giveUp(err)
	}
	o.goSent = true
	o.state, o.until = awaitsServing, now.Add(o.times.Serving)
	return []Action{o.send(Go, 0, GoBody{})}
}

// onServing gives up the names.
func (o *Old) onServing() []Action {
	if o.state != awaitsServing {
		return nil
	}
	o.state, o.until = yielded, time.Time{}
	return []Action{{Do: Yield}}
}

// onOwn closes the copies of a batch. A number alone is no acknowledgement: it has to be one of a batch that waits. The
// kernel drops descriptors for which the new process has no room, the last ones first, and tells only the receiver
// (MSG_CTRUNC): these stay this process's, and no more are given.
func (o *Old) onOwn(number uint32, b OwnBody) []Action {
	i := slices.Index(o.unconfirmed, number)
	if i < 0 || o.state != yielded || b.Count < 0 || b.Count > o.counts[i] {
		return nil
	}
	if b.Count < o.counts[i] {
		o.offer.Give = GiveNone
	}
	o.unconfirmed, o.counts = slices.Delete(o.unconfirmed, i, i+1), slices.Delete(o.counts, i, i+1)
	return []Action{{Do: Release, Batch: number, Count: b.Count}}
}

// onRefuse ends the attempt. After GO the new process may accept still, until it has ended.
func (o *Old) onRefuse(why error) []Action {
	why = fmt.Errorf("the new process refuses: %w", why)
	switch o.state {
	case awaitsHello, awaitsReady:
		return o.finish(why)
	case awaitsServing:
		return o.kill(why)
	}
	return nil
}

// Gives reports whether connections are handed over, too: the new process has had room for all of them so far.
func (o *Old) Gives() bool { return o.offer.Give == GiveIdle }

// Room reports how many batches may be given now.
func (o *Old) Room() int {
	if o.state != yielded || !o.Gives() {
		return 0
	}
	return windowMax - len(o.unconfirmed)
}

// Give sends a batch of connections, for which there is Room, and returns its number.
func (o *Old) Give(b GiveBody) (number uint32, do []Action) {
	if o.Room() <= 0 || len(b.Listeners) == 0 || len(b.Listeners) > FilesMax {
		panic("upgrade: a batch without room, or of no size")
	}
	o.given++
	o.unconfirmed, o.counts = append(o.unconfirmed, o.given), append(o.counts, len(b.Listeners))
	if invariant.On {
		o.check()
	}
	return o.given, []Action{o.send(Give, o.given, b)}
}

// Unsent says that GIVE of a batch could not be sent: its connections are the old process's again.
func (o *Old) Unsent(number uint32) []Action {
	return o.onOwn(number, OwnBody{})
}

// Unconfirmed returns how many connections are on their way.
func (o *Old) Unconfirmed() (conns int) {
	for _, n := range o.counts {
		conns += n
	}
	return conns
}

// Left tells the new process how many connections are left.
func (o *Old) Left(b DrainBody) []Action {
	if o.state != yielded {
		return nil
	}
	return []Action{o.send(Drain, 0, b)}
}

// Drained says that this process has no connection left, or cuts those that are: it ends. Batches without OWN are in
// the channel, and the new process's.
func (o *Old) Drained() []Action {
	if o.state != yielded {
		return nil
	}
	return append([]Action{o.send(Bye, 0, ByeBody{})}, o.finish(nil)...)
}

// Cancel ends the attempt because this process is told to end, or to upgrade no more. After GO it does nothing: the
// new process is about to serve.
func (o *Old) Cancel(why error) []Action {
	if o.goSent {
		return nil
	}
	return o.giveUp(why)
}

// Tick is called at Deadline.
func (o *Old) Tick(now time.Time) []Action {
	if at := o.Deadline(); at.IsZero() || now.Before(at) {
		return nil
	}
	switch o.state {
	case awaitsHello:
		return o.giveUp(errSilent)
	case awaitsReady:
		if !o.silence.After(now) {
			return o.giveUp(errSilent)
		}
		return o.giveUp(errNotReady)
	case awaitsServing:
		return o.kill(errNoAccept)
	}
	return nil
}

// End is called when the channel has ended, after all messages in it were received: the new process has no part of it
// any more.
func (o *Old) End() []Action {
	if invariant.On {
		defer o.check()
	}
	why := o.why
	switch o.state {
	case finished:
		return nil
	case awaitsHello, awaitsReady, awaitsServing:
		why = errEnded
	case yielded:
		why = errLost
	}
	if !o.goSent {
		return o.finish(why)
	}
	// The new process has not read from connections that it has not confirmed.
	back := Action{Do: Resume, Batches: o.unconfirmed, Err: why}
	o.unconfirmed, o.counts = nil, nil
	if !o.passed {
		return append([]Action{back}, o.finish(why)...)
	}
	back.Do, back.Err = Keep, errPassed
	do := []Action{back}
	for _, socket := range o.claims { // this process is not told any more which of them the serving one closes
		do = append(do, Action{Do: CloseSocket, Socket: socket})
	}
	return append(do, o.finish(nil)...)
}

// giveUp tells the new process that it is not wanted, and ends it: without REFUSE it would take the end of the channel
// for the death of this process.
func (o *Old) giveUp(why error) []Action {
	if o.state == killing || o.state == finished {
		return nil
	}
	return append([]Action{o.send(Refuse, 0, RefuseBody{why.Error()})}, o.kill(why)...)
}

// kill ends the new process, and waits for the end of the channel.
func (o *Old) kill(why error) []Action {
	o.state, o.until, o.silence, o.why = killing, time.Time{}, time.Time{}, why
	return []Action{{Do: Kill, Err: why}}
}

func (o *Old) finish(err error) []Action {
	o.state, o.until, o.silence = finished, time.Time{}, time.Time{}
	return []Action{{Do: Finish, Err: err}}
}

func (o *Old) send(t Type, number uint32, body any) Action {
	return Action{Do: Send, Frame: &Frame{Version: uint16(max(o.offer.Version, VersionMin)), Type: t, Number: number,
		Body: body}}
}

func (o *Old) check() {
	invariant.That(o.goSent || o.state != awaitsServing && o.state != yielded, "upgrade: a state after GO without GO")
	invariant.That(len(o.unconfirmed) <= windowMax && len(o.unconfirmed) == len(o.counts), "upgrade: too many batches")
	invariant.That(slices.IsSorted(o.unconfirmed), "upgrade: batches out of order")
	invariant.That(len(o.unconfirmed) == 0 || o.unconfirmed[len(o.unconfirmed)-1] <= o.given,
		"upgrade: a batch that was not given")
}
