// Package logsink has the types of [log_sinks] that edge has itself: syslog, otlp.
//
// It has no queue and no goroutine: each type makes an output of package observe from the keys of a table, and an
// observe.Sink writes to it.
//
//	[log_sinks.central] ─► NewSyslog ─┐
//	                                  ├─► syslog.Writer ◄── observe.Sink ◄── access logs, error log
//	"syslog+udp://10.0.0.5" ─► Target ┘
//	[log_sinks.other] ───► NewOTLP ─────► otlp.Exporter ◄── observe.Sink ◄── access logs, error log
//	[tracing] ───────────► NewExporter ─► otlp.Exporter ◄── observe.Sink ◄── spans
//
// A URL in place of the name of a table, as in output = ["syslog+udp://10.0.0.5:514"], stands for a table with no other
// key: see Target.
//
// # Threads and ownership
//
// What is made belongs to one goroutine at a time, the writing one of its Sink, but for Close.
package logsink
