// Package proxybench measures what a proxied request costs in CPU, on one core, beside a relay that
// understands nothing and the proxies that people run.
//
//	CPU 0: load ─────▶ CPU 1: one peer at work ─────▶ CPU 0: origin
//	        (wrk)             (the others idle)        (counts requests)
//
// A run is one peer under one scenario for a short window. Before it opens, connections are made and
// the peer is warm; inside it the CPU time of the peer's processes and the requests that reached the
// origin are read at both ends. Their quotient is the cost of a request; it does not depend on which
// side is saturated, and hardly on what else the machine does.
//
// Peers take turns, A B C A B C: a slow phase of the machine meets all of them. Ratios are taken
// within a round, against the floor of that round; medians and quartiles are of those. A round whose
// floor is more than a tenth off the median floor is measured again, and there are at most twice as
// many rounds as asked for.
//
// Other runs use the same processes: RunScale, RunBystander, and RunSelf, which shows latency by load.
//
// Life cycle: Run starts origin and peers, waits until each answers, measures, prints, stops all.
//
// Threads and ownership: one goroutine measures; each child process has another that waits for it.
// Children die with the process that started them.
//
// Limits: what the machine gives in descriptors and ports; every wait has a deadline.
package proxybench
