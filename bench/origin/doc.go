// Package origin is the web server behind every proxy of the benchmark: one thread, raw epoll,
// answers made at start.
//
// It is not an HTTP server for anything else. It finds where requests end (Content-Length bodies and
// pipelining included), looks at the first byte of the method and at the path, and checks nothing
// else. That makes it cheaper than any proxy, so that the proxy is what is measured.
//
//	/small    200, 128 bytes               /chunked  200, 16 KiB in 4 chunks
//	/16k      200, 16 KiB                  /upload   (POST, PUT) reads the body, 200, 128 bytes
//	/1m       200, 1 MiB                   /ws       a WebSocket that echoes frames
//	/cached/1k, 16k, 64k, 256k, 1m: 200, of that size, fresh for a day
//	else      404; a query is ignored
//
// Life cycle: New, Serve in one goroutine, Stop from any, Close when Serve has returned.
//
// Threads and ownership: everything belongs to the goroutine in Serve. The requests served are
// counted in a Counter, a word of shared memory when it was opened on a file: so the process that
// measures reads it without asking.
//
// Limits: a request head is at most headMax bytes, a message of a WebSocket messageMax; no more than that is kept
// of a connection that does not read its answers.
package origin
