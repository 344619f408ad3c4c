// Command edge-bench measures: what a proxied request costs beside other proxies, and the processes
// that this takes. Nothing of it is in edge, so that edge carries no other proxy with it.
//
//	edge-bench URL      load a URL, in a closed loop or an open one
//	edge-bench self     what edge does on this machine: its rate, and latency by load
//	edge-bench proxy    compare edge with the relay floor and other proxies, CPU per request
//	edge-bench origin   serve the static answers that they relay
//	edge-bench floor    relay bytes and understand nothing
//	edge-bench peer     run fasthttp or net/http as a proxy
//	edge-bench micro    measure the hot functions beside what else there is
//	edge-bench hitratio compare what caches hit, with generated and recorded accesses
//	edge-bench balance  simulate how requests are balanced, beside an ideal queue and other rules
//
// proxy starts the others as child processes, each pinned to a CPU, and stops them when it ends or
// is interrupted: what was measured by then is printed.
//
// Exit code: 0 when everything was measured, 1 with a line on standard error when not. A peer that
// is not installed is left out with a note.
//
// The command is thin: what it does lives in bench/proxybench, bench/origin, bench/floor, bench/load,
// bench/loadreport, bench/micro, bench/hitratio, bench/balance, and bench/report, which writes what they found.
package main
