package upgrade

import (
	"errors"
	"fmt"
	"time"

	"github.com/edge-proxy/edge/internal/base/invariant"
)

// New is the side of the process that takes over. Owned by one goroutine.
//
//	awaitsOffer ─► awaitsSockets ─► loading ─► awaitsGo ─► serving ─► over
//	     │ end          │ end          │ end       │ end        │ end, or BYE
//	     └──────────────┴──► loading without it ───┴─► over ◄───┘
//
//	channelEnded == (the channel has ended)
//	accepting <=> state is serving, or over without Abort
type New struct {
	times        Times
	state        newState
	until        time.Time // of the state; zero: none
	step         string    // of loading
	offer        OfferBody
	sockets      int // that have come
	channelEnded bool
	accepting    bool
	left         DrainBody
	pid          int
}

type newState uint8

const (
	awaitsOffer newState = iota
	awaitsSockets
	loading
	awaitsGo
	serving
	over
)

var (
	errOldSilent = errors.New("the running process does not answer")
	errNoGo      = errors.New("the running process did not let go in time")
	errOldEnded  = errors.New("the process before has ended without a word: the connections it still had are lost")
)

// BeginNew makes the machine, which begins with HELLO. b needs no versions.
func BeginNew(t Times, b HelloBody, now time.Time) (*New, []Action) {
	if t == (Times{}) {
		t = DefaultTimes
	}
	b.Min, b.Max = VersionMin, Version
	n := &New{times: t, until: now.Add(t.Hello), pid: b.PID}
	return n, []Action{n.send(Hello, 0, b)}
}

// Offer returns what the old process has offered; the zero value before OFFER.
func (n *New) Offer() OfferBody { return n.offer }

// Arrived returns how many sockets have come.
func (n *New) Arrived() int { return n.sockets }

// OldEnded reports whether the old process has ended.
func (n *New) OldEnded() bool { return n.channelEnded }

// Finished reports whether the machine is done.
func (n *New) Finished() bool { return n.state == over }

// Left returns what the old process last said of what it has left.
func (n *New) Left() DrainBody { return n.left }

// Deadline returns when Tick is due; the zero time: never.
func (n *New) Deadline() time.Time { return n.until }

// Receive takes a message of the old process, with which that many descriptors came. The caller closes descriptors of a
// message for which nothing is to be done.
func (n *New) Receive(message []byte, files int, now time.Time) []Action {
	f, err := Parse(message)
	if err != nil {
		if n.state < serving {
			return n.Failed(fmt.Errorf("the running process sent %w", err))
		}
		return nil
	}
	if invariant.On {
		defer n.check()
	}
	switch body := f.Body.(type) {
	case OfferBody:
		return n.onOffer(body, files, now)
	case SocketsBody:
		return n.onSockets(body, files, now)
	case GoBody:
		if n.state == awaitsGo {
			return n.accept(false)
		}
	case GiveBody:
		return n.onGive(f.Number, body, files)
	case DrainBody:
		n.left = body
	case ByeBody:
		if n.state == serving {
			return n.finish(nil)
		}
	case RefuseBody:
		if n.state < serving {
			return n.abort(errors.New(body.Reason))
		}
	}
	return nil
}

func (n *New) onOffer(b OfferBody, files int, now time.Time) []Action {
	if n.state != awaitsOffer {
		return nil
	}
	switch {
	case b.Version < VersionMin || b.Version > Version:
		return n.Failed(fmt.Errorf("the running process chose version %d of the protocol", b.Version))
	case files != len(b.Files):
		return n.Failed(errFewerDescriptors(files, len(b.Files)))
	case b.Sockets < 0:
		return n.Failed(fmt.Errorf("the running process offers %d sockets", b.Sockets))
	}
	n.offer, n.state, n.left.Before = b, awaitsSockets, b.Before
	return n.loadIfComplete(now)
}

// onSockets loads when all have come.
func (n *New) onSockets(b SocketsBody, files int, now time.Time) []Action {
	if n.state != awaitsSockets {
		return nil
	}
	if b.First != n.sockets || b.Count <= 0 || b.Count > n.offer.Sockets-n.sockets {
		return n.Failed(fmt.Errorf("the running process sent %d sockets from number %d, not from %d of %d",
			b.Count, b.First, n.sockets, n.offer.Sockets))
	}
	if files != b.Count {
		return n.Failed(errFewerDescriptors(n.sockets+files, n.offer.Sockets))
	}
	n.sockets += files
	return n.loadIfComplete(now)
}

// errFewerDescriptors returns the error about descriptors that the kernel has dropped on the way.
func errFewerDescriptors(came, sent int) error {
	return fmt.Errorf("%d of %d descriptors arrived: the limit of open files, RLIMIT_NOFILE, is too low",
		came, sent)
}

