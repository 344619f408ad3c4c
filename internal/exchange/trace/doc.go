// Package trace has the parts of distributed tracing that a proxy needs before an exchange is over: the context of a
// trace as requests carry it (W3C Trace Context), and the decision which traces are recorded.
//
// It is no tracer: spans are made of the record of an exchange, when that is over (package observe), and package
// internal/observe/otlp sends them.
//
//	Of ──► Context ──► Sampler.Take ──► Context.Set
//	the request came     is it recorded?   the request is sent on
//
// A Sampler is shared by all reactors, and has counters for each of them, which it alone writes. A Traceparent counts
// where there is one, well formed, and not more than 4 KiB of Tracestate; else a trace begins.
package trace
