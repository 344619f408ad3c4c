// Package balance simulates how requests are balanced: the code of edge's package balance, beside models of what other
// proxies do and an ideal that none can reach.
//
// It measures no speed of code and opens no connection. No retry, no check and no ejection is simulated: a method
// has to do well alone.
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
// Requests come as a Poisson process, whose rate may change, and each to a random reactor. A reactor picks at once by
// its own Local and by what all have published; it publishes a tick (200 µs) after the first thing that it has not
// published, with the time at which the tick began. A backend has some workers and a line without limit. Requests and
// their service times are the same for all methods with the same seed.
//
// The ideal is one line before all backends: each request goes to an idle worker of the fastest backend, never to one
// that fails, stands still, or is 5 × slower or more. Figures are ratios to its own with the same requests.
//
// The models of peers know the requests under way exactly, without the delay of a tick, in all reactors together: nginx
// with a zone, and HAProxy. Their slow start, checks and time-outs are left out.
//
// # Groups of scenarios
//
// The constants of adaptive were chosen on "judged" and "failing", and after a look at "checked" and "limit". By "held
// out" one was chosen: how fast latency grows.
package balance