func (n *New) loadIfComplete(now time.Time) []Action {
	if n.sockets < n.offer.Sockets {
		return nil
	}
	return n.load(now)
}

func (n *New) load(now time.Time) []Action {
	n.state, n.until = loading, now.Add(WorkingEvery)
	return []Action{{Do: Load}}
}

// Step says what the loading process is at.
func (n *New) Step(name string) { n.step = name }

// Loaded says that everything but accepting is done. claims are the sockets of the manifest that the configuration
// names. After the end of the old process it is the beginning of its service.
func (n *New) Loaded(claims []int, now time.Time) []Action {
	if n.state != loading {
		return nil
	}
	if n.channelEnded {
		return n.accept(true)
	}
	n.state, n.until = awaitsGo, now.Add(n.times.Ready)
	return []Action{n.send(Ready, 0, ReadyBody{claims})}
}

// Failed says that the process cannot serve.
func (n *New) Failed(why error) []Action {
	if n.state >= serving {
		return nil
	}
	do := n.abort(why)
	if n.channelEnded {
		return do
	}
	return append([]Action{n.send(Refuse, 0, RefuseBody{why.Error()})}, do...)
}

// accept begins to accept. When the old process hears of it the names lead to this one already, so that a command which
// waits for the upgrade finds it.
func (n *New) accept(last bool) []Action {
	n.state, n.until, n.accepting = serving, time.Time{}, true
	do := []Action{{Do: Accept}, {Do: TakeNames}}
	if last {
		return append(do, n.finish(errOldEnded)...)
	}
	return append(do, n.send(Serving, 0, ServingBody{n.pid}))
}

// onGive confirms a batch, then takes its connections: a connection that the new process has read from must not be
// taken back.
func (n *New) onGive(number uint32, b GiveBody, files int) []Action {
	if n.state != serving || files > len(b.Listeners) || len(b.Requests) != len(b.Listeners) ||
		len(b.Ages) != len(b.Listeners) {
		return nil
	}
	b.Listeners, b.Requests, b.Ages = b.Listeners[:files], b.Requests[:files], b.Ages[:files]
	return []Action{n.send(Own, number, OwnBody{files}), {Do: Receive, Given: &b}}
}

// Tell tells the old process, while this one serves, of one of three things. Drop: this one has closed a socket of the
// manifest, and as long as the old one had a copy, the kernel would give it connections that no process accepts. Cut: a
// process that drains is to end at once. Pass: a further process has taken over from this one, or has given up, which
// says whether the old one has something to take back at its end.
func (n *New) Tell(t Type, body any) []Action {
	if n.state != serving {
		return nil
	}
	return []Action{n.send(t, 0, body)}
}

// Tick is called at Deadline.
func (n *New) Tick(now time.Time) []Action {
	if n.until.IsZero() || now.Before(n.until) {
		return nil
	}
	switch n.state {
	case awaitsOffer, awaitsSockets:
		return n.Failed(errOldSilent)
	case loading:
		n.until = now.Add(WorkingEvery)
		if !n.channelEnded {
			return []Action{n.send(Working, 0, WorkingBody{n.step})}
		}
	case awaitsGo:
		return n.Failed(errNoGo)
	}
	return nil
}

// End is called when the channel has ended, after all messages in it were received: the old process has ended. The new
// one goes on without it: the sockets that came are its own, others it opens itself.
func (n *New) End(now time.Time) []Action {
	if invariant.On {
		defer n.check()
	}
	if n.channelEnded {
		return nil
	}
	n.channelEnded = true
	switch n.state {
	case awaitsOffer, awaitsSockets:
		return n.load(now)
	case awaitsGo:
		return n.accept(true)
	case serving:
		return n.finish(errOldEnded)
	}
	return nil
}

func (n *New) finish(err error) []Action {
	n.state, n.until = over, time.Time{}
	return []Action{{Do: Finish, Err: err}}
}

func (n *New) abort(why error) []Action {
	n.state, n.until = over, time.Time{}
	return []Action{{Do: Abort, Err: why}}
}

func (n *New) send(t Type, number uint32, body any) Action {
	return Action{Do: Send, Frame: &Frame{Version: uint16(max(n.offer.Version, VersionMin)), Type: t, Number: number,
		Body: body}}
}

func (n *New) check() {
	invariant.That(n.state != serving || n.accepting, "upgrade: it serves and does not accept")
	invariant.That(n.state >= serving || !n.accepting, "upgrade: it accepts in state %d", n.state)
	invariant.That(n.sockets <= max(0, n.offer.Sockets), "upgrade: %d sockets of %d", n.sockets, n.offer.Sockets)
}
