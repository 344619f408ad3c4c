// Package load asks an HTTP/1 server for one thing over and over, for machines that have no wrk.
//
// It is a closed loop: each connection sends a request (or a pipelined batch), reads the answers and
// goes on. It reads only as much of an answer as its end takes. It costs more CPU than wrk does, on
// its own core, so requests/s come out lower; the cost per request of the proxy is what is compared,
// and that is measured elsewhere.
//
// An answer that is not 2xx, cannot be read or does not come within answerTimeout is an error: it is
// counted, the first one is kept in words, and its connection is made anew. A pipelined batch counts
// as many requests as it holds and has one latency.
//
// Life cycle: Run returns when its context ends or the duration has passed.
//
// Threads and ownership: a goroutine per connection with a tally of its own; added up at the end.
//
// Limits: latencies are kept one by one, eight bytes each.
package load
