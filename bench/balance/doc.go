// Package balance simulates how requests are balanced: the code of edge's packages balance and backend, beside models
// of what other proxies do and an ideal that none can reach.
//
// It measures no speed of code and opens no connection. No retry, no check and no ejection is simulated: a method
// has to do well alone. Zones, slow start and hedging are, where a Scenario has a Policy.
//
// Run takes Scenarios and Contenders and returns a Table, which can be written as text, Markdown, JSON, SVG and a page.
// `edge-bench balance` is the command for it. A run is one goroutine; Run has as many at the same time as there are
// CPUs. The same Options give the same Table on every machine of one architecture.
//
// # The model
//
//	requests ──▶ reactor ── 0.1 ms ──▶ line ──▶ workers ── 0.1 ms ──▶ reactor
//	              │ pick                                              │ answered, left
//	              └── publishes what it has counted one tick after the first of it ──┘
//
// Requests come as a Poisson process, whose rate may change, and each to a random reactor. A reactor is one of package
// engine, whose clock stands still but for its ticks: it begins a tick with the first thing to do, and publishes what
// it has counted 200 µs later. It picks from a View of a backend.Set, which goes by the time of the simulation (see
// Set.Simulate). A backend has some workers and a line without limit. Requests and their service times are the same
// for all methods with the same seed.
//
// The ideal is one line before all backends: each request goes to an idle worker of the fastest backend, never to a
// backend that fails, stands still, or is 5 × slower or more. Figures are ratios to its own with the same requests.
//
// The models of peers know the requests under way exactly, without the delay of a tick, in all reactors together: nginx
// with a zone, and HAProxy. Their slow start, checks and time-outs are left out, and a Policy means nothing to them.
//
// # Policies
//
// Where a Scenario has Zones, each has an edge of its own with as many reactors, which knows of the requests of the
// others nothing. A request that is hedged needs as long at the second backend as at the first: hedging helps against
// backends that hang, not against requests that are large. retry.Hedge says when and how often, and the backend
// is chosen as package proxy does it.
//
// # Groups of scenarios
//
// The constants of adaptive were chosen on "judged" and "failing", and after a look at "checked" and "limit". By "held
// out" one was chosen: how fast latency grows.
package balance
