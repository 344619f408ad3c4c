// Package load asks a server for one thing over and over, over HTTP/1, HTTP/2, HTTP/3 or WebSocket, and measures how
// long that takes.
//
// It is a few threads with many connections each, on the event loops of package engine and the codecs of packages h1,
// h2, h3 and quic. A thread of it costs no more for a request than one of wrk or h2load does, so that the measurement
// is about the server. It knows one request: it makes no sessions, follows no redirects and looks into no answer.
//
//	closed loop  each connection sends the next request when the answer has come: what the server can do
//	open loop    requests have times of their own, Options.Rate of them a second, whatever the server does
//
// In an open loop latency counts from the time at which a request was to be sent. A server that stalls for 200 ms
// delays all the requests of these 200 ms, and all of them are in the result. A closed loop sends none meanwhile and
// sees one slow answer for each connection: that is coordinated omission (G. Tene, "How NOT to Measure Latency", 2015),
// and nothing in its result can mend it. Requests that find every connection in use wait for one. Result.Late is how
// late a request was sent, Result.Unsent how many never were.
//
// Life cycle: Run connects, begins when each connection stands or has failed once, asks for Options.Duration, and waits
// for the answers that are still to come, for Options.Timeout at the most. So Result.Requests is what a server counts
// that answers everything. A connection that ends is made anew, after a pause where it brought nothing.
//
// Threads and ownership: a worker for each thread with its connections, counters and histogram, all owned by the
// reactor it runs on and added up when the engine has stopped. Run is safe for any goroutine.
//
// Limits: a request that has no answer after Options.Timeout is given up and counted, and over HTTP/1 its connection is
// closed. Latencies are kept to three digits (HdrHistogram), up to ten minutes.
package load
