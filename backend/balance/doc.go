// Package balance has methods of load balancing: each picks a backend for a request, in turn, by load, or by a key.
//
// It opens no connection and probes nothing, and knows neither time nor I/O. A View says which backends there are, what
// they weigh and which of them are open; Loads say what is under way at each and how fast it answers; a Picker chooses
// by these. A backend is an index; the caller knows what it stands for.
//
//	view := balance.Weights(3, 1)                         one for all reactors
//	rr := balance.RoundRobin.New(reactor, reactors)       one per reactor, each begins elsewhere
//	var q balance.Request
//	i := rr.Pick(view, nil, &q)                           -1 when none is open
//	view = view.With(0, false)                            backend 0 is closed: another View
//
// A request that is tried again keeps in its Tried which backends it has been to, so that it goes to none of them
// twice.
//
// # Load
//
// Methods such as Adaptive look at what is under way. Each reactor has a Local, which counts in plain memory, and
// publishes at the end of every tick what it has counted:
//
//	loads := balance.NewLoads()                           one for all reactors
//	local := balance.NewLocal(loads, seed)                one per reactor
//	i := adaptive.Pick(view, local, &q)
//	local.Enter(i, false)                                 … the request is sent
//	local.Answered(i, micros, now)                        … the head of its answer is here, or Failed(i, now)
//	local.Leave(i, false)                                 … it is over
//	local.Publish()                                       the tick is over
//
// A total that is a tick old is as good as an exact one, and a pick that writes nothing shared costs the same however
// many reactors there are.
//
// # Methods
//
// A Method makes Pickers. The variables Adaptive, RoundRobin, … are the methods of edge; a program's own joins them by
// Register. A method that hashes says by Hash how a key is made of bytes; Ketama and IPHash choose as nginx does.
//
// Ownership: a View is immutable, Loads are safe for any goroutine. A Picker and a Local are owned by one goroutine, a
// Request by its caller. A pick allocates nothing while no backend comes. Limits: 65535 backends in a view, weights up
// to 65535, and a Tried holds the last 7.
package balance
