package upgrade

import "time"

// Verb is what a machine asks for.
type Verb uint8

// The verbs.
const (
	// Send sends Frame, with the descriptors that belong to it. An error of sending is no event: the end of the
	// channel follows.
	Send Verb = iota
	// Suspend (old) stops accepting on the sockets of Claims, then Suspended is called. The copies stay open.
	Suspend
	// Resume (old) accepts again on all sockets, and owns the connections of Batches again. The new process has ended.
	Resume
	// Release (old) closes the copies of the first Count connections of Batch: the new process has them. The others
	// have not arrived and are the old one's again.
	Release
	// Keep (old) owns the connections of Batches again, drains them, and gives no more. The new process has ended, and
	// a further one serves.
	Keep
	// CloseSocket (old) closes the copy of Socket, which the new process has closed, or a further one has.
	CloseSocket
	// EndDraining (old) ends a process that drains: this one where Before is 0, else one of those before it.
	EndDraining
	// Kill (old) ends the new process by SIGKILL. The end of the channel follows.
	Kill
	// Yield (old) gives up the names, such as pid_file, and begins to give connections and to drain.
	Yield
	// Load (new) reads the configuration and adopts the sockets that have come, then Loaded or Failed is called.
	Load
	// Accept (new) begins to accept.
	Accept
	// TakeNames (new) takes pid_file and the other names.
	TakeNames
	// Receive (new) makes connections of the descriptors of the message, described by Given.
	Receive
	// Abort (new) ends the process, which has accepted nothing. Err says why.
	Abort
	// Finish says that nothing more comes. For the old process Err says why it goes on, nil: the new one serves. For
	// the new process, which serves, Err says how the old one ended, nil: by BYE.
	Finish
)

// Action is one thing to do. Actions are done in the order in which a machine returns them.
type Action struct {
	Do      Verb
	Frame   *Frame    // of Send
	Claims  []int     // of Suspend
	Batch   uint32    // of Release
	Count   int       // of Release
	Batches []uint32  // of Resume and Keep, ascending
	Socket  int       // of CloseSocket
	Before  int       // of EndDraining
	Given   *GiveBody // of Receive
	Err     error     // of Abort and Finish; of Resume, Keep and Kill: why
}

// Times are the time-outs. The zero value stands for DefaultTimes.
type Times struct {
	Hello   time.Duration // until HELLO has come, and OFFER with all sockets
	Ready   time.Duration // from HELLO to READY
	Working time.Duration // without any frame before READY
	Serving time.Duration // from GO to SERVING
}

// DefaultTimes are the time-outs of version 1.
var DefaultTimes = Times{
	Hello: 5 * time.Second, Ready: 60 * time.Second, Working: 10 * time.Second, Serving: 2 * time.Second,
}

// WorkingEvery is how often the new process says that it is not ready yet.
const WorkingEvery = time.Second
